//! The bench: simulated workers as processes, and a load that checks every answer.
//!
//! A library as well as a program, so that tests can start workers and drive load without a child process.

pub mod cli;
pub mod load;
pub mod plot;
pub mod serve;
pub mod workload;
