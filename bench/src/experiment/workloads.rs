//! The traffic of the experiment, one file a kind.

mod phases;
mod recorded;
mod steady;

use std::path::PathBuf;

use super::{
    capacity::{Capacities, Kind},
    engines::Engine,
};
use crate::workload::{Workload, WorkloadError};

#[derive(Debug, Clone, PartialEq)]
pub enum Traffic {
    /// Two kinds of requests that take turns, each for so many seconds.
    Phases { seconds: u32 },
    /// One kind, all the time.
    Steady(Kind),
    /// As it was recorded.
    Recorded(PathBuf),
}

impl Traffic {
    pub fn name(&self) -> String {
        match self {
            Self::Phases { seconds } => phases::name(*seconds),
            Self::Steady(kind) => kind.name(),
            Self::Recorded(path) => recorded::name(path),
        }
    }

    /// How long one kind of request lasts, where kinds take turns.
    pub const fn phase_seconds(&self) -> Option<u32> {
        match self {
            Self::Phases { seconds } => Some(*seconds),
            Self::Steady(_) | Self::Recorded(_) => None,
        }
    }

    /// The kinds of requests whose capacity its loads are given in.
    pub fn kinds(&self) -> Vec<Kind> {
        match self {
            Self::Phases { .. } => phases::KINDS.to_vec(),
            Self::Steady(kind) => vec![*kind],
            Self::Recorded(_) => Vec::new(),
        }
    }

    /// The requests for `seed` at `load`: a share of what the best split carries of each kind, or, of recorded traffic,
    /// how many times as many users there are.
    pub fn make(
        &self,
        engine: Engine,
        load: f64,
        seed: u64,
        capacities: &Capacities,
    ) -> Result<Workload, WorkloadError> {
        let rate = |kind| load * capacities.best(engine, kind);
        match self {
            Self::Phases { seconds } => phases::make(*seconds, rate, seed),
            Self::Steady(kind) => steady::make(*kind, rate(*kind), seed),
            Self::Recorded(path) => recorded::make(path, load, seed),
        }
    }
}
