//! What the router counts and shows of itself.

mod metrics;
pub mod trace;

pub use metrics::Metrics;
