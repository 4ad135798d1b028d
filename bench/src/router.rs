//! A router under measurement, in front of simulated workers.

use crate::{
    child::{self, Child, ChildError, CpuTimeError, Launch},
    exposition::{Exposition, ParseError},
    fleet::{self, Served},
    get::{GetError, Getter},
};
use std::{fmt, io, path::Path, time::Duration};

/// An adaptive-router process that serves.
pub struct Router {
    child: Child,
    getter: Getter,
    url: String,
}

/// Why a router can't be measured.
#[derive(Debug)]
pub enum RouterError {
    Ports(io::Error),
    Child(ChildError),
    CpuTime(CpuTimeError),
    Metrics(GetError),
    Garbled(ParseError),
}

impl fmt::Display for RouterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(error) => write!(f, "no free ports for the router: {error}"),
            Self::Child(error) => write!(f, "the router: {error}"),
            Self::CpuTime(error) => error.fmt(f),
            Self::Metrics(error) => write!(f, "the router's metrics: {error}"),
            Self::Garbled(error) => write!(f, "the router's metrics: {error}"),
        }
    }
}

impl std::error::Error for RouterError {}

impl Router {
    /// Starts a router in front of a fleet; `flags` come on top of those that name the workers and the ports.
    pub async fn start(
        program: &Path,
        fleet: &Served,
        flags: &[&str],
    ) -> Result<Self, RouterError> {
        let [port, metrics_port] = child::free_ports().map_err(RouterError::Ports)?;
        let url = format!("http://127.0.0.1:{port}");
        let mut arguments = fleet::worker_flags(fleet);
        arguments.extend([
            "--host=127.0.0.1".to_owned(),
            format!("--port={port}"),
            format!("--prometheus-port={metrics_port}"),
            "--policy=round_robin".to_owned(),
            "--worker-startup-check-interval=1".to_owned(),
            "--log-level=warn".to_owned(),
        ]);
        arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
        let launch = Launch {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            ready: format!("{url}/readiness"),
        };
        Ok(Self {
            child: Child::start(&launch).await.map_err(RouterError::Child)?,
            getter: Getter::new(),
            url,
        })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it says about itself now.
    pub async fn metrics(&self) -> Result<Exposition, RouterError> {
        let url = format!("{}/metrics", self.url);
        let text = self.getter.get(&url).await.map_err(RouterError::Metrics)?;
        Exposition::parse(&text).map_err(RouterError::Garbled)
    }

    pub fn cpu_time(&self) -> Result<Duration, RouterError> {
        self.child.cpu_time().map_err(RouterError::CpuTime)
    }

    pub async fn stop(self) -> Result<(), RouterError> {
        self.child
            .stop()
            .await
            .map(drop)
            .map_err(RouterError::Child)
    }
}
