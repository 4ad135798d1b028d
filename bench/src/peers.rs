//! The router's own cost beside its peers', in one run.
//!
//! Every contender stands in front of the same workers, which cost next to nothing, and gets the same load by turns:
//! round by round, each freshly started, another one first each time. The primary figure is the processor time of the
//! contender's process for a unit of work, by the kernel's clock of that process; it holds on a machine that does
//! other things besides, where throughput does not. Every answer is checked to its end.
//!
//! Linux only.

pub mod cli;
pub mod comparison;
pub mod contender;
pub mod cores;
pub mod document;
pub mod fleet;
pub mod load;
pub mod machine;
mod ready;
pub mod results;
pub mod run;
pub mod scenario;
pub mod table;
pub mod turn;
