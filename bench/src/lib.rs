//! The bench: simulated workers as processes, a load that checks every answer, and measurements of routers.
//!
//! A library as well as a program, so that tests can start workers and drive load without a child process.

#![deny(clippy::print_stdout, clippy::print_stderr)] // `output` has the one way to print

#[macro_use]
pub mod output;

pub mod child;
pub mod cli;
pub mod experiment;
pub mod exposition;
pub mod faults;
pub mod fit;
pub mod fleet;
mod get;
pub mod load;
pub mod model_file;
pub mod peers;
pub mod plot;
pub mod replay;
pub mod report;
pub mod role_changes;
pub mod router;
pub mod scenario;
pub mod serve;
pub mod sim;
pub mod soak;
pub mod study;
pub mod telemetry;
pub mod text_table;
pub mod what_if;
pub mod wire;
pub mod workload;

pub use get::GetError;
