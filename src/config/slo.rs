//! What a request is held to.

use std::time::Duration;

use clap::Args;

use super::parse;

/// The service level objective. A streamed request is good when both hold.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Service Level")]
pub struct SloSettings {
    // Defaults: what the published measurements of gpt-oss-120b on H200 pairs can keep near their capacity.
    /// Milliseconds until the first token, at most
    #[arg(id = "ttft-slo-ms", long, value_name = "MS", default_value = "2000", value_parser = parse::positive_millis)]
    pub ttft: Duration,

    /// Milliseconds between tokens, the mean of a request, at most
    #[arg(id = "itl-slo-ms", long, value_name = "MS", default_value = "25", value_parser = parse::positive_millis)]
    pub itl: Duration,
}
