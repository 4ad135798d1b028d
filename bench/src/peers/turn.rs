//! One contender, freshly started, under one scenario's load.

use super::{
    contender::{self, Certificate, Contender, Programs, Setup},
    cores::Cores,
    fleet::Ports,
    load::{Counted, Held, Load, Running, Tally, Target},
    ready,
    results::{Figures, Held as HeldFigures},
    scenario::{Scenario, Unit, Work},
};
use crate::child::{self, Child, ChildError, CpuTimeError, Launch, MemoryError};
use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// What every turn of a run has in common.
pub struct Stage<'a> {
    pub programs: &'a Programs,
    pub cores: Option<&'a Cores>,
    pub certificate: Option<&'a Certificate>,
    pub folder: &'a Path,
    pub warm_up: Duration,
    pub window: Duration,
    pub seed: u64,
}

/// Answers under way when a load is stopped come within this, paced streams of five seconds included.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a contender is watched before there is a load: its looks at its workers come once a second.
const IDLE: Duration = Duration::from_secs(1);

/// What opening streams leaves behind has settled by then.
const SETTLES: Duration = Duration::from_secs(1);

/// Requests that a router answers before its memory is read for the first time: what it sets up once is not a stream's.
const FIRST_REQUESTS: Duration = Duration::from_millis(500);

/// Why a turn has no figures.
#[derive(Debug)]
pub enum TurnError {
    NoCertificate,
    Ports(io::Error),
    Files(io::Error),
    Cores(rustix::io::Errno),
    Child(ChildError),
    CpuTime(CpuTimeError),
    Memory(MemoryError),
}

impl fmt::Display for TurnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("there is no certificate to speak TLS with"),
            Self::Ports(error) => write!(f, "no free ports: {error}"),
            Self::Files(error) => write!(f, "cannot write its configuration: {error}"),
            Self::Cores(error) => write!(f, "cannot choose its cores: {error}"),
            Self::Child(error) => error.fmt(f),
            Self::CpuTime(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TurnError {}

/// A contender that serves.
struct Contestant {
    /// None where there is nobody between load and workers.
    process: Option<Child>,
    targets: Vec<Arc<Target>>,
}

impl Stage<'_> {
    /// Starts a contender, measures it and ends it.
    pub async fn turn(
        &self,
        scenario: &Scenario,
        workers: &Ports,
        contender: Contender,
    ) -> Result<Figures, TurnError> {
        let mut contestant = self.enter(scenario, workers, contender).await?;
        let idle = contestant.busy_for(IDLE).await?;
        let figures = match &scenario.work {
            Work::Requests(load) => self.under_load(&contestant, load, Unit::Request).await,
            Work::Events(load) => self.under_load(&contestant, load, Unit::Event).await,
            Work::Held { streams } => self.holding(&contestant, *streams).await,
        };
        if let Some(process) = &mut contestant.process {
            // How it ends isn't measured, and some take long over it.
            process.kill().await.map_err(TurnError::Child)?;
        }
        Ok(Figures { idle, ..figures? })
    }

    async fn enter(
        &self,
        scenario: &Scenario,
        workers: &Ports,
        contender: Contender,
    ) -> Result<Contestant, TurnError> {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let plain = |port| {
            Arc::new(Target {
                address: local(port),
                tls: None,
            })
        };
        let Some(program) = self.programs.paths.get(&contender) else {
            return Ok(Contestant {
                process: None,
                targets: workers.decode.iter().map(|&port| plain(port)).collect(),
            });
        };
        let certificate = match (scenario.tls, self.certificate) {
            (false, _) => None,
            (true, Some(certificate)) => Some(certificate),
            (true, None) => return Err(TurnError::NoCertificate),
        };
        let [port, metrics_port] = child::free_ports().map_err(TurnError::Ports)?;
        let setup = Setup {
            workers,
            policy: scenario.policy,
            port,
            metrics_port,
            certificate,
            folder: self.folder,
        };
        let launch = Launch {
            program: program.clone(),
            arguments: contender::arguments(contender, &setup).map_err(TurnError::Files)?,
            ready: String::new(),
        };
        let spawned = match self.cores {
            Some(cores) => cores
                .as_router(|| Child::spawn(&launch))
                .map_err(TurnError::Cores)?,
            None => Child::spawn(&launch),
        };
        let mut process = spawned.map_err(TurnError::Child)?;
        let target = Arc::new(Target {
            address: local(port),
            tls: certificate.map(|certificate| Arc::clone(&certificate.client)),
        });
        let sign = ready::wait(&target, contender.registers(workers));
        process.serves(sign).await.map_err(TurnError::Child)?;
        Ok(Contestant {
            process: Some(process),
            targets: vec![target],
        })
    }

    async fn under_load(
        &self,
        contestant: &Contestant,
        load: &Load,
        unit: Unit,
    ) -> Result<Figures, TurnError> {
        let running = Running::start(load, &contestant.targets, self.seed);
        sleep(self.warm_up.max(load.spread)).await;
        let before = contestant.cpu_time()?;
        let began = Instant::now();
        running.open_window();
        sleep(self.window).await;
        let counted = running.close_window();
        let after = contestant.cpu_time()?;
        let seconds = began.elapsed().as_secs_f64();
        let tally = running.stop(PATIENCE).await;
        Ok(Figures {
            seconds,
            cpu_seconds: before
                .zip(after)
                .map(|(before, after)| after.saturating_sub(before).as_secs_f64()),
            peak_kib: contestant.peak_kib()?,
            ..figures(unit, counted, &tally)
        })
    }

    async fn holding(&self, contestant: &Contestant, streams: u32) -> Result<Figures, TurnError> {
        // A silent fleet ends no stream, so the first requests are not streamed.
        let first = Load {
            clients: 16,
            prompts: super::load::Prompts::Small,
            tokens: 1,
            streamed: false,
            spread: Duration::ZERO,
        };
        let running = Running::start(&first, &contestant.targets, self.seed);
        sleep(FIRST_REQUESTS).await;
        running.stop(PATIENCE).await;
        sleep(SETTLES).await;
        let before_kib = contestant.now_kib()?;
        let began = Instant::now();
        let before = contestant.cpu_time()?;
        let held = Held::open(streams, &contestant.targets, self.seed).await;
        let after = contestant.cpu_time()?;
        let seconds = began.elapsed().as_secs_f64();
        sleep(SETTLES).await;
        let counted = Counted {
            requests: held.len() as u64,
            events: 0,
        };
        Ok(Figures {
            seconds,
            cpu_seconds: before
                .zip(after)
                .map(|(before, after)| after.saturating_sub(before).as_secs_f64()),
            peak_kib: contestant.peak_kib()?,
            held: before_kib
                .zip(contestant.now_kib()?)
                .map(|(before_kib, after_kib)| HeldFigures {
                    streams: counted.requests,
                    before_kib,
                    after_kib,
                }),
            ..figures(Unit::Stream, counted, &held.failures)
        })
    }
}

impl Contestant {
    fn cpu_time(&self) -> Result<Option<Duration>, TurnError> {
        let time = self.process.as_ref().map(Child::cpu_time);
        time.transpose().map_err(TurnError::CpuTime)
    }

    /// The part of a core that it uses meanwhile.
    async fn busy_for(&self, watched: Duration) -> Result<Option<f64>, TurnError> {
        if self.process.is_none() {
            return Ok(None);
        }
        let (before, began) = (self.cpu_time()?, Instant::now());
        sleep(watched).await;
        let (after, took) = (self.cpu_time()?, began.elapsed());
        let used = before.zip(after);
        Ok(used.map(|(before, after)| after.saturating_sub(before).div_duration_f64(took)))
    }

    fn now_kib(&self) -> Result<Option<u64>, TurnError> {
        Ok(self.memory()?.map(|memory| memory.now_kib))
    }

    fn peak_kib(&self) -> Result<Option<u64>, TurnError> {
        Ok(self.memory()?.map(|memory| memory.peak_kib))
    }

    fn memory(&self) -> Result<Option<child::Memory>, TurnError> {
        let memory = self.process.as_ref().map(Child::memory);
        memory.transpose().map_err(TurnError::Memory)
    }
}

fn figures(unit: Unit, counted: Counted, tally: &Tally) -> Figures {
    let failures = tally.failures.iter();
    Figures {
        units: match unit {
            Unit::Request | Unit::Stream => counted.requests,
            Unit::Event => counted.events,
        },
        seconds: 0.0,
        cpu_seconds: None,
        idle: None,
        peak_kib: None,
        held: None,
        right: tally.right,
        failures: failures
            .map(|(failure, count)| (failure.to_string(), *count))
            .collect(),
        whole: tally.whole_points(),
        first_token: tally.first_token_points(),
        between_tokens: tally.between_tokens_points(),
        on_the_way: tally.on_the_way_points(),
        on_the_way_p99_of_a_slice: tally.on_the_way_p99_of_a_slice(),
    }
}
