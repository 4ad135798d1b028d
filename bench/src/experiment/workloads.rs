//! The traffic of the experiment, one file a kind.

mod failing;
mod given;
pub(super) mod phases;
mod recorded;
mod shaped;
mod steady;
mod study;

use std::path::{Path, PathBuf};

use super::{
    capacity::{Capacities, Kind},
    engines::Fleet,
    store::hash_of,
};
use crate::{
    sim::Failure,
    workload::{Workload, WorkloadError},
};

pub use self::{given::Given, shaped::Shape, study::StudyRun};

#[derive(Debug, Clone, PartialEq)]
pub enum Traffic {
    /// Two kinds of requests that take turns, each for so many seconds.
    Phases { seconds: u32 },
    /// The same, and workers die.
    Failing { seconds: u32 },
    /// Two kinds of requests at once, more or less of each as time goes on.
    Shaped(Shape),
    /// One kind, all the time.
    Steady(Kind),
    /// As it was recorded.
    Recorded(PathBuf),
    /// As many clients as the load says, each of which asks when it was answered.
    Study(StudyRun),
    /// The user's own.
    Given(Given),
}

impl Traffic {
    pub fn name(&self) -> String {
        match self {
            Self::Phases { seconds } => phases::name(*seconds),
            Self::Failing { seconds } => failing::name(*seconds),
            Self::Shaped(shape) => shape.name().to_owned(),
            Self::Steady(kind) => kind.name(),
            Self::Recorded(path) => recorded::name(path),
            Self::Study(run) => run.name(),
            Self::Given(given) => given.name.clone(),
        }
    }

    /// How long one kind of request lasts, of traffic that is nothing but phases.
    pub fn phase_seconds(&self) -> Option<u32> {
        match self {
            Self::Phases { seconds } => Some(*seconds),
            Self::Given(given) => given.phase_seconds(),
            Self::Failing { .. }
            | Self::Shaped(_)
            | Self::Steady(_)
            | Self::Recorded(_)
            | Self::Study(_) => None,
        }
    }

    /// The kinds of requests whose capacity its loads are given in.
    pub fn kinds(&self) -> Vec<Kind> {
        match self {
            Self::Phases { .. } | Self::Failing { .. } | Self::Shaped(_) => phases::KINDS.to_vec(),
            Self::Steady(kind) => vec![*kind],
            Self::Recorded(_) | Self::Study(_) | Self::Given(_) => Vec::new(),
        }
    }

    /// The workers that die of a fleet of so many.
    pub fn failures(&self, seed: u64, workers: u32) -> Vec<Failure> {
        match self {
            Self::Failing { seconds } => failing::failures(*seconds, seed, workers),
            Self::Given(given) => given.failures.clone(),
            Self::Phases { .. }
            | Self::Shaped(_)
            | Self::Steady(_)
            | Self::Recorded(_)
            | Self::Study(_) => Vec::new(),
        }
    }

    /// What its requests depend on besides load and seed: of a recording its content too, which may change.
    pub fn inputs(&self) -> String {
        match self {
            Self::Recorded(path) => format!("{self:?} {:016x}", content(path)),
            Self::Given(given) => given.inputs(),
            Self::Phases { .. }
            | Self::Failing { .. }
            | Self::Shaped(_)
            | Self::Steady(_)
            | Self::Study(_) => format!("{self:?}"),
        }
    }

    /// The requests for `seed` at `load`: a share of what the best split carries of each kind, or, of recorded traffic,
    /// how many times as many users there are, or, of the study's, how many clients. A scenario's are as they are.
    pub fn make(
        &self,
        fleet: &Fleet,
        load: f64,
        seed: u64,
        capacities: &Capacities,
    ) -> Result<Workload, WorkloadError> {
        let rate = |kind| load * capacities.best(fleet, kind);
        match self {
            Self::Phases { seconds } | Self::Failing { seconds } => {
                phases::make(*seconds, rate, seed)
            }
            Self::Shaped(shape) => Ok(shaped::make(*shape, rate, seed)),
            Self::Steady(kind) => steady::make(*kind, rate(*kind), seed),
            Self::Recorded(path) => recorded::make(path, load, seed),
            Self::Study(run) => run.make(load, seed),
            Self::Given(given) => given.make(seed),
        }
    }
}

/// A hash of what is in a file. One that can't be read has no requests either, and says so when they are made.
fn content(path: &Path) -> u64 {
    hash_of(&std::fs::read(path).unwrap_or_default())
}
