//! The request path. `handler` tells the life of a request in order; the rest are its parts.

pub mod abort;
mod admission;
mod attempt;
mod binding;
mod bootstrap;
mod chunk;
mod continuation;
mod endpoint;
mod error;
mod events;
mod failure;
#[doc(hidden)]
pub mod fuzzing;
mod handler;
mod headers;
mod idle;
mod intake;
mod leg;
mod logprobs;
mod memory;
mod meter;
mod object;
mod outcome;
mod pick;
mod queue;
mod relay;
mod request;
mod retry;
mod samples;
mod sse;
mod tokens;
mod waiting_room;

pub use admission::Admission;
pub use continuation::KeptBytes;
pub use handler::{Proxy, not_found, routes};
pub use memory::BodyMemory;
pub use pick::{Picked, Picker, Policies, Tried};
pub use queue::{PrefillQueue, Standings};
pub use waiting_room::WaitingRoom;
