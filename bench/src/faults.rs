//! What clients see of failing workers, through this router and through its peers.
//!
//! A case is a fault, the moment at which it strikes and the half of the pair that it strikes. For every case each router
//! is started anew in front of two prefill and two decode workers, each a process of its own, of which one has the
//! fault; then every endpoint gets requests, streamed and whole, all under way at the same time, and every answer is
//! held against the one that the prompt must get. The routers of a case run side by side, so that none has a quieter
//! machine than another.
//!
//! Linux only.

mod ask;
pub mod case;
pub mod cli;
mod cut;
pub mod document;
mod fleet;
mod outcome;
mod promise;
mod ready;
mod results;
pub mod run;
mod turn;

pub use outcome::Outcome;
