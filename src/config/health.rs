//! Watching workers: are they up, and how loaded are they?

use std::time::Duration;

use clap::{ArgAction, Args};

use super::parse;

/// How workers are probed.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Health Checks")]
pub struct HealthSettings {
    /// Failed checks in a row after which a worker is unhealthy
    #[arg(id = "health-failure-threshold", long, value_name = "N", default_value_t = 3, value_parser = parse::count)]
    pub failure_threshold: u32,

    /// Good checks in a row after which it is healthy again
    #[arg(id = "health-success-threshold", long, value_name = "N", default_value_t = 2, value_parser = parse::count)]
    pub success_threshold: u32,

    /// Seconds that a check may take
    #[arg(id = "health-check-timeout-secs", long, value_name = "SECS", default_value = "5", value_parser = parse::positive_seconds)]
    pub timeout: Duration,

    /// Seconds between checks
    #[arg(id = "health-check-interval-secs", long, value_name = "SECS", default_value = "60", value_parser = parse::positive_seconds)]
    pub interval: Duration,

    /// Path that is asked [default: /ready, and /health where a worker lacks it; /health makes a worker generate]
    #[arg(id = "health-check-endpoint", long, value_name = "PATH", value_parser = parse::path)]
    pub endpoint: Option<String>,

    /// Workers count as healthy unasked
    #[arg(id = "disable-health-check", long, action = ArgAction::SetTrue, value_parser = parse::off_switch())]
    pub enabled: bool,

    /// Seconds that a new worker gets to become ready
    #[arg(id = "worker-startup-timeout-secs", long, value_name = "SECS", default_value = "1800", value_parser = parse::positive_seconds)]
    pub startup_timeout: Duration,

    /// Seconds between two looks at a worker that is not ready yet
    #[arg(id = "worker-startup-check-interval", long, value_name = "SECS", default_value = "30", value_parser = parse::positive_seconds)]
    pub startup_check_interval: Duration,

    /// Milliseconds between two looks at a worker's load
    #[arg(id = "load-poll-interval-ms", long, value_name = "MS", default_value = "1000", value_parser = parse::positive_millis)]
    pub load_poll_interval: Duration,
}
