//! The user's own: the work of a scenario file, and the workers that die in it.

use std::path::PathBuf;

use super::content;
use crate::{
    sim::Failure,
    workload::{Workload, WorkloadError, WorkloadSpec},
};

#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The file's, without its ending.
    pub name: String,
    pub work: WorkloadSpec,
    /// Files of the work are relative to it.
    pub folder: PathBuf,
    pub failures: Vec<Failure>,
}

impl Given {
    pub(super) fn phase_seconds(&self) -> Option<u32> {
        match &self.work {
            WorkloadSpec::Phases { mixes, phase_s, .. } => {
                (mixes.len() > 1).then_some(phase_s.round() as u32)
            }
            WorkloadSpec::Closed { .. }
            | WorkloadSpec::Poisson { .. }
            | WorkloadSpec::Bursty { .. }
            | WorkloadSpec::Trace { .. } => None,
        }
    }

    /// Of a recording its content too, which may change.
    pub(super) fn inputs(&self) -> String {
        match &self.work {
            WorkloadSpec::Trace { file, .. } => {
                format!("{self:?} {:016x}", content(&self.folder.join(file)))
            }
            WorkloadSpec::Closed { .. }
            | WorkloadSpec::Poisson { .. }
            | WorkloadSpec::Bursty { .. }
            | WorkloadSpec::Phases { .. } => format!("{self:?}"),
        }
    }

    pub(super) fn make(&self, seed: u64) -> Result<Workload, WorkloadError> {
        self.work.make(seed, &self.folder)
    }
}
