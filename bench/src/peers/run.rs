//! The run: rounds, in each of them every scenario, in each of those every contender, in an order that turns.

use super::{
    contender::{Certificate, CertificateError, Contender, ProgramError, Programs},
    cores::Cores,
    fleet::{Workers, WorkersError},
    machine::Machine,
    results::{Outcome, Results, ResultsError, Turn},
    scenario::Scenario,
    table,
    turn::Stage,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{env, fmt, fs, io, path::PathBuf, time::Duration};

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    pub contenders: Vec<Contender>,
    pub scenarios: Vec<Scenario>,
    pub rounds: u32,
    pub warm_up: Duration,
    pub window: Duration,
    pub pinned: bool,
    pub seed: u64,
    /// The program of this bench, which workers are started by.
    pub bench: PathBuf,
    pub router: PathBuf,
    pub cache: PathBuf,
    pub out: PathBuf,
}

/// Why nothing was measured.
#[derive(Debug)]
pub enum PeersError {
    Program(ProgramError),
    Signals(io::Error),
    Cores(io::Error),
    Folder { path: PathBuf, error: io::Error },
    Certificate(CertificateError),
    Workers(WorkersError),
    Results(ResultsError),
    Document(super::document::DocumentError),
}

impl fmt::Display for PeersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
            Self::Cores(error) => {
                write!(
                    f,
                    "cannot divide the cores (--unpinned leaves them): {error}"
                )
            }
            Self::Folder { path, error } => {
                write!(f, "cannot work in {}: {error}", path.display())
            }
            Self::Certificate(error) => error.fmt(f),
            Self::Workers(error) => error.fmt(f),
            Self::Results(error) => error.fmt(f),
            Self::Document(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PeersError {}

/// Lets this process and its children open as many files as the system allows: a held stream is two sockets.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where that is refused, the streams that find no socket are counted as failures.
    let _ = setrlimit(Resource::Nofile, most);
}

/// Measures everything; keeps the results after each scenario of each round.
pub async fn run(plan: &Plan) -> Result<Vec<Results>, PeersError> {
    let programs =
        Programs::of(&plan.contenders, &plan.router, &plan.cache).map_err(PeersError::Program)?;
    for (contender, hint) in &programs.skipped {
        eprintln!("{contender} is left out: {hint}");
    }
    open_many_files();
    let cores = divided(plan.pinned).map_err(PeersError::Cores)?;
    let folder = env::temp_dir().join(format!("pd-bench-peers-{:x}", fastrand::u64(..)));
    let in_folder = |error| PeersError::Folder {
        path: folder.clone(),
        error,
    };
    fs::create_dir_all(&folder).map_err(in_folder)?;
    let certificate = if plan.scenarios.iter().any(|scenario| scenario.tls) {
        Some(Certificate::make(&folder).map_err(PeersError::Certificate)?)
    } else {
        None
    };
    let stage = Stage {
        programs: &programs,
        cores: cores.as_ref(),
        certificate: certificate.as_ref(),
        folder: &folder,
        warm_up: plan.warm_up,
        window: plan.window,
        seed: plan.seed,
    };
    let measured = rounds(plan, &stage).await;
    // A folder of the system's that is left behind is no reason to lose the results.
    let _ = fs::remove_dir_all(&folder);
    measured
}

fn divided(pinned: bool) -> io::Result<Option<Cores>> {
    if !pinned {
        return Ok(None);
    }
    let cores = Cores::divided()?;
    if let Some(cores) = &cores {
        cores.leave_to_router()?;
    }
    Ok(cores)
}

async fn rounds(plan: &Plan, stage: &Stage<'_>) -> Result<Vec<Results>, PeersError> {
    let empty = |scenario| empty(plan, stage, scenario);
    let mut all: Vec<Results> = plan.scenarios.iter().map(empty).collect();
    for round in 0..plan.rounds {
        for (scenario, results) in plan.scenarios.iter().zip(&mut all) {
            let turns = one_round(plan, stage, scenario, round).await?;
            results.turns.extend(turns);
            results.rounds = round + 1;
            results.write(&plan.out).map_err(PeersError::Results)?;
            eprintln!("{}", table::of(results));
        }
    }
    Ok(all)
}

/// A scenario's results before its first round.
fn empty(plan: &Plan, stage: &Stage<'_>, scenario: &Scenario) -> Results {
    Results {
        scenario: scenario.name.into(),
        about: scenario.about.into(),
        unit: scenario.work.unit(),
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        machine: Machine::this(),
        pinned: stage.cores.is_some(),
        seed: plan.seed,
        rounds: 0,
        window_s: plan.window.as_secs_f64(),
        versions: stage.programs.versions.clone(),
        skipped: stage.programs.skipped.clone(),
        turns: Vec::new(),
    }
}

async fn one_round(
    plan: &Plan,
    stage: &Stage<'_>,
    scenario: &Scenario,
    round: u32,
) -> Result<Vec<Turn>, PeersError> {
    let workers = Workers::start(&plan.bench, &scenario.fleet)
        .await
        .map_err(PeersError::Workers)?;
    let mut turns = Vec::new();
    for contender in order(plan, stage, scenario, round) {
        let outcome = match stage.turn(scenario, &workers.ports, contender).await {
            Ok(figures) => Outcome::Figures(Box::new(figures)),
            Err(error) => {
                eprintln!("{}, {contender}: {error}", scenario.name);
                Outcome::Failed(error.to_string())
            }
        };
        turns.push(Turn {
            round,
            contender,
            outcome,
        });
    }
    workers.stop().await.map_err(PeersError::Workers)?;
    Ok(turns)
}

/// Who takes turns; another one begins each round.
fn order(plan: &Plan, stage: &Stage<'_>, scenario: &Scenario, round: u32) -> Vec<Contender> {
    let plays = |contender: &Contender| {
        scenario.is_for(*contender) && !stage.programs.skipped.contains_key(contender)
    };
    let mut order: Vec<_> = plan.contenders.iter().copied().filter(plays).collect();
    if !order.is_empty() {
        let first = round as usize % order.len();
        order.rotate_left(first);
    }
    order
}
