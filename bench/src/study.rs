//! The published measurements of prefill/decode ratios, and the same runs in the simulator.
//!
//! dstack measured four workers of two H200 each as 1P3D, 2P2D and 3P1D under nine workloads. The model's parameters
//! are fitted to these 27 runs ([`crate::fit`]), and `pd-bench seed-table` shows how well simulated runs meet them.

mod accuracy;
pub mod cli;
mod conditions;
mod report;
mod run;
mod table;

pub use self::{
    accuracy::{Accuracy, Errors},
    conditions::{Assumptions, Conditions},
    report::{Report, Row},
    run::{Figures, StudyModel, simulate},
    table::{Cell, TableError, load, shipped},
};
