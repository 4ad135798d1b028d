//! What the router counts and shows of itself.

mod metrics;

pub use metrics::Metrics;
