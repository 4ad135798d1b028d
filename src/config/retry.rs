//! Trying a request again, on other workers, while the client has not seen a byte.

use std::time::Duration;

use clap::Args;

use super::error::Conflict;
use super::parse;

/// When to try again and how long to wait before.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Retry Configuration")]
pub struct RetrySettings {
    /// Attempts that a request gets in total (5 is five attempts, not six)
    #[arg(id = "retry-max-retries", long, value_name = "N", default_value_t = 5, value_parser = parse::count)]
    pub max_attempts: u32,

    /// Milliseconds before the second attempt
    #[arg(id = "retry-initial-backoff-ms", long, value_name = "MS", default_value = "50", value_parser = parse::millis)]
    pub initial_backoff: Duration,

    /// Longest wait in milliseconds between two attempts
    #[arg(id = "retry-max-backoff-ms", long, value_name = "MS", default_value = "30000", value_parser = parse::millis)]
    pub max_backoff: Duration,

    /// Every wait is this many times the one before
    #[arg(id = "retry-backoff-multiplier", long, value_name = "FACTOR", default_value = "1.5", value_parser = parse::factor)]
    pub backoff_multiplier: f64,

    /// Every wait is shortened or lengthened at random by up to this part (0 to 1)
    #[arg(id = "retry-jitter-factor", long, value_name = "SHARE", default_value = "0.2", value_parser = parse::share)]
    pub jitter_factor: f64,
}

#[derive(Debug, Clone, Args)]
pub(super) struct RetryFlags {
    #[command(flatten)]
    settings: RetrySettings,

    /// One attempt for every request
    #[arg(long, help_heading = "Retry Configuration")]
    disable_retries: bool,
}

impl RetryFlags {
    pub(super) fn conclude(self) -> Result<RetrySettings, Conflict> {
        let mut settings = self.settings;
        if settings.max_backoff < settings.initial_backoff {
            return Err(Conflict::BackoffShrinks);
        }
        if self.disable_retries {
            settings.max_attempts = 1;
        }
        Ok(settings)
    }
}
