//! The way to the workers: one request in, one response head and body out.
//!
//! Only this module knows which HTTP client speaks. A worker whose authority was registered as in-memory is called in
//! this process instead of over a socket: the simulated workers of `--simulate` and of the tests.

mod body;
mod client;
mod connection;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod pool;
mod segments;

pub use body::UpstreamBody;
pub use client::{InMemoryService, Upstream, UpstreamBuildError, UpstreamRequest};
pub use error::UpstreamError;
pub use segments::Segments;
