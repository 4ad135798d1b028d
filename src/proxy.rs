//! The request path. `handler` tells the life of a request in order; the rest are its parts.

pub mod abort;
mod admission;
mod attempt;
mod bootstrap;
mod endpoint;
mod error;
mod failure;
mod handler;
mod headers;
mod leg;
mod logprobs;
mod meter;
mod outcome;
mod pick;
mod relay;
mod request;
mod retry;
mod sse;
mod tokens;

pub use admission::Admission;
pub use handler::{Proxy, not_found, routes};
pub use pick::Policies;
