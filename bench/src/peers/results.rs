//! What was measured, as it is kept: a file for each scenario, with everything needed to say what it is worth.

use super::{
    contender::Contender,
    load::Points,
    machine::Machine,
    scenario::{Scenario, Unit},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// All turns of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub scenario: String,
    pub about: String,
    pub unit: Unit,
    /// The day on which it was measured.
    pub date: String,
    pub machine: Machine,
    /// Whether the router had a core of its own.
    pub pinned: bool,
    pub seed: u64,
    pub rounds: u32,
    pub window_s: f64,
    pub versions: BTreeMap<Contender, String>,
    /// Contenders that are not here, and why.
    pub skipped: BTreeMap<Contender, String>,
    pub turns: Vec<Turn>,
}

/// What a contender did in a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    pub round: u32,
    pub contender: Contender,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Figures(Box<Figures>),
    /// Why there are none.
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub units: u64,
    pub seconds: f64,
    /// None where nobody is in between.
    pub cpu_seconds: Option<f64>,
    /// The part of a core that it uses before there is any load: its looks at its workers, mostly.
    pub idle: Option<f64>,
    pub peak_kib: Option<u64>,
    pub held: Option<Held>,
    /// Answers that were whole and right, those of the warm-up too.
    pub right: u64,
    pub failures: BTreeMap<String, u64>,
    pub whole: Option<Points>,
    pub first_token: Option<Points>,
    pub between_tokens: Option<Points>,
    pub on_the_way: Option<Points>,
    /// The 99th percentile of a tenth of a second, in microseconds, as a median.
    #[serde(default)]
    pub on_the_way_p99_of_a_slice: Option<f64>,
}

/// Memory before streams were opened and while they were held.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub streams: u64,
    pub before_kib: u64,
    pub after_kib: u64,
}

impl Figures {
    pub fn cpu_micros_per_unit(&self) -> Option<f64> {
        (self.units > 0).then_some(())?;
        Some(self.cpu_seconds? * 1e6 / self.units as f64)
    }

    pub fn units_per_second(&self) -> f64 {
        self.units as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// The part of one core that it used.
    pub fn busy(&self) -> Option<f64> {
        Some(self.cpu_seconds? / self.seconds.max(f64::MIN_POSITIVE))
    }

    pub fn kib_per_stream(&self) -> Option<f64> {
        let held = self.held?;
        (held.streams > 0).then_some(())?;
        Some((held.after_kib as f64 - held.before_kib as f64) / held.streams as f64)
    }

    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
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
    Nothing(PathBuf),
}

impl fmt::Display for ResultsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Garbled { path, error } => {
                write!(f, "{} holds no results: {error}", path.display())
            }
            Self::Nothing(path) => write!(
                f,
                "{} holds no results: make some with pd-bench peers --out",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ResultsError {}

impl Results {
    /// Writes `DIR/SCENARIO.json`, in place of what was there.
    pub fn write(&self, folder: &Path) -> Result<(), ResultsError> {
        let path = folder.join(format!("{}.json", self.scenario));
        let written = |error| ResultsError::Written {
            path: path.clone(),
            error,
        };
        fs::create_dir_all(folder).map_err(written)?;
        let mut text = serde_json::to_string_pretty(self)
            .expect("results have string keys and no number that JSON lacks");
        text.push('\n');
        fs::write(&path, text).map_err(written)
    }

    /// Reads those of every scenario that a folder has, in the order of the scenarios.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>, ResultsError> {
        let mut all = Vec::new();
        for scenario in Scenario::all().into_iter().chain(Scenario::ladders()) {
            let path = folder.join(format!("{}.json", scenario.name));
            match fs::read_to_string(&path) {
                Ok(text) => all.push(
                    serde_json::from_str(&text)
                        .map_err(|error| ResultsError::Garbled { path, error })?,
                ),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(ResultsError::Read { path, error }),
            }
        }
        if all.is_empty() {
            return Err(ResultsError::Nothing(folder.into()));
        }
        Ok(all)
    }

    /// The contenders that have turns, in their order.
    pub fn contenders(&self) -> Vec<Contender> {
        let present = |contender: &Contender| {
            let mut turns = self.turns.iter();
            turns.any(|turn| turn.contender == *contender)
        };
        Contender::ALL.into_iter().filter(present).collect()
    }

    /// A contender's figures with their rounds.
    pub fn of(&self, contender: Contender) -> impl Iterator<Item = (u32, &Figures)> {
        self.turns
            .iter()
            .filter_map(move |turn| match &turn.outcome {
                Outcome::Figures(figures) if turn.contender == contender => {
                    Some((turn.round, figures.as_ref()))
                }
                Outcome::Figures(_) | Outcome::Failed(_) => None,
            })
    }
}
