//! All cases and all routers.

use super::{
    case::{Case, Leg},
    document::DocumentError,
    results::{Came, Promise, Results, ResultsError, Row},
    turn::{Stage, TurnError},
};
use crate::peers::{
    contender::{Contender, ProgramError, Programs},
    machine::Machine,
};
use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// What to do.
pub struct Plan {
    pub contenders: Vec<Contender>,
    pub cases: Vec<Case>,
    pub promises: bool,
    pub flags: Vec<(Contender, Vec<String>)>,
    pub limit: Duration,
    pub seed: u64,
    /// The program of this router.
    pub router: PathBuf,
    /// This bench's own program, which is the workers, too.
    pub bench: PathBuf,
    pub cache: PathBuf,
    /// The file of the results.
    pub out: PathBuf,
}

/// Why a run ended without results.
#[derive(Debug)]
pub enum FaultsError {
    Program(ProgramError),
    Folder { path: PathBuf, error: io::Error },
    Signals(io::Error),
    Results(ResultsError),
    Document(DocumentError),
}

impl fmt::Display for FaultsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(error) => error.fmt(f),
            Self::Folder { path, error } => write!(f, "cannot use {}: {error}", path.display()),
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
            Self::Results(error) => error.fmt(f),
            Self::Document(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FaultsError {}

/// Goes through all cases; keeps the results after each.
pub async fn run(plan: Plan) -> Result<Results, FaultsError> {
    let programs =
        Programs::of(&plan.contenders, &plan.router, &plan.cache).map_err(FaultsError::Program)?;
    let folder = env::temp_dir().join(format!("pd-bench-faults-{:x}", fastrand::u64(..)));
    fs::create_dir_all(&folder).map_err(|error| FaultsError::Folder {
        path: folder.clone(),
        error,
    })?;
    let mut results = Results {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        machine: Machine::this(),
        seed: plan.seed,
        limit_s: plan.limit.as_secs_f64(),
        versions: programs.versions.clone(),
        flags: plan.flags.iter().cloned().collect(),
        cases: Vec::new(),
        promises: Vec::new(),
    };
    let stage = Stage {
        bench: plan.bench,
        programs,
        flags: plan.flags,
        folder,
        limit: plan.limit,
        seed: plan.seed,
    };
    let ended = all(
        &stage,
        &plan.contenders,
        &plan.cases,
        plan.promises,
        &plan.out,
        &mut results,
    );
    let ended = ended.await;
    // A folder of the system's that is left behind is no reason to lose the results.
    let _ = fs::remove_dir_all(&stage.folder);
    ended.map(|()| results)
}

async fn all(
    stage: &Stage,
    contenders: &[Contender],
    cases: &[Case],
    promises: bool,
    out: &Path,
    results: &mut Results,
) -> Result<(), FaultsError> {
    if promises {
        for leg in [Leg::Prefill, Leg::Decode] {
            results.promises.extend(kept(stage, contenders, leg).await);
        }
    }
    for (place, &case) in cases.iter().enumerate() {
        errln!("{} of {}: {}", place + 1, cases.len(), case.name());
        results
            .cases
            .extend(side_by_side(stage, contenders, case).await);
        results.write(out).map_err(FaultsError::Results)?;
    }
    results.write(out).map_err(FaultsError::Results)
}

/// One case, all routers at the same time.
async fn side_by_side(stage: &Stage, contenders: &[Contender], case: Case) -> Vec<Row> {
    let turns = contenders.iter().map(|&contender| async move {
        let came = stage.turn(contender, case).await;
        let came = came.map_or_else(|error| failed(contender, &error), Came::Got);
        Row {
            case,
            contender,
            came,
        }
    });
    futures_util::future::join_all(turns).await
}

/// By turns: a figure of some milliseconds is not measured beside two other routers.
async fn kept(stage: &Stage, contenders: &[Contender], leg: Leg) -> Vec<Promise> {
    let mut kept = Vec::new();
    for &contender in contenders {
        match stage.promise(contender, leg).await {
            Ok(promise) => kept.push(promise),
            Err(error) => drop(failed(contender, &error)),
        }
    }
    kept
}

fn failed(contender: Contender, error: &TurnError) -> Came {
    errln!("{contender}: {error}");
    Came::Failed(error.to_string())
}
