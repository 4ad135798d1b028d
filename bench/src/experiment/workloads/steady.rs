//! One kind of request at one rate: what a planner has to leave alone once it has found the split.

use std::path::Path;

use super::Kind;
use crate::workload::{Workload, WorkloadError, WorkloadSpec};

const TOTAL_SECONDS: f64 = 3_600.0;

pub(super) fn make(kind: Kind, rate: f64, seed: u64) -> Result<Workload, WorkloadError> {
    WorkloadSpec::Poisson {
        rate,
        duration_s: TOTAL_SECONDS,
        mix: kind.mix(),
    }
    .make(seed, Path::new(""))
}
