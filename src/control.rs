//! What goes on beside the requests.

pub mod removal;
