//! Changing what a worker is: how the role of one that has nothing in flight becomes the other.

pub mod in_place;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use policies::worker::{Role, WorkerId};

/// How the role of a worker can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// The worker changes it itself, when asked.
    InPlace,
    /// Its process is ended, and started in the other role.
    Restart,
}

impl Means {
    pub const ALL: [Self; 2] = [Self::InPlace, Self::Restart];

    /// How long a worker is away, before that was measured. SGLang 0.5.23 on an H200 took 0.1 to 1.9 s for a switch in
    /// place and 43 to 90 s for a restart of a small model; a large one takes longer, which the first restart shows.
    pub const fn usual(self) -> Duration {
        match self {
            Self::InPlace => Duration::from_secs(2),
            Self::Restart => Duration::from_secs(90),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InPlace => "in_place",
            Self::Restart => "restart",
        }
    }
}

/// Why a worker's process was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartError(pub String);

impl fmt::Display for RestartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RestartError {}

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who owns the processes of workers.
pub trait Processes: fmt::Debug + Send + Sync {
    /// Whether the worker's process is one of them.
    fn owns(&self, worker: WorkerId) -> bool;

    /// How the role of a worker that it owns is to be changed.
    fn means(&self, worker: WorkerId) -> Means;

    /// Ends the process and starts it in `role`. It runs then; when it is ready, its answers say.
    fn restart(&self, worker: WorkerId, role: Role) -> Later<'_, Result<(), RestartError>>;

    /// The worker changed its role itself: should it die, it is to be started in the new one.
    fn note_role(&self, worker: WorkerId, role: Role) -> Later<'_, ()>;
}
