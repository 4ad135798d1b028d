//! Role changes under load, with crashes in between: is anything lost, mixed up or left behind?
//!
//! A router starts four workers as processes (the stand-in for `sglang.launch_server`: real processes, real ports, no GPU)
//! and changes their roles, over and over, to the splits that it is told, while clients ask without a pause. Between the
//! changes workers are killed, the main process or its scheduler, and so is the router itself, which has to find its
//! workers again. Every answer is compared with what it must be.
//!
//! What is asked while nothing but workers dies must be answered, streamed or not: a stream that loses its worker goes on at
//! another. What is asked around the death of the router can break, and must not be wrong.

mod cli;
mod fleet;
mod report;
mod router;

pub use cli::RoleChangesArgs;
pub use report::Report;

use std::{fmt, io, path::PathBuf, time::Duration};

use policies::ratio::Split;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    child::ChildError,
    exposition::ParseError,
    get::GetError,
    load::{self, Endpoints, Load, LoadError, Streaming},
};
use fleet::{Fleet, Victim};
use router::{Done, Router};

/// A split is reached, and a worker that was killed is back, within this on the busiest machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// Load before and after the death of the router: requests are under way when it dies.
const AROUND: Duration = Duration::from_millis(500);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    pub router: PathBuf,
    /// The folder with the stand-in for `sglang`.
    pub stand_in: PathBuf,
    /// At least so many role changes.
    pub changes: u32,
    /// Share of the steps, from split to split, before which a worker is killed.
    pub crashes: f64,
    /// Deaths of the router, evenly spread.
    pub router_deaths: u32,
    pub concurrency: u32,
    /// Change roles in place, not by restart.
    pub in_place: bool,
    /// Have streams leave a worker that is to change its role.
    pub migrate: bool,
    pub seed: u64,
}

/// Why the story could not be told to its end.
#[derive(Debug)]
pub enum RunError {
    Io(&'static str, io::Error),
    Child(ChildError),
    Get(GetError),
    Metrics(ParseError),
    Load(LoadError),
    LoadDied,
    NotReached { wanted: String, state: String },
    WorkersRestarted,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(what, error) => write!(f, "{what}: {error}"),
            Self::Child(error) => write!(f, "the router: {error}"),
            Self::Get(error) => write!(f, "the router: {error}"),
            Self::Metrics(error) => write!(f, "the router's metrics: {error}"),
            Self::Load(error) => error.fmt(f),
            Self::LoadDied => f.write_str("the load panicked"),
            Self::NotReached { wanted, state } => {
                write!(
                    f,
                    "{wanted} did not come about within {PATIENCE:?}: {state}"
                )
            }
            Self::WorkersRestarted => f.write_str(
                "the router that was started anew did not take over the running workers",
            ),
        }
    }
}

impl std::error::Error for RunError {}

/// Tells the whole story. `step` is told of each split that was reached.
pub async fn run(plan: &Plan, step: impl Fn(u32)) -> Result<Report, RunError> {
    let mut story = Story::begin(plan).await?;
    let mut report = Report::default();
    let parts = plan.router_deaths + 1;
    for part in 0..parts {
        let until = plan.changes * (part + 1) / parts;
        let load = story.load();
        story.change_roles(until, &mut report, &step).await?;
        report.calm.push(load.end().await?);
        if part + 1 < parts {
            let load = story.load();
            sleep(AROUND).await;
            story.replace_router().await?;
            report.router_deaths += 1;
            sleep(AROUND).await;
            report.around_deaths.push(load.end().await?);
        }
    }
    story.end(&mut report).await?;
    Ok(report)
}

struct Story<'a> {
    plan: &'a Plan,
    fleet: Fleet,
    router: Router,
    dice: fastrand::Rng,
    split: Split,
    /// What routers did that died.
    before: Done,
}

impl<'a> Story<'a> {
    async fn begin(plan: &'a Plan) -> Result<Self, RunError> {
        let fleet = Fleet::new(plan.in_place, &plan.stand_in)?;
        let router = Router::start(&plan.router, &fleet, plan.migrate).await?;
        let split = Split {
            prefill: 2,
            decode: 2,
        };
        router.reach(split, false).await?;
        Ok(Self {
            plan,
            fleet,
            router,
            dice: fastrand::Rng::with_seed(plan.seed),
            split,
            before: Done::default(),
        })
    }

    /// From split to split, until as many role changes were made.
    async fn change_roles(
        &mut self,
        until: u32,
        report: &mut Report,
        step: &impl Fn(u32),
    ) -> Result<(), RunError> {
        loop {
            report.done = self.before + self.router.done().await?;
            step(report.done.changes);
            if report.done.changes >= until {
                return Ok(());
            }
            if self.dice.f64() < self.plan.crashes {
                let worker = self.dice.usize(..fleet::WORKERS);
                let victim = if self.dice.bool() {
                    Victim::Main
                } else {
                    Victim::Scheduler
                };
                report.crashes += u32::from(self.fleet.kill(worker, victim)?);
            }
            let mut others = Split::all(fleet::WORKERS as u32);
            others.retain(|split| *split != self.split);
            self.split = others[self.dice.usize(..others.len())];
            let begun = Instant::now();
            self.router.reach(self.split, true).await?;
            report.longest_step = report.longest_step.max(begun.elapsed());
        }
    }

    /// Kills the router and starts another, which has to take over the workers as they run.
    async fn replace_router(&mut self) -> Result<(), RunError> {
        self.before = self.before + self.router.done().await?;
        let workers = self.fleet.mains()?;
        self.router.kill().await?;
        self.router = Router::start(&self.plan.router, &self.fleet, self.plan.migrate).await?;
        self.router.reach(self.split, false).await?;
        if self.fleet.mains()? != workers {
            return Err(RunError::WorkersRestarted);
        }
        Ok(())
    }

    fn load(&mut self) -> Running {
        let stop = CancellationToken::new();
        let load = Load {
            url: self.router.url.clone(),
            endpoints: Endpoints::Mixed,
            requests: u64::MAX,
            concurrency: self.plan.concurrency,
            streaming: Streaming::EverySecond,
            seed: self.dice.u64(..),
            stop: stop.clone(),
            ..Load::default()
        };
        let mut task = JoinSet::new();
        task.spawn(load::run(load));
        Running { stop, task }
    }

    async fn end(self, report: &mut Report) -> Result<(), RunError> {
        self.router.stop().await?;
        report.orphans = self.fleet.processes()?.len();
        report.ports_left = self.fleet.bound_ports();
        Ok(())
    }
}

/// A load that runs until it is ended.
struct Running {
    stop: CancellationToken,
    task: JoinSet<Result<load::Report, LoadError>>,
}

impl Running {
    async fn end(mut self) -> Result<load::Report, RunError> {
        self.stop.cancel();
        let ended = self.task.join_next().await.ok_or(RunError::LoadDied)?;
        ended
            .map_err(|_| RunError::LoadDied)?
            .map_err(RunError::Load)
    }
}
