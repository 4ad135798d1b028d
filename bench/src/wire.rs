//! What every client of the bench speaks: three endpoints over HTTP, and the events of a streamed answer.

mod client;
mod endpoint;
mod events;
mod object;

pub use client::UrlError;
pub(crate) use client::{HttpClient, Prepared};
pub use endpoint::Endpoint;
pub(crate) use events::Events;
pub(crate) use object::Object;
