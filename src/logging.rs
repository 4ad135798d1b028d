//! Logs: to standard error, or to a file that rolls daily; as text or as JSON lines.

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::LoggingSettings;

/// Starts logging. The guard flushes a log file when it is dropped.
pub fn start(settings: &LoggingSettings) -> Option<WorkerGuard> {
    let (writer, guard) = match &settings.dir {
        None => (BoxMakeWriter::new(std::io::stderr), None),
        Some(dir) => {
            let (writer, guard) = tracing_appender::non_blocking(tracing_appender::rolling::daily(
                dir,
                "adaptive-router.log",
            ));
            (BoxMakeWriter::new(writer), Some(guard))
        }
    };
    let filter = EnvFilter::new(format!("warn,adaptive_router={}", settings.level.as_str()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false);
    if settings.json {
        builder.json().init();
    } else {
        builder.init();
    }
    guard
}
