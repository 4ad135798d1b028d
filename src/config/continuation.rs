//! Streams that outlive their decode worker.

use clap::{Args, ValueEnum};

use super::parse;

/// Yes or no, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// Continuing a stream on another pair.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Request Handling")]
pub struct ContinuationSettings {
    /// Have a stream whose decode worker dies, falls silent or is drained past its limit go on at another pair, where that
    /// can be done exactly (docs/continuation.md); else, or if off, it ends with an error event
    #[arg(id = "stream-continuation", long, value_name = "SWITCH", value_enum, default_value_t = Switch::On)]
    pub streams: Switch,

    // A GiB: a thousand streams of a megabyte each, or a hundred thousand of ten kilobytes.
    /// Bytes of requests that are kept for it at most; streams that begin above it are not continued
    #[arg(id = "stream-continuation-max-bytes", long, value_name = "BYTES", default_value_t = 1024 * 1024 * 1024, value_parser = parse::whole::<usize>)]
    pub max_bytes: usize,
}
