//! How a file asks for work.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use policies::time::Timestamp;
use serde::Deserialize;

use super::{
    MAX_REQUESTS, Mix, Workload,
    arrivals::{Gaps, Stretch, alternating, in_stretches},
    dice::{Use, dice},
    lengths::BadLengths,
    trace::{self, TraceError},
};

/// The work of a scenario: one of these tables.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkloadSpec {
    /// `concurrency` clients send `jobs` requests in all, each one after the answer to its last.
    Closed {
        jobs: usize,
        concurrency: usize,
        mix: Mix,
    },
    /// Arrivals that know nothing of each other.
    Poisson {
        rate: f64,
        duration_s: f64,
        mix: Mix,
    },
    /// Bursts and silences at a mean rate. `variation` is the gaps' standard deviation over their mean; Poisson has 1.
    Bursty {
        rate: f64,
        variation: f64,
        duration_s: f64,
        mix: Mix,
    },
    /// Mixes that take turns, each for `phase_s` × (1 ± `jitter`); Poisson within.
    Phases {
        mixes: Vec<PhaseMix>,
        phase_s: f64,
        #[serde(default)]
        jitter: f64,
        duration_s: f64,
    },
    /// What was recorded, at `rate_scale` times its rate.
    Trace {
        file: PathBuf,
        #[serde(default = "unscaled")]
        rate_scale: f64,
        /// Blocks of a trace that names them which the prefix cache holds; 0 for none.
        #[serde(default = "trace::default_cache_blocks")]
        cache_blocks: usize,
    },
}

/// A mix and its rate.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseMix {
    pub rate: f64,
    pub mix: Mix,
}

fn unscaled() -> f64 {
    1.0
}

/// Why there is no workload.
#[derive(Debug)]
pub enum WorkloadError {
    Lengths(BadLengths),
    /// A number that is not in its range.
    Range {
        what: &'static str,
        expected: &'static str,
        found: f64,
    },
    TooMany(f64),
    Trace(TraceError),
}

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lengths(error) => error.fmt(f),
            Self::Range {
                what,
                expected,
                found,
            } => write!(f, "workload: expected {what} {expected}, found {found}"),
            Self::TooMany(requests) => write!(
                f,
                "workload: about {requests:.0} requests, at most {MAX_REQUESTS} fit in memory"
            ),
            Self::Trace(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WorkloadError {}

impl WorkloadSpec {
    /// Makes the workload. Files are relative to `folder`; a trace is the same for every seed.
    pub fn make(&self, seed: u64, folder: &Path) -> Result<Workload, WorkloadError> {
        self.check()?;
        match self {
            Self::Closed {
                jobs,
                concurrency,
                mix,
            } => {
                let mut dice = dice(seed, Use::Lengths);
                Ok(Workload::Closed {
                    jobs: (0..*jobs).map(|_| mix.draw(0, &mut dice)).collect(),
                    concurrency: *concurrency,
                })
            }
            Self::Poisson {
                rate,
                duration_s,
                mix,
            } => Ok(open(
                &[stretch(*rate, *duration_s, *mix)],
                Gaps::Poisson,
                seed,
            )),
            Self::Bursty {
                rate,
                variation,
                duration_s,
                mix,
            } => {
                let gaps = Gaps::Bursty {
                    variation: *variation,
                };
                Ok(open(&[stretch(*rate, *duration_s, *mix)], gaps, seed))
            }
            Self::Phases {
                mixes,
                phase_s,
                jitter,
                duration_s,
            } => {
                let mixes: Vec<_> = mixes.iter().map(|phase| (phase.rate, phase.mix)).collect();
                let [length, total] = [*phase_s, *duration_s].map(Duration::from_secs_f64);
                let stretches = alternating(&mixes, length, *jitter, total, seed);
                Ok(open(&stretches, Gaps::Poisson, seed))
            }
            Self::Trace {
                file,
                rate_scale,
                cache_blocks,
            } => trace::load(&folder.join(file), *cache_blocks)
                .map(|trace| trace.accelerated(*rate_scale))
                .map_err(WorkloadError::Trace),
        }
    }

    fn check(&self) -> Result<(), WorkloadError> {
        match self {
            Self::Closed {
                jobs,
                concurrency,
                mix,
            } => {
                mix.check().map_err(WorkloadError::Lengths)?;
                positive("jobs", *jobs as f64)?;
                positive("concurrency", *concurrency as f64)?;
                bounded(*jobs as f64)
            }
            Self::Poisson {
                rate,
                duration_s,
                mix,
            } => check_stretch(*rate, *duration_s, mix),
            Self::Bursty {
                rate,
                variation,
                duration_s,
                mix,
            } => {
                within("variation", *variation, 0.01..=100.0, "of 0.01 to 100")?;
                check_stretch(*rate, *duration_s, mix)
            }
            Self::Phases {
                mixes,
                phase_s,
                jitter,
                duration_s,
            } => {
                positive("the number of mixes", mixes.len() as f64)?;
                within("phase_s", *phase_s, 1.0..=MAX_SECONDS, "of 1 s to a year")?;
                within("jitter", *jitter, 0.0..=0.99, "of 0 to 0.99")?;
                mixes
                    .iter()
                    .try_for_each(|phase| check_stretch(phase.rate, *duration_s, &phase.mix))
            }
            Self::Trace { rate_scale, .. } => positive("rate_scale", *rate_scale),
        }
    }
}

/// A year: beyond it a time in microseconds times a rate is still exact, and nobody waits for the answer.
const MAX_SECONDS: f64 = 365.0 * 86_400.0;

fn stretch(rate: f64, duration_s: f64, mix: Mix) -> Stretch {
    Stretch {
        start: Timestamp::ZERO,
        end: Timestamp::ZERO.after(Duration::from_secs_f64(duration_s)),
        rate,
        mix,
        class: 0,
    }
}

fn open(stretches: &[Stretch], gaps: Gaps, seed: u64) -> Workload {
    Workload::Open {
        arrivals: in_stretches(stretches, gaps, seed, MAX_REQUESTS),
    }
}

fn check_stretch(rate: f64, duration_s: f64, mix: &Mix) -> Result<(), WorkloadError> {
    mix.check().map_err(WorkloadError::Lengths)?;
    within("rate", rate, 1e-6..=1e6, "of 0.000001 to 1000000")?;
    within(
        "duration_s",
        duration_s,
        1.0..=MAX_SECONDS,
        "of 1 s to a year",
    )?;
    bounded(rate * duration_s)
}

fn positive(what: &'static str, found: f64) -> Result<(), WorkloadError> {
    within(what, found, f64::MIN_POSITIVE..=f64::MAX, "above 0")
}

fn within(
    what: &'static str,
    found: f64,
    range: std::ops::RangeInclusive<f64>,
    expected: &'static str,
) -> Result<(), WorkloadError> {
    if range.contains(&found) {
        Ok(())
    } else {
        Err(WorkloadError::Range {
            what,
            expected,
            found,
        })
    }
}

fn bounded(requests: f64) -> Result<(), WorkloadError> {
    if requests <= MAX_REQUESTS as f64 {
        Ok(())
    } else {
        Err(WorkloadError::TooMany(requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(toml: &str, seed: u64) -> Result<Workload, WorkloadError> {
        let spec: WorkloadSpec = toml::from_str(toml).unwrap();
        spec.make(seed, Path::new("."))
    }

    const MIX: &str =
        "mix = { prompt = { fixed = 128 }, output = { uniform = { mean = 100, spread = 0.5 } } }";

    #[test]
    fn a_workload_is_the_same_for_its_seed_and_another_for_another() {
        for table in [
            "[closed]\njobs = 50\nconcurrency = 8\n",
            "[poisson]\nrate = 5\nduration_s = 60\n",
            "[bursty]\nrate = 5\nvariation = 3\nduration_s = 60\n",
        ] {
            let toml = format!("{table}{MIX}");
            assert_eq!(made(&toml, 1).unwrap(), made(&toml, 1).unwrap(), "{table}");
            assert_ne!(made(&toml, 1).unwrap(), made(&toml, 2).unwrap(), "{table}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let table = [
            ("[closed]\njobs = 0\nconcurrency = 8\n", "jobs above 0"),
            (
                "[poisson]\nrate = -1\nduration_s = 60\n",
                "expected rate of",
            ),
            (
                "[poisson]\nrate = inf\nduration_s = 60\n",
                "expected rate of",
            ),
            (
                "[poisson]\nrate = 1e6\nduration_s = 60\n",
                "60000000 requests",
            ),
            (
                "[bursty]\nrate = 1\nvariation = 0\nduration_s = 60\n",
                "expected variation of",
            ),
        ];
        for (toml, expected) in table {
            let error = made(&format!("{toml}{MIX}"), 0).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused() {
        for toml in [
            format!("[poisson]\nrates = 1\nrate = 1\nduration_s = 60\n{MIX}"),
            format!("[poison]\nrate = 1\nduration_s = 60\n{MIX}"),
        ] {
            assert!(toml::from_str::<WorkloadSpec>(&toml).is_err(), "{toml}");
        }
    }
}
