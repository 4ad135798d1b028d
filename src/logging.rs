//! Logs: to standard error, and to files as well where a directory is given; as text or as JSON lines.
//!
//! A line says that something changed or went wrong, once, where it was handled. No request writes one at the default
//! level, and none at any level holds a prompt, a body or a key (`tests/logs.rs` looks).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LoggingSettings;
use crate::telemetry::Told;

/// Days of files that are kept. The help of `--log-dir` says so too.
const FILES: usize = 14;

/// Log files can't be written.
#[derive(Debug)]
pub struct LogError {
    dir: PathBuf,
    cause: LogErrorCause,
}

#[derive(Debug)]
enum LogErrorCause {
    Directory(io::Error),
    File(InitError),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        match &self.cause {
            LogErrorCause::Directory(cause) => {
                write!(f, "cannot create the log directory {dir}: {cause}")
            }
            LogErrorCause::File(cause) => write!(f, "cannot write a log file in {dir}: {cause}"),
        }?;
        f.write_str("; choose another with --log-dir")
    }
}

impl std::error::Error for LogError {}

/// Starts logging. The guard writes what a file still lacks when it is dropped.
pub fn start(settings: &LoggingSettings) -> Result<Option<WorkerGuard>, LogError> {
    let (files, guard) = settings.dir.as_deref().map(files).transpose()?.unzip();
    let level = settings.level.as_str();
    tracing_subscriber::registry()
        // Libraries only where something is wrong: at their lower levels they know requests' contents.
        .with(EnvFilter::new(format!("warn,adaptive_router={level}")))
        .with(lines(settings.json, io::stderr))
        .with(files.map(|files| lines(settings.json, files)))
        .init();
    Ok(guard)
}

/// A file a day in `dir`, written by a thread of its own through a bounded queue. A disk that is too slow loses lines
/// rather than holding up requests; one that is full loses them, and the console says so.
fn files(dir: &Path) -> Result<(NonBlocking, WorkerGuard), LogError> {
    let failed = |cause| LogError {
        dir: dir.to_owned(),
        cause,
    };
    std::fs::create_dir_all(dir).map_err(|cause| failed(LogErrorCause::Directory(cause)))?;
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("adaptive-router")
        .filename_suffix("log")
        .max_log_files(FILES)
        .build(dir)
        .map_err(|cause| failed(LogErrorCause::File(cause)))?;
    let what = format!("--log-dir {}", dir.display());
    Ok(tracing_appender::non_blocking(Told::new(appender, what)))
}

/// How a line looks, wherever it goes.
fn lines<S, W>(json: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false);
    if json {
        // One flat object: `message` and what belongs to it stand beside `timestamp` and `level`.
        layer.json().flatten_event(true).boxed()
    } else {
        layer.boxed()
    }
}
