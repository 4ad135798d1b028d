//! A grid of the user's own: one scenario file under every arm.
//!
//! Of the file counts what arms have in common: how many workers there are, their model, the targets, the work, which
//! workers die, and how long a role change takes, each launcher's time a cell of its own. In what split workers begin, who
//! moves them and where requests wait is what arms differ in, so a file's `control` and `routing` are passed over, and
//! role changes of its own are refused.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use policies::model::WorkerModel;

use super::{
    arms::{Arm, Planning},
    engines::{Engine, Fleet},
    grid::{Cell, Grid, Part},
    workloads::{Given, Traffic},
};
use crate::{
    scenario::{Scenario, ScenarioError},
    workload::WorkloadSpec,
};

/// How long a worker is away where no launcher says it: what the controller expects unless told otherwise.
const AWAY: Duration = Duration::from_secs(30);

/// With fewer there is one split, and nothing to move.
const LEAST_WORKERS: u32 = 3;

/// Why a scenario can't be an experiment.
#[derive(Debug)]
pub enum GivenError {
    Scenario(ScenarioError),
    /// Its splits have not the same number of workers.
    Sizes(PathBuf),
    FewWorkers {
        path: PathBuf,
        workers: u32,
    },
    RoleChanges(PathBuf),
}

impl fmt::Display for GivenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenario(error) => error.fmt(f),
            Self::Sizes(path) => write!(
                f,
                "{}: fleet.splits: arms share their workers, so all splits must have as many; one is enough",
                path.display()
            ),
            Self::FewWorkers { path, workers } => write!(
                f,
                "{}: fleet.splits: {workers} workers can only be split in one way, expected at least {LEAST_WORKERS}",
                path.display()
            ),
            Self::RoleChanges(path) => write!(
                f,
                "{}: role_changes: arms decide when workers change their roles; take them out, or use pd-bench sim",
                path.display()
            ),
        }
    }
}

impl std::error::Error for GivenError {}

/// The scenario of the file at `path`, with all arms.
pub fn grid(path: &Path, seeds: &[u64]) -> Result<Grid, GivenError> {
    let scenario = Scenario::load(path).map_err(GivenError::Scenario)?;
    let fleet = fleet(path, &scenario)?;
    if !scenario.fleet().changes.is_empty() {
        return Err(GivenError::RoleChanges(path.to_owned()));
    }
    let traffic = Traffic::Given(Given {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        folder: scenario.folder().to_owned(),
        failures: scenario.fleet().failures.clone(),
        work: scenario.workload.clone(),
    });
    let away = if scenario.away.is_empty() {
        &[AWAY][..]
    } else {
        &scenario.away
    };
    let cells = away.iter().map(|dark| Cell {
        fleet,
        traffic: traffic.clone(),
        load: 1.0,
        dark: *dark,
        arms: arms(&scenario, fleet.workers),
        most_seeds: usize::MAX,
    });
    Ok(Grid {
        part: Part::Scenario,
        cells: cells.collect(),
        seeds: seeds.to_vec(),
    })
}

fn fleet(path: &Path, scenario: &Scenario) -> Result<Fleet, GivenError> {
    let mut sizes = scenario.splits.iter().map(|split| split.workers());
    let workers = sizes.next().unwrap_or(0);
    if sizes.any(|other| other != workers) {
        return Err(GivenError::Sizes(path.to_owned()));
    }
    if workers < LEAST_WORKERS {
        let path = path.to_owned();
        return Err(GivenError::FewWorkers { path, workers });
    }
    let setup = scenario.fleet();
    Ok(Fleet {
        name: if setup.model == WorkerModel::default() {
            Engine::Calibrated.name()
        } else {
            "own model"
        },
        model: setup.model,
        workers,
        slo: setup.slo,
        warm: setup.warm,
    })
}

/// The oracle knows when requests will come, which in a closed loop nobody does: the answers decide.
fn arms(scenario: &Scenario, workers: u32) -> Vec<Arm> {
    let mut arms = Arm::with_measures_apart(workers);
    if matches!(scenario.workload, WorkloadSpec::Closed { .. }) {
        arms.retain(|arm| arm.planning != Planning::Oracle);
    }
    arms
}

#[cfg(test)]
mod tests;
