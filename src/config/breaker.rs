//! The circuit breaker of each worker.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::parse;

/// When a worker is given no more requests, and when again.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Circuit Breaker")]
pub struct BreakerSettings {
    /// Failures in a row after which a worker gets no requests
    #[arg(id = "cb-failure-threshold", long, value_name = "N", default_value_t = 10, value_parser = parse::count)]
    pub failure_threshold: u32,

    /// Successes in a row after which a worker on probation is trusted again
    #[arg(id = "cb-success-threshold", long, value_name = "N", default_value_t = 3, value_parser = parse::count)]
    pub success_threshold: u32,

    /// Seconds after which a worker that got no requests is put on probation
    #[arg(id = "cb-timeout-duration-secs", long, value_name = "SECS", default_value = "60", value_parser = parse::positive_seconds)]
    pub open_for: Duration,

    /// Accepted; failures are counted in a row, as sglang_router counts them too
    #[arg(id = "cb-window-duration-secs", long, value_name = "SECS", default_value = "120", value_parser = parse::positive_seconds)]
    pub window: Duration,

    /// Failures never keep requests from a worker
    #[arg(id = "disable-circuit-breaker", long, action = ArgAction::SetTrue, value_parser = parse::off_switch())]
    pub enabled: bool,
}
