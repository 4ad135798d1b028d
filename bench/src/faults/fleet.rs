//! Two prefill and two decode workers, each a process of its own, so that one can die without the others.

use super::{case::Leg, cut::Cut};
use crate::{
    child::{self, Child, ChildError, Launch},
    get::{GetError, Getter},
    peers::fleet::Ports,
};
use serde::Deserialize;
use simulated_worker::{Fault, Rule};
use std::{fmt, io, path::Path};

/// Workers of each role: one has the fault and the other could serve.
const OF_EACH: u16 = 2;

/// Fleets of several routers look for free ports at the same time.
const TRIES: u32 = 4;

/// The model's times are multiplied by this: tokens come every 10 ms or so, slow enough to strike between them.
const TIME_SCALE: &str = "2";

/// The workers of one router.
pub struct Fleet {
    prefill: Vec<Worker>,
    decode: Vec<Worker>,
    getter: Getter,
    /// Links that are cut as long as this lives.
    cut: Vec<Cut>,
}

struct Worker {
    process: Child,
    port: u16,
    bootstrap_port: u16,
}

/// Why the workers are not as they are to be.
#[derive(Debug)]
pub enum FleetError {
    Ports(io::Error),
    Child(ChildError),
    Faults(GetError),
    Garbled(serde_json::Error),
    Cut(io::Error),
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(error) => write!(f, "no free ports for the workers: {error}"),
            Self::Child(error) => write!(f, "a worker: {error}"),
            Self::Faults(error) => write!(f, "a worker does not answer: {error}"),
            Self::Garbled(error) => write!(f, "a worker's answer is not its form: {error}"),
            Self::Cut(error) => write!(f, "a worker's link can't be cut: {error}"),
        }
    }
}

impl std::error::Error for FleetError {}

/// The part of `/v1/loads` that says who is there.
#[derive(Deserialize)]
struct Loads {
    loads: [Load; 1],
}

#[derive(Deserialize)]
struct Load {
    num_running_reqs: u64,
    num_waiting_reqs: u64,
}

impl Fleet {
    /// Starts them by this bench's own program; anew where another fleet took one of their ports in between.
    pub async fn start(bench: &Path) -> Result<Self, FleetError> {
        for _ in 1..TRIES {
            match Self::try_to_start(bench).await {
                Err(FleetError::Child(ChildError::EndedEarly(_))) => {}
                started => return started,
            }
        }
        Self::try_to_start(bench).await
    }

    async fn try_to_start(bench: &Path) -> Result<Self, FleetError> {
        let first = child::free_range(4 * OF_EACH).map_err(FleetError::Ports)?;
        let mut all = Vec::new();
        for place in 0..2 * OF_EACH {
            let leg = if place < OF_EACH {
                Leg::Prefill
            } else {
                Leg::Decode
            };
            all.push(Worker::spawn(
                bench,
                leg,
                first + place,
                first + 2 * OF_EACH + place,
            )?);
        }
        for worker in &mut all {
            worker.serves().await?;
        }
        let decode = all.split_off(usize::from(OF_EACH));
        Ok(Self {
            prefill: all,
            decode,
            getter: Getter::new(),
            cut: Vec::new(),
        })
    }

    pub fn ports(&self) -> Ports {
        let prefill = self.prefill.iter();
        Ports {
            prefill: prefill
                .map(|worker| (worker.port, worker.bootstrap_port))
                .collect(),
            decode: self.decode.iter().map(|worker| worker.port).collect(),
        }
    }

    fn of(&self, leg: Leg) -> &[Worker] {
        match leg {
            Leg::Prefill => &self.prefill,
            Leg::Decode => &self.decode,
        }
    }

    fn first(&mut self, leg: Leg) -> &mut Worker {
        let workers = match leg {
            Leg::Prefill => &mut self.prefill,
            Leg::Decode => &mut self.decode,
        };
        workers.first_mut().expect("two of each were started")
    }

    /// The first worker of a role does wrong from now on.
    pub async fn fault_first(&self, leg: Leg, fault: Fault) -> Result<(), FleetError> {
        for worker in self.of(leg).iter().take(1) {
            self.set(worker, fault.clone()).await?;
        }
        Ok(())
    }

    /// Every worker of a role behaves so from now on.
    pub async fn fault_all(&self, leg: Leg, fault: Fault) -> Result<(), FleetError> {
        for worker in self.of(leg) {
            self.set(worker, fault.clone()).await?;
        }
        Ok(())
    }

    async fn set(&self, worker: &Worker, fault: Fault) -> Result<(), FleetError> {
        let url = format!("http://127.0.0.1:{}/simulated/faults", worker.port);
        let rules = serde_json::to_string(&[Rule::from(fault)]).map_err(FleetError::Garbled)?;
        let answered = self.getter.post_json(&url, rules).await;
        answered.map(drop).map_err(FleetError::Faults)
    }

    /// Kills the first worker of a role; answers its port.
    pub async fn kill_first(&mut self, leg: Leg) -> Result<u16, FleetError> {
        let worker = self.first(leg);
        worker.process.kill().await.map_err(FleetError::Child)?;
        Ok(worker.port)
    }

    pub fn freeze_first(&mut self, leg: Leg) -> Result<(), FleetError> {
        self.first(leg).process.freeze().map_err(FleetError::Child)
    }

    /// Nothing passes any more between the first worker of a role and everybody else.
    pub fn cut_first(&mut self, leg: Leg) -> Result<(), FleetError> {
        let worker = self.first(leg);
        let ports = [worker.port, worker.bootstrap_port];
        self.cut.push(Cut::ports(&ports).map_err(FleetError::Cut)?);
        Ok(())
    }

    /// Requests that the workers of a role have.
    pub async fn in_flight(&self, leg: Leg) -> Result<u64, FleetError> {
        let mut requests = 0;
        for worker in self.of(leg) {
            let url = format!("http://127.0.0.1:{}/v1/loads", worker.port);
            let text = self.getter.get(&url).await.map_err(FleetError::Faults)?;
            let Loads { loads: [load] } =
                serde_json::from_str(&text).map_err(FleetError::Garbled)?;
            requests += load.num_running_reqs + load.num_waiting_reqs;
        }
        Ok(requests)
    }
}

impl Worker {
    fn spawn(bench: &Path, leg: Leg, port: u16, bootstrap_port: u16) -> Result<Self, FleetError> {
        let launch = Launch {
            program: bench.into(),
            arguments: [
                "simulated-worker".to_owned(),
                format!("--role={leg}"),
                format!("--port={port}"),
                format!("--bootstrap-port={bootstrap_port}"),
                format!("--time-scale={TIME_SCALE}"),
            ]
            .map(Into::into)
            .into(),
            ready: String::new(),
        };
        Ok(Self {
            process: Child::spawn(&launch).map_err(FleetError::Child)?,
            port,
            bootstrap_port,
        })
    }

    async fn serves(&mut self) -> Result<(), FleetError> {
        // Not /health, which generates a token and takes its second for it.
        let url = format!("http://127.0.0.1:{}/ready", self.port);
        let answers = child::answers(&url);
        self.process
            .serves(answers)
            .await
            .map_err(FleetError::Child)
    }
}
