//! What is logged, and where to.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The log.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Logging")]
pub struct LoggingSettings {
    /// Least important level that is logged
    #[arg(id = "log-level", long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub level: LogLevel,

    /// Directory for log files besides the console: adaptive-router.YYYY-MM-DD.log (UTC), of which 14 are kept
    /// [default: console only]
    #[arg(id = "log-dir", long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Append a line for each request that ended to this file, as JSON: when it came, tokens of its prompt and its
    /// answer, TTFT and more, and no text of either [default: none]
    #[arg(id = "request-log", long, value_name = "FILE")]
    pub request_log: Option<PathBuf>,

    /// One JSON object a line instead of text, on the console and in files
    #[arg(id = "log-json", long)]
    pub json: bool,
}

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
