//! `pd-bench what-if`.

use std::{
    fmt,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use clap::Args;
use policies::{model::WorkerModel, queue::QueueOrder, route::PolicyKind};

use super::{Fleet, Question, Routing, answer, picture};
use crate::{
    model_file,
    plot::PlotError,
    scenario::Progress,
    sim::{Dispatch, Slo},
    workload::{WorkloadError, WorkloadSpec, trace},
};

/// Prompt tokens that a prefill worker has before it while the router holds further requests: a batch that is computed
/// and one that is ready.
const PENDING_TOKENS: u64 = 16_384;

/// Workers of a fleet, at most: the pairs of splits to try grow with the square.
const MOST_WORKERS: u32 = 16;

#[derive(Args)]
pub struct WhatIfArgs {
    /// Traffic: an Azure LLM trace (CSV), a Mooncake trace (JSON lines) or the router's --request-log
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// Workers and the GPUs of each, such as 4x2
    #[arg(long, value_name = "WORKERSxGPUS")]
    fleet: Fleet,
    /// Model of the workers, instead of the one that comes with the program
    #[arg(long, value_name = "FILE.toml", value_parser = model_file::from_flag)]
    model: Option<WorkerModel>,
    /// Let requests come so many times as fast
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    rate_scale: f64,
    /// Target for the time to first token
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    ttft_slo_ms: u64,
    /// Target for the mean time between a request's tokens
    #[arg(long, value_name = "MS", default_value_t = 25)]
    itl_slo_ms: u64,
    /// Routing policy of both roles; those that look at prompts see empty ones
    #[arg(long, default_value_t = PolicyKind::PowerOfTwo)]
    policy: PolicyKind,
    /// Hold requests in the router while prefill or decode is full, and take those first that can still meet their target
    #[arg(long)]
    fresh_first: bool,
    /// How long a worker is away when its role changes; one line of the answer for each
    #[arg(
        long,
        value_name = "SECONDS",
        value_delimiter = ',',
        default_value = "2,30,90"
    )]
    dark: Vec<f64>,
    /// Time between two moments at which workers may move
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    slot: u32,
    /// Blocks of 512 tokens that the prefix cache holds, for traces that name them
    #[arg(long, value_name = "N", default_value_t = trace::default_cache_blocks())]
    cache_blocks: usize,
    /// Where to write pictures: PREFIX-attainment and PREFIX-rates, as .svg and .png
    #[arg(long, value_name = "PREFIX", default_value = "what-if")]
    out: PathBuf,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum WhatIfError {
    Workload(WorkloadError),
    Dark(f64),
    Slot,
    Plot(PlotError),
}

impl fmt::Display for WhatIfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(error) => error.fmt(f),
            Self::Dark(found) => write!(f, "--dark: expected 0 to 86400 seconds, found {found}"),
            Self::Slot => f.write_str("--slot: expected at least 1 second"),
            Self::Plot(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WhatIfError {}

/// Not a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFleet;

impl fmt::Display for BadFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected workers and the GPUs of each, such as 4x2, with 2 to {MOST_WORKERS} workers"
        )
    }
}

impl std::error::Error for BadFleet {}

impl FromStr for Fleet {
    type Err = BadFleet;

    fn from_str(text: &str) -> Result<Self, BadFleet> {
        let (workers, gpus_each) = text.split_once('x').ok_or(BadFleet)?;
        let fleet = Self {
            workers: workers.parse().map_err(|_| BadFleet)?,
            gpus_each: gpus_each.parse::<NonZeroU32>().map_err(|_| BadFleet)?,
        };
        let fits = (2..=MOST_WORKERS).contains(&fleet.workers) && fleet.gpus_each.get() <= 1_024;
        fits.then_some(fleet).ok_or(BadFleet)
    }
}

impl WhatIfArgs {
    pub fn run(self) -> Result<ExitCode, WhatIfError> {
        let question = self.question()?;
        let workload = WorkloadSpec::Trace {
            file: self.trace,
            rate_scale: self.rate_scale,
            cache_blocks: self.cache_blocks,
        };
        // A trace is the same for every seed, and its path is relative to here.
        let workload = workload
            .make(0, Path::new(""))
            .map_err(WhatIfError::Workload)?;
        let answer = answer(&question, &workload, Progress::Shown);
        let pictures = picture::draw(&answer, &self.out).map_err(WhatIfError::Plot)?;
        if self.json {
            outln!("{}", answer.to_json());
        } else {
            outln!("{answer}\n");
            for picture in pictures {
                outln!("Written: {0}.svg and {0}.png", picture.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn question(&self) -> Result<Question, WhatIfError> {
        if self.slot == 0 {
            return Err(WhatIfError::Slot);
        }
        Ok(Question {
            model: self.model.unwrap_or_default(),
            fleet: self.fleet,
            slo: Slo {
                ttft: Duration::from_millis(self.ttft_slo_ms),
                itl: Duration::from_millis(self.itl_slo_ms),
            },
            routing: Routing {
                policy: self.policy,
                dispatch: self.dispatch(),
            },
            slot: Duration::from_secs(u64::from(self.slot)),
            dark: self
                .dark
                .iter()
                .map(|s| dark(*s))
                .collect::<Result<_, _>>()?,
        })
    }

    fn dispatch(&self) -> Dispatch {
        if self.fresh_first {
            Dispatch::WhenThereIsRoom {
                order: QueueOrder::FreshFirst,
                pending_tokens: PENDING_TOKENS,
                decode_places: true,
            }
        } else {
            Dispatch::AtOnce
        }
    }
}

fn dark(seconds: f64) -> Result<Duration, WhatIfError> {
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(WhatIfError::Dark(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_read_as_workers_and_gpus() {
        let fleet: Fleet = "4x2".parse().unwrap();
        assert_eq!((fleet.workers, fleet.gpus_each.get()), (4, 2));
        for text in ["", "4", "4x0", "1x2", "17x1", "4x2x2", "-4x2"] {
            assert_eq!(text.parse::<Fleet>(), Err(BadFleet), "{text}");
        }
    }
}
