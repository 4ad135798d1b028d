//! The experiment in wall-clock time: arms played through a router in front of real workers, beside what the simulator
//! says of the same requests.
//!
//! For each arm the router is started anew with the workers of a cluster file, in the arm's split. Requests are sent at
//! their moments, answered or not, and latency counts from those. Then the simulator plays the same requests to the same
//! arms, with role changes that take as long as they took. Where both agree, what the simulator says of arms and traffic
//! for which nobody has the time is worth something; where they don't, one of the two is wrong.
//!
//! `scene` is what is played and in which time, `cluster` who the workers are, `router` the router of one run,
//! `play` one run, `results` both sides of all runs.

mod cluster;
mod figures;
mod kept;
mod play;
mod report;
pub mod results;
mod router;
mod scene;

use std::{fmt, io, path::PathBuf, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

pub use self::{cluster::ClusterError, router::RouterError};
use self::{
    figures::Request,
    play::{Played, Stage},
    results::{Live, LiveResults, LiveRun, Side},
};
use super::{
    arms::{Arm, Measures, Planning},
    capacity::Kind,
    store::hash_of,
};
use crate::{
    scenario::Progress,
    serve::{DriveError, PromptError},
    sim,
    workload::{Workload, WorkloadError},
};
use policies::{model::WorkerModel, ratio::Split};
use tokio_util::sync::CancellationToken;

/// What is asked for. Durations are in the model's time, but for those of the workers' start and of a role change.
#[derive(Debug, Clone)]
pub struct LivePlan {
    pub cluster: PathBuf,
    pub router: PathBuf,
    /// Of a worker at a time scale of 1.
    pub model: WorkerModel,
    pub time_scale: f64,
    pub kinds: [Kind; 2],
    pub demand: Demand,
    pub phase_seconds: f64,
    pub phases: u32,
    /// That a request waits in the router at most.
    pub queue_seconds: f64,
    /// All that there are for so many workers, if none is named.
    pub arms: Vec<Planning>,
    pub seeds: Vec<u64>,
    pub tokenizer: Option<PathBuf>,
    pub start_within: Duration,
    /// How long a worker is away in the simulator when its role is changed; as long as it was, if nothing is said.
    pub away: Option<Duration>,
    /// Whether runs that were played before are taken.
    pub reuse: bool,
    pub out: PathBuf,
}

/// How much comes of each kind, while it is its turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Demand {
    /// A share of what the best split carries of it by the model.
    Load(f64),
    /// Requests a second.
    Rates([f64; 2]),
}

/// Why an arm could not be played.
#[derive(Debug)]
pub enum LiveError {
    Cluster(ClusterError),
    Arm { arm: Split, workers: u32 },
    Router(RouterError),
    Workload(WorkloadError),
    Prompt(PromptError),
    Drive(DriveError),
    Read { path: PathBuf, error: io::Error },
    Write { path: PathBuf, error: io::Error },
    Interrupted,
}

impl fmt::Display for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(error) => error.fmt(f),
            Self::Arm { arm, workers } => {
                write!(f, "--arms: {arm} is for another number of workers than {workers}")
            }
            Self::Router(error) => error.fmt(f),
            Self::Workload(error) => error.fmt(f),
            Self::Prompt(error) => error.fmt(f),
            Self::Drive(error) => error.fmt(f),
            Self::Read { path, error } => write!(
                f,
                "cannot read the router's program {}: {error}; name it with --router",
                path.display()
            ),
            Self::Write { path, error } => write!(
                f,
                "cannot write {}: {error}; choose another --out",
                path.display()
            ),
            Self::Interrupted => f.write_str(
                "interrupted; the same command goes on with the arms that were not played to their ends",
            ),
        }
    }
}

impl std::error::Error for LiveError {}

/// A worker is away for so long where nothing was moved: as a router thinks of a change in place.
const USUAL_AWAY: Duration = Duration::from_secs(2);

/// Draws of the routing policy in the simulator. A run that is played is one draw of many.
const DRAWS: u64 = 5;

/// From the last request to the end of its answer, about: for the time that a run is said to take.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// Plays all arms with all seeds, unless `out` has them, and simulates them.
pub async fn run(
    plan: &LivePlan,
    progress: Progress,
    stop: CancellationToken,
) -> Result<LiveResults, LiveError> {
    let cluster = cluster::Cluster::load(&plan.cluster).map_err(LiveError::Cluster)?;
    let told = cluster.check_time_scale(plan.time_scale);
    told.map_err(LiveError::Cluster)?;
    let workers = cluster.len();
    let arms = arms(&plan.arms, workers)?;
    let fleet = (workers, plan.model, plan.time_scale);
    let phases = (plan.phase_seconds, plan.phases);
    let scene = scene::Scene::new(fleet, plan.kinds, plan.demand, phases, plan.queue_seconds);
    let stage = Stage {
        cluster,
        router: plan.router.clone(),
        scene,
        tokenizer: plan.tokenizer.clone(),
        start_within: plan.start_within,
        out: plan.out.clone(),
        stop,
    };
    let played = play_all(&stage, &arms, plan, progress).await?;
    let away = plan.away.unwrap_or_else(|| away(&played));
    let mut live = Vec::new();
    for (arm, runs) in arms.iter().zip(&played) {
        live.push(compared(&stage.scene, arm, &plan.seeds, runs, away)?);
    }
    Ok(LiveResults::new(plan, &stage.scene, away, live))
}

/// All arms have the order in which the router takes requests; it hands no answers over.
fn arms(named: &[Planning], workers: u32) -> Result<Vec<Arm>, LiveError> {
    let all = || {
        let fixed = Split::all(workers).into_iter().map(Planning::Fixed);
        fixed.chain(Planning::PLANNERS).collect()
    };
    let plannings: Vec<_> = if named.is_empty() {
        all()
    } else {
        named.to_vec()
    };
    let arm = |planning| match planning {
        Planning::Fixed(arm) if arm.workers() != workers => Err(LiveError::Arm { arm, workers }),
        Planning::Fixed(_)
        | Planning::Threshold
        | Planning::Controller
        | Planning::Advise
        | Planning::KnownLengths
        | Planning::Oracle
        | Planning::Aggregated(_) => Ok(Arm {
            planning,
            measures: Measures {
                fresh_first: true,
                migrate: false,
                wait_for_decode: true,
            },
        }),
    };
    plannings.into_iter().map(arm).collect()
}

/// By arm, and then by seed.
async fn play_all(
    stage: &Stage,
    arms: &[Arm],
    plan: &LivePlan,
    progress: Progress,
) -> Result<Vec<Vec<Played>>, LiveError> {
    let program = std::fs::read(&stage.router).map_err(|error| LiveError::Read {
        path: stage.router.clone(),
        error,
    })?;
    let program = hash_of(&program);
    let mut played: Vec<Vec<Option<Played>>> = vec![vec![None; plan.seeds.len()]; arms.len()];
    let mut to_play = Vec::new();
    for (number, seed) in plan.seeds.iter().enumerate() {
        let mut order: Vec<_> = (0..arms.len()).collect();
        fastrand::Rng::with_seed(*seed).shuffle(&mut order);
        for arm in order {
            let inputs = format!("{}, router {program:016x}", stage.inputs(&arms[arm], *seed));
            if plan.reuse {
                played[arm][number] = kept::get(&stage.out, &arms[arm], *seed, &inputs);
            }
            if played[arm][number].is_none() {
                to_play.push((arm, number, *seed, inputs));
            }
        }
    }
    let bar = bar(stage, &to_play, progress)?;
    let runs = to_play.len();
    for (turn, (arm, number, seed, inputs)) in to_play.into_iter().enumerate() {
        let name = arms[arm].name();
        bar.set_prefix(format!("{name}, seed {seed} ({} of {runs})", turn + 1));
        bar.set_message("");
        let run = stage.play(&arms[arm], seed, &bar).await?;
        kept::put(&stage.out, &arms[arm], seed, (&inputs, &run))?;
        played[arm][number] = Some(run);
    }
    bar.finish_and_clear();
    let whole = |runs: Vec<Option<Played>>| runs.into_iter().flatten().collect();
    Ok(played.into_iter().map(whole).collect())
}

/// A bar of the requests that are to be sent. What is to be played is also said in words, for who sees no bar.
fn bar(
    stage: &Stage,
    to_play: &[(usize, usize, u64, String)],
    progress: Progress,
) -> Result<ProgressBar, LiveError> {
    let (mut requests, mut time) = (0, Duration::ZERO);
    for (_, _, seed, _) in to_play {
        let made = stage.scene.requests(*seed).map_err(LiveError::Workload)?;
        requests += made.len() as u64;
        let scenario = Duration::from_secs_f64(stage.scene.seconds);
        time += (scenario + LAST_ANSWER).mul_f64(stage.scene.scale);
    }
    Ok(match progress {
        Progress::Hidden => ProgressBar::hidden(),
        Progress::Shown => {
            errln!(
                "{} runs to play, {requests} requests, about {:.0} min and the starts of the workers",
                to_play.len(),
                time.as_secs_f64() / 60.0
            );
            let style = "{bar:30} {pos}/{len} requests, {prefix}{msg}, {eta} to go";
            let style = ProgressStyle::with_template(style).expect("the template is valid");
            let bar = ProgressBar::new(requests).with_style(style);
            bar.enable_steady_tick(Duration::from_secs(1));
            bar
        }
    })
}

/// How long a worker was away in the mean of all role changes, by the clock.
fn away(played: &[Vec<Played>]) -> Duration {
    let moves = played.iter().flatten().map(|run| run.moves);
    let (made, seconds) = moves.fold((0.0, 0.0), |(made, seconds), moves| {
        (made + moves.made, seconds + moves.away_seconds)
    });
    if made > 0.0 {
        Duration::from_secs_f64(seconds / made)
    } else {
        USUAL_AWAY
    }
}

/// An arm's runs, and the simulator's of the same requests.
fn compared(
    scene: &scene::Scene,
    arm: &Arm,
    seeds: &[u64],
    runs: &[Played],
    away: Duration,
) -> Result<Live, LiveError> {
    let mut both = Vec::new();
    for (seed, played) in seeds.iter().zip(runs) {
        let requests = scene.requests(*seed).map_err(LiveError::Workload)?;
        let work = Workload::Open { arrivals: requests };
        let simulated = (0..DRAWS).map(|draw| {
            let outcome = sim::run(&scene.setup(arm, away, draw), &work);
            let requests: Vec<_> = outcome.requests.iter().map(Request::simulated).collect();
            let moves = outcome.workers.iter().map(|worker| worker.role_changes);
            Side::new(scene, &requests, f64::from(moves.sum::<u32>()))
        });
        both.push(LiveRun::new(*seed, scene, played, simulated.collect()));
    }
    Ok(Live {
        arm: arm.name(),
        runs: both,
    })
}
