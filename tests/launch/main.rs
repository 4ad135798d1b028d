//! The process launcher with real processes: shell scripts that end, stay and leave children behind as workers do.
//!
//! Nothing listens here; whether a worker is ready is another matter, which the tests say themselves. The bench has the
//! tests with workers that serve (`bench/tests/launch.rs`).

#![cfg(target_os = "linux")]

mod keeping;
mod rig;
mod takeover;
