//! What came of a run, as it is kept, with everything needed to say what it is worth.

use super::{
    case::{Case, Leg},
    turn::Got,
};
use crate::peers::{contender::Contender, machine::Machine};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub date: String,
    pub machine: Machine,
    pub seed: u64,
    pub limit_s: f64,
    pub versions: BTreeMap<Contender, String>,
    pub flags: BTreeMap<Contender, Vec<String>>,
    pub cases: Vec<Row>,
    pub promises: Vec<Promise>,
}

/// A router in a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    #[serde(flatten)]
    pub case: Case,
    pub contender: Contender,
    #[serde(flatten)]
    pub came: Came,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    Got(Vec<Got>),
    /// Why there is nothing.
    Failed(String),
}

/// What holds for a router before the first byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    pub contender: Contender,
    pub leg: Leg,
    /// One of the role's two workers dead, requests one after another.
    pub dead: Dead,
    /// From the death of this leg's worker until the other leg's worker has none of its requests.
    pub other_leg_free_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Dead {
    pub asked: u64,
    pub right: u64,
    /// The slowest of as many requests with all workers alive.
    pub slowest_alive_ms: u64,
    pub slowest_dead_ms: u64,
}

/// Why results can't be kept or read.
#[derive(Debug)]
pub enum ResultsError {
    Written {
        path: PathBuf,
        error: io::Error,
    },
    Read {
        path: PathBuf,
        error: io::Error,
    },
    Garbled {
        path: PathBuf,
        error: serde_json::Error,
    },
}

impl fmt::Display for ResultsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Garbled { path, error } => {
                write!(f, "{} holds no results: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for ResultsError {}

impl Results {
    pub fn write(&self, path: &Path) -> Result<(), ResultsError> {
        let written = |error| ResultsError::Written {
            path: path.into(),
            error,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(written)?;
        }
        let mut text = serde_json::to_string_pretty(self)
            .expect("results have string keys and no number that JSON lacks");
        text.push('\n');
        fs::write(path, text).map_err(written)
    }

    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let text = fs::read_to_string(path).map_err(|error| ResultsError::Read {
            path: path.into(),
            error,
        })?;
        serde_json::from_str(&text).map_err(|error| ResultsError::Garbled {
            path: path.into(),
            error,
        })
    }

    /// The routers that took part, in their order.
    pub fn contenders(&self) -> Vec<Contender> {
        self.versions.keys().copied().collect()
    }

    /// What a router's clients got in a case.
    pub fn got(&self, case: Case, contender: Contender) -> Option<&[Got]> {
        let of = |row: &&Row| row.case == case && row.contender == contender;
        match &self.cases.iter().find(of)?.came {
            Came::Got(got) => Some(got),
            Came::Failed(_) => None,
        }
    }
}
