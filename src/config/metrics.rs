//! Where metrics are served.

use clap::Args;

use super::parse;

/// The metrics listener.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Prometheus Metrics")]
pub struct MetricsSettings {
    /// Address that /metrics is served on
    #[arg(id = "prometheus-host", long, value_name = "HOST", default_value = "0.0.0.0", value_parser = parse::listen_host)]
    pub host: String,

    /// Port that /metrics is served on; 0 takes a free one
    #[arg(
        id = "prometheus-port",
        long,
        value_name = "PORT",
        default_value_t = 29000, value_parser = parse::whole::<u16>
    )]
    pub port: u16,

    /// Bucket bounds in seconds, rising, for every histogram of durations that has none of its own [default: fitted to each]
    #[arg(
        id = "prometheus-duration-buckets", long, value_name = "SECS", num_args = 1.., action = clap::ArgAction::Set,
        value_parser = parse::positive_number
    )]
    pub duration_buckets: Vec<f64>,

    /// Bucket bounds in seconds, rising, for the time to first token [default: 1 ms to 60 s]
    #[arg(
        id = "prometheus-ttft-buckets", long, value_name = "SECS", num_args = 1.., action = clap::ArgAction::Set,
        value_parser = parse::positive_number
    )]
    pub ttft_buckets: Vec<f64>,

    /// Bucket bounds in seconds, rising, for the time between tokens [default: 1 ms to 1 s]
    #[arg(
        id = "prometheus-itl-buckets", long, value_name = "SECS", num_args = 1.., action = clap::ArgAction::Set,
        value_parser = parse::positive_number
    )]
    pub itl_buckets: Vec<f64>,

    /// Don't look into streams: no TTFT, ITL or token counts of them, and no verdict on them
    #[arg(id = "disable-stream-metrics", long)]
    pub disable_stream_metrics: bool,
}
