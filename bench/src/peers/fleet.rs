//! The workers behind the contenders: one process that stands for all of them, each on a port of its own.

use crate::child::{self, Child, ChildError, Launch};
use std::{fmt, io, path::Path, time::Duration};

/// Which workers a scenario wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    pub prefill: u16,
    pub decode: u16,
    pub between_tokens: Duration,
    /// Tokens after which a stream only lives on.
    pub silent_after: Option<u32>,
}

impl Fleet {
    /// Half of them prefill, half of them decode, as fast as they can.
    pub const fn of(workers: u16) -> Self {
        Self {
            prefill: workers / 2,
            decode: workers - workers / 2,
            between_tokens: Duration::ZERO,
            silent_after: None,
        }
    }
}

/// Where they are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// HTTP and bootstrap port of each.
    pub prefill: Vec<(u16, u16)>,
    pub decode: Vec<u16>,
}

/// Workers that serve.
pub struct Workers {
    process: Child,
    pub ports: Ports,
}

/// Why there are no workers.
#[derive(Debug)]
pub enum WorkersError {
    Ports(io::Error),
    Child(ChildError),
}

impl fmt::Display for WorkersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(error) => write!(f, "no free ports for the workers: {error}"),
            Self::Child(error) => write!(f, "the workers: {error}"),
        }
    }
}

impl std::error::Error for WorkersError {}

impl Workers {
    /// Starts them by this bench's own program.
    pub async fn start(bench: &Path, fleet: &Fleet) -> Result<Self, WorkersError> {
        let workers = fleet.prefill + fleet.decode;
        let first = child::free_range(workers + fleet.prefill).map_err(WorkersError::Ports)?;
        let mut flags = vec![
            "simulated-fleet".to_owned(),
            "--instant".into(),
            "--zero-delay".into(),
            format!("--prefill={}", fleet.prefill),
            format!("--decode={}", fleet.decode),
            format!("--first-port={first}"),
            format!("--first-bootstrap-port={}", first + workers),
            format!("--instant-pace-ms={}", fleet.between_tokens.as_millis()),
        ];
        flags.extend(
            fleet
                .silent_after
                .map(|tokens| format!("--instant-silent-after={tokens}")),
        );
        let launch = Launch {
            program: bench.into(),
            arguments: flags.into_iter().map(Into::into).collect(),
            ready: format!("http://127.0.0.1:{}/health", first + workers - 1),
        };
        let process = Child::start(&launch).await.map_err(WorkersError::Child)?;
        let prefill = (0..fleet.prefill).map(|place| (first + place, first + workers + place));
        let ports = Ports {
            prefill: prefill.collect(),
            decode: (first + fleet.prefill..first + workers).collect(),
        };
        Ok(Self { process, ports })
    }

    pub async fn stop(mut self) -> Result<(), WorkersError> {
        self.process.kill().await.map_err(WorkersError::Child)
    }
}
