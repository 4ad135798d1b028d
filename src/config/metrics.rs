//! Where metrics are served.

use clap::Args;

use super::parse;

/// The metrics listener.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Prometheus Metrics")]
pub struct MetricsSettings {
    /// Address that /metrics is served on
    #[arg(long = "prometheus-host", value_name = "HOST", default_value = "0.0.0.0", value_parser = parse::listen_host)]
    pub host: String,

    /// Port that /metrics is served on; 0 takes a free one
    #[arg(long = "prometheus-port", value_name = "PORT", default_value_t = 29000)]
    pub port: u16,

    /// Bucket bounds in seconds, rising, for every histogram of durations [default: fitted to each]
    #[arg(
        long = "prometheus-duration-buckets", value_name = "SECS", num_args = 1.., action = clap::ArgAction::Set,
        value_parser = parse::positive_number
    )]
    pub duration_buckets: Vec<f64>,
}
