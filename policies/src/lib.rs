//! Pure decisions of adaptive-router.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time and entropy are arguments. That is what lets
//! the same object run in the live router, in the simulator and in a golden test, and a decision log replay bit for
//! bit. The crate knows no async runtime, no HTTP and no metrics.

pub mod lifecycle;
pub mod model;
pub mod queue;
pub mod ratio;
pub mod route;
pub mod time;
pub mod worker;
