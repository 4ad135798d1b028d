//! Scenarios: a fleet, its work and what happens to it, as one small TOML file.
//!
//! A scenario names everything that its result depends on, so that the file and a seed are enough to get the same
//! figures again. A key that is not known is refused: a misspelt one would otherwise silently be its default.

pub mod cli;
mod figures;
mod file;
mod report;
mod sweep;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use policies::ratio::{BadSplit, Split};

use crate::{
    model_file::ModelError,
    sim::{Setup, Slo},
    workload::{WorkloadError, WorkloadSpec},
};

pub use self::{
    figures::{AFTERMATH, Figures},
    report::{Report, SplitReport},
    sweep::{Progress, run},
};

/// A scenario that makes sense.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub description: String,
    pub splits: Vec<Split>,
    /// How long the launchers keep a worker away, shortest first, each once.
    pub away: Vec<Duration>,
    /// All but the split and the seed.
    setup: Setup,
    pub workload: WorkloadSpec,
    /// Files of the workload are relative to it.
    folder: PathBuf,
}

/// Why a scenario can't be run.
#[derive(Debug)]
pub enum ScenarioError {
    Read {
        path: PathBuf,
        error: io::Error,
    },
    /// Not TOML, or not a scenario's keys.
    Parse {
        path: PathBuf,
        error: toml::de::Error,
    },
    /// A value that makes no sense.
    Value {
        path: PathBuf,
        error: ValueError,
    },
    Workload(WorkloadError),
}

/// What is wrong with a value.
#[derive(Debug)]
pub enum ValueError {
    Split(BadSplit),
    NoSplit,
    Model(ModelError),
    Seconds {
        key: &'static str,
        found: f64,
    },
    /// A role change starts from prefill or from decode.
    Role,
    UnknownLauncher {
        named: String,
        known: Vec<String>,
    },
    UnknownWorker {
        worker: usize,
        split: Split,
    },
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Parse { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Value { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Workload(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ScenarioError {}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split(error) => error.fmt(f),
            Self::Model(error) => write!(f, "fleet.model: {error}"),
            Self::NoSplit => f.write_str("fleet.splits: expected at least one"),
            Self::Seconds { key, found } => {
                write!(f, "{key}: expected a time of 0 s to a year, found {found}")
            }
            Self::Role => f.write_str("role_changes.from: expected prefill or decode"),
            Self::UnknownLauncher { named, known } => write!(
                f,
                "launcher: '{named}' is not in launchers ({})",
                known.join(", ")
            ),
            Self::UnknownWorker { worker, split } => write!(
                f,
                "failures.worker: {worker} is not in {split}, which counts from 0"
            ),
        }
    }
}

impl std::error::Error for ValueError {}

impl Scenario {
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError::Read {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(path, &text)
    }

    /// `path` is where `text` is from: files that it names are relative to its folder.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let file: file::ScenarioFile =
            toml::from_str(text).map_err(|error| ScenarioError::Parse {
                path: path.to_owned(),
                error,
            })?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        file.into_scenario(folder)
            .map_err(|error| ScenarioError::Value {
                path: path.to_owned(),
                error,
            })
    }

    pub fn slo(&self) -> Slo {
        self.setup.slo
    }

    /// Files of the workload are relative to it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the simulator is told but for the split and the seed.
    pub const fn fleet(&self) -> &Setup {
        &self.setup
    }

    /// The simulator's setup for one split and one seed.
    fn setup(&self, split: Split, seed: u64) -> Setup {
        Setup {
            prefill: split.prefill,
            decode: split.decode,
            seed,
            ..self.setup.clone()
        }
    }
}

#[cfg(test)]
mod tests;
