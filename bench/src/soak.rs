//! A router under load for long: whether its memory and its open files stay where they are.
//!
//! It stands in front of simulated workers that take no time, and gets requests of all endpoints, streamed and whole, a
//! part at a time; every answer is checked. After each part its resident memory and its file descriptors are read.
//!
//! Linux only.

mod cli;

pub use cli::SoakArgs;

use crate::{
    child::{self, Child, ChildError, Launch, MemoryError},
    load::{self, Load, LoadError},
    peers::machine::Machine,
};
use serde::{Deserialize, Serialize};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What to do.
pub struct Plan {
    pub router: PathBuf,
    pub bench: PathBuf,
    pub requests: u64,
    /// Requests between two readings.
    pub part: u64,
    pub concurrency: u32,
    /// Parts begin evenly over so long a time, or as soon as the one before has ended.
    pub spread: Duration,
    pub seed: u64,
}

/// What there was after so many requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub requests: u64,
    pub seconds: f64,
    pub rss_kib: u64,
    pub open_files: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Soaked {
    pub date: String,
    pub machine: Machine,
    pub seed: u64,
    pub concurrency: u32,
    /// Answers that were not whole and right.
    pub flaws: u64,
    pub readings: Vec<Reading>,
}

/// Why there are no readings.
#[derive(Debug)]
pub enum SoakError {
    Ports(io::Error),
    Child(ChildError),
    Memory(MemoryError),
    OpenFiles(io::Error),
    Load(LoadError),
    Program(io::Error),
    Written { path: PathBuf, error: io::Error },
}

impl fmt::Display for SoakError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(error) => write!(f, "no free ports: {error}"),
            Self::Child(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::OpenFiles(error) => write!(f, "cannot count the router's open files: {error}"),
            Self::Load(error) => error.fmt(f),
            Self::Program(error) => write!(f, "this program has no path: {error}"),
            Self::Written { path, error } => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for SoakError {}

const PREFILL: u16 = 2;
const DECODE: u16 = 2;

/// Soaks a router; `seen` gets every reading as it comes.
pub async fn run(plan: &Plan, seen: impl Fn(&Reading)) -> Result<Soaked, SoakError> {
    let workers = PREFILL + DECODE;
    let first = child::free_range(workers + PREFILL).map_err(SoakError::Ports)?;
    let _fleet = fleet(&plan.bench, first).await?;
    let [port, metrics_port] = child::free_ports().map_err(SoakError::Ports)?;
    let url = format!("http://127.0.0.1:{port}");
    let router = router(&plan.router, first, port, metrics_port).await?;
    let mut soaked = Soaked {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        machine: Machine::this(),
        seed: plan.seed,
        concurrency: plan.concurrency,
        flaws: 0,
        readings: Vec::new(),
    };
    let began = Instant::now();
    let mut sent = 0;
    loop {
        let begins = plan
            .spread
            .mul_f64(sent as f64 / plan.requests.max(1) as f64);
        tokio::time::sleep_until((began + begins).into()).await;
        let memory = router.memory().map_err(SoakError::Memory)?;
        let reading = Reading {
            requests: sent,
            seconds: began.elapsed().as_secs_f64(),
            rss_kib: memory.now_kib,
            open_files: router.open_files().map_err(SoakError::OpenFiles)?,
        };
        seen(&reading);
        soaked.readings.push(reading);
        if sent >= plan.requests {
            return Ok(soaked);
        }
        let part = plan.part.min(plan.requests - sent);
        let report = load::run(Load {
            url: url.clone(),
            requests: part,
            concurrency: plan.concurrency,
            // Other prompts in each part, so that no part is answered from what another left.
            seed: plan.seed.wrapping_add(sent),
            ..Load::default()
        });
        let report = report.await.map_err(SoakError::Load)?;
        soaked.flaws += report.failures.values().sum::<u64>();
        sent += part;
    }
}

async fn fleet(bench: &Path, first: u16) -> Result<Child, SoakError> {
    let workers = PREFILL + DECODE;
    let arguments = [
        "simulated-fleet".to_owned(),
        "--zero-delay".to_owned(),
        format!("--prefill={PREFILL}"),
        format!("--decode={DECODE}"),
        format!("--first-port={first}"),
        format!("--first-bootstrap-port={}", first + workers),
    ];
    let launch = Launch {
        program: bench.into(),
        arguments: arguments.map(Into::into).into(),
        ready: format!("http://127.0.0.1:{}/ready", first + workers - 1),
    };
    Child::start(&launch).await.map_err(SoakError::Child)
}

async fn router(
    program: &Path,
    first: u16,
    port: u16,
    metrics_port: u16,
) -> Result<Child, SoakError> {
    let worker = |place: u16| format!("http://127.0.0.1:{}", first + place);
    let mut arguments = vec!["--pd-disaggregation".to_owned()];
    for place in 0..PREFILL {
        let bootstrap = (first + PREFILL + DECODE + place).to_string();
        arguments.extend(["--prefill".into(), worker(place), bootstrap]);
    }
    for place in PREFILL..PREFILL + DECODE {
        arguments.extend(["--decode".into(), worker(place)]);
    }
    arguments.extend([
        "--host=127.0.0.1".into(),
        format!("--port={port}"),
        format!("--prometheus-port={metrics_port}"),
        "--worker-startup-check-interval=1".into(),
        "--log-level=warn".into(),
    ]);
    let launch = Launch {
        program: program.into(),
        arguments: arguments.into_iter().map(Into::into).collect(),
        ready: format!("http://127.0.0.1:{port}/readiness"),
    };
    Child::start(&launch).await.map_err(SoakError::Child)
}
