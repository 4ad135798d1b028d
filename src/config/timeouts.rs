//! How long to wait for a worker.
//!
//! No limit covers a whole stream: a long answer is no fault. What is limited is silence.

use std::time::Duration;

use clap::Args;

use super::parse;

/// The limits of one attempt.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Request Handling")]
pub struct TimeoutSettings {
    /// Seconds for the whole answer of a request that is not streamed; streams are never cut by it
    #[arg(id = "request-timeout-secs", long, value_name = "SECS", default_value = "1800", value_parser = parse::positive_seconds)]
    pub whole_answer: Duration,

    /// Seconds to open a connection to a worker
    #[arg(id = "connect-timeout-secs", long, value_name = "SECS", default_value = "10", value_parser = parse::positive_seconds)]
    pub connect: Duration,

    /// Seconds until a stream's first event
    #[arg(id = "first-byte-timeout-secs", long, value_name = "SECS", default_value = "300", value_parser = parse::positive_seconds)]
    pub first_event: Duration,

    /// Seconds that a stream may be silent between two chunks
    #[arg(id = "idle-timeout-secs", long, value_name = "SECS", default_value = "300", value_parser = parse::positive_seconds)]
    pub idle: Duration,
}
