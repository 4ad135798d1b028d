//! The experiment: planners of the ratio against each other, on the same requests, in virtual time.
//!
//! A cell is an engine, traffic, a load and the time that a worker is away when it changes its role. An arm is a planner
//! with or without the router's own measures. Every arm of a cell sees the same requests for a seed, so that arms are
//! compared seed by seed, and what is said of a difference is said with its confidence interval.
//!
//! A new arm is a row in `arms`, new traffic a file in `workloads` and a row in `grid`.

mod arms;
mod capacity;
pub mod cli;
mod csv_table;
mod engines;
mod folder;
mod given;
mod grid;
pub mod live;
mod oracle;
mod picture;
mod report;
pub mod results;
mod run;
pub mod statistics;
mod store;
pub mod timeline;
mod workloads;

pub use self::{
    arms::{Arm, Measures, Planning},
    csv_table::csv,
    engines::{Engine, Fleet},
    given::{GivenError, grid as given},
    grid::{Cell, Grid, Part},
    report::Report,
    results::Results,
    run::{Done, Row, Run, RunError, run},
    store::{Store, StoreError},
    workloads::{Given, Shape, StudyRun, Traffic},
};
