//! How many requests are let in, and how much memory they may take.

use clap::Args;

use super::parse;

/// `None` lets everything in. An alias of its own: spelt out in a field, `Option` would mean "flag may be missing".
pub type Limit = Option<usize>;

/// The gate in front of routing.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Rate Limiting")]
pub struct AdmissionSettings {
    /// Requests that run at once; -1 is no limit
    #[arg(long, value_name = "N", default_value = "-1", value_parser = parse::limit)]
    pub max_concurrent_requests: Limit,

    /// Requests that are let in per second [default: no limit]
    #[arg(id = "rate-limit-tokens-per-second", long, value_name = "N", value_parser = parse::count)]
    pub rate_limit_per_second: Option<u32>,

    /// Bytes of request bodies that are in the router at once; what would be more is answered 503 before it is read. The
    /// default is four of the longest; -1 is no limit
    #[arg(long, value_name = "BYTES", default_value = "2147483648", value_parser = parse::limit)]
    pub max_request_memory: Limit,
}
