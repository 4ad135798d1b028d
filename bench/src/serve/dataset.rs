//! Which requests a run has: drawn, or out of a file.

mod recorded;
mod sharegpt;

use super::{
    item::{Item, Prompt},
    prompts::{PromptError, Prompts},
    schedule::moments,
};
use crate::workload::{
    MAX_REQUESTS, WorkloadError,
    dice::{Use, dice},
    trace::TraceError,
};
use rand::Rng;
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Requests where their number isn't given and no file has one: vLLM's default.
const DEFAULT_REQUESTS: usize = 1000;

/// Where requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DatasetName {
    /// Random words, of lengths around those given
    Random,
    /// Conversations: a JSON array of objects with "conversations", of which the first two turns are taken
    Sharegpt,
    /// Recorded times and lengths: Azure CSV, Mooncake JSON lines, or the router's request log
    Trace,
    /// Drawn by a TOML file with a workload, such as a scenario of the simulator
    Phases,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    pub name: DatasetName,
    pub path: Option<PathBuf>,
    /// At most so many requests.
    pub requests: Option<usize>,
    pub random: Random,
    /// Instead of the length of the recorded answer.
    pub sharegpt_output_tokens: Option<u32>,
    /// Requests a second; `None` sends as soon as there is room, or when the file says.
    pub rate: Option<f64>,
    pub burstiness: f64,
    /// Recorded times are divided by it.
    pub rate_scale: f64,
    pub seed: u64,
}

/// Lengths of drawn requests, in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Random {
    pub input: u32,
    pub output: u32,
    /// From so much less to so much more, all equally likely; 0 to 1.
    pub range_ratio: f64,
    /// Tokens that all prompts begin with, before `input`.
    pub prefix: u32,
}

/// The requests of a run, and how many at once if they say so themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Requests {
    pub items: Vec<Item>,
    pub concurrency: Option<usize>,
}

/// Why there are no requests.
#[derive(Debug)]
pub enum DatasetError {
    NeedsPath(DatasetName),
    NeedsNoPath,
    /// The file has times of its own.
    TwoRates,
    TooMany(usize),
    Read {
        path: PathBuf,
        error: io::Error,
    },
    NotShareGpt {
        path: PathBuf,
        error: serde_json::Error,
    },
    NoneFits(PathBuf),
    NotToml {
        path: PathBuf,
        error: toml::de::Error,
    },
    Workload(WorkloadError),
    Trace(TraceError),
    Prompt(PromptError),
}

impl fmt::Display for DatasetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsPath(name) => write!(
                f,
                "--dataset-name {} needs --dataset-path FILE",
                format!("{name:?}").to_ascii_lowercase()
            ),
            Self::NeedsNoPath => f.write_str(
                "--dataset-name random takes no --dataset-path: name sharegpt, trace or phases, or leave the path away",
            ),
            Self::TwoRates => f.write_str(
                "--request-rate can't be combined with a file that has times of its own: use --rate-scale to send the \
                 same requests faster or slower",
            ),
            Self::TooMany(found) => write!(
                f,
                "--num-prompts: {found} requests, at most {MAX_REQUESTS} fit in memory"
            ),
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::NotShareGpt { path, error } => write!(
                f,
                "{}: expected a JSON array of {{\"conversations\": [{{\"value\": ...}}, ...]}}: {error}",
                path.display()
            ),
            Self::NoneFits(path) => write!(
                f,
                "{}: no conversation has a prompt of 4 to 1024 tokens, an answer of at least 4, and 2048 together",
                path.display()
            ),
            Self::NotToml { path, error } => write!(
                f,
                "{}: expected a workload as in docs/simulator.md: {error}",
                path.display()
            ),
            Self::Workload(error) => error.fmt(f),
            Self::Trace(error) => error.fmt(f),
            Self::Prompt(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DatasetError {}

impl Dataset {
    /// Reads or draws the requests.
    pub fn requests(&self, prompts: &Prompts) -> Result<Requests, DatasetError> {
        if let Some(requests) = self.requests.filter(|&n| n > MAX_REQUESTS) {
            return Err(DatasetError::TooMany(requests));
        }
        match self.name {
            DatasetName::Random if self.path.is_some() => Err(DatasetError::NeedsNoPath),
            DatasetName::Random => Ok(self.at_rate(self.random())),
            DatasetName::Sharegpt => {
                let texts = sharegpt::read(self, self.file()?, prompts)?;
                Ok(self.at_rate(texts))
            }
            DatasetName::Trace | DatasetName::Phases if self.rate.is_some() => {
                Err(DatasetError::TwoRates)
            }
            DatasetName::Trace => recorded::trace(self, self.file()?),
            DatasetName::Phases => recorded::workload(self, self.file()?),
        }
    }

    fn file(&self) -> Result<&Path, DatasetError> {
        self.path
            .as_deref()
            .ok_or(DatasetError::NeedsPath(self.name))
    }

    fn count(&self) -> usize {
        self.requests.unwrap_or(DEFAULT_REQUESTS)
    }

    fn random(&self) -> Vec<(Prompt, u32)> {
        let mut dice = dice(self.seed, Use::Lengths);
        let Random {
            input,
            output,
            range_ratio,
            prefix,
        } = self.random;
        (0..self.count())
            .map(|_| {
                let fresh = dice.random_range(around(input, range_ratio));
                let prompt = Prompt::Drawn {
                    shared: prefix,
                    fresh,
                };
                (prompt, dice.random_range(around(output, range_ratio)))
            })
            .collect()
    }

    /// Gives every request its moment, if there is a rate.
    fn at_rate(&self, requests: Vec<(Prompt, u32)>) -> Requests {
        let moments = self
            .rate
            .map(|rate| moments(requests.len(), rate, self.burstiness, self.seed));
        let items = requests
            .into_iter()
            .enumerate()
            .map(|(place, (prompt, output_tokens))| Item {
                due: moments.as_ref().map(|moments| moments[place]),
                prompt,
                output_tokens,
            })
            .collect();
        Requests {
            items,
            concurrency: None,
        }
    }
}

/// Lengths from `ratio` less to `ratio` more; at least 1.
fn around(length: u32, ratio: f64) -> std::ops::RangeInclusive<u32> {
    let length = f64::from(length);
    let least = (length * (1.0 - ratio)).floor().max(1.0);
    let most = (length * (1.0 + ratio)).ceil().max(1.0);
    least as u32..=most as u32
}

#[cfg(test)]
mod tests;
