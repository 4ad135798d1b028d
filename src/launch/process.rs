//! Workers as processes of this machine: started, watched, started anew after a crash or in another role.
//!
//! ```text
//! ProcessLauncher ──orders──► Keeper (one a worker) ──► process group, log file
//!                                │
//!                                └──► state file ──► the next router
//! ```
//! A worker must survive its router: a crash or an upgrade of the router costs no KV cache and no minute of loading. So a
//! worker is a process group of its own, writes its log itself and is written down in a file (`state`), in which the
//! next router finds it and takes it over. Since a worker may so be somebody else's child, nothing here relies on being
//! its parent: ends are seen and signals are sent through pidfds, for which a number that was given to another program
//! does not exist (`running`, `group`).
//!
//! `keeper` is the life of one worker, `supervisor` puts them together.

mod crashes;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod keeper;
mod log;
mod proc;
mod running;
mod state;
mod supervisor;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use policies::worker::{Role, WorkerId};
use tokio::sync::{mpsc, oneshot};

use super::{Later, Means, Processes, RestartError};

pub use self::crashes::Patience;
pub use self::error::{LaunchError, StartError};
pub use self::supervisor::{Supervisor, Surroundings};

/// Orders that wait for one worker. Whoever gives one waits for its end, so more than one is rare.
const ORDERS: usize = 8;

/// How processes are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessSettings {
    /// Where the state file, its lock and the logs are. Of one router alone.
    pub state_dir: PathBuf,
    /// How long a worker may take to end before it is killed.
    pub stop_timeout: Duration,
    /// Workers end with the router.
    pub stop_on_exit: bool,
    pub patience: Patience,
    /// A log file that is larger begins anew.
    pub log_bytes: u64,
}

impl ProcessSettings {
    /// Enough for days of SGLang's lines at its default level, and five of them (`log`) don't fill a disk.
    pub const LOG_BYTES: u64 = 64 * 1024 * 1024;
}

/// What a keeper is told.
#[derive(Debug)]
enum Order {
    Restart {
        role: Role,
        done: oneshot::Sender<Result<(), LaunchError>>,
    },
    NoteRole {
        role: Role,
        done: oneshot::Sender<()>,
    },
}

/// Gives orders about the workers whose processes are the router's.
#[derive(Debug, Clone)]
pub struct ProcessLauncher {
    keepers: Arc<HashMap<WorkerId, (Means, mpsc::Sender<Order>)>>,
}

impl ProcessLauncher {
    /// Ends the worker's process and starts it in `role`. Returns when the new process runs; whether it is ready is for
    /// others to find out. The caller owns the worker's lifecycle meanwhile: nothing is applied to it.
    pub async fn restart(&self, worker: WorkerId, role: Role) -> Result<(), LaunchError> {
        let (done, ended) = oneshot::channel();
        self.order(worker, Order::Restart { role, done }).await?;
        ended.await.unwrap_or(Err(LaunchError::Ended))
    }

    /// The worker changed its role in place: the state file says so from now on.
    pub async fn note_role(&self, worker: WorkerId, role: Role) {
        let (done, ended) = oneshot::channel();
        if self
            .order(worker, Order::NoteRole { role, done })
            .await
            .is_ok()
        {
            // A keeper that ended has nothing to note.
            let _ = ended.await;
        }
    }

    /// Whether the worker's process is the router's.
    pub fn launches(&self, worker: WorkerId) -> bool {
        self.keepers.contains_key(&worker)
    }

    async fn order(&self, worker: WorkerId, order: Order) -> Result<(), LaunchError> {
        let (_, keeper) = self.keepers.get(&worker).ok_or(LaunchError::NotOurs)?;
        keeper.send(order).await.map_err(|_| LaunchError::Ended)
    }
}

impl Processes for ProcessLauncher {
    fn owns(&self, worker: WorkerId) -> bool {
        self.launches(worker)
    }

    fn means(&self, worker: WorkerId) -> Means {
        self.keepers
            .get(&worker)
            .map_or(Means::Restart, |(means, _)| *means)
    }

    fn restart(&self, worker: WorkerId, role: Role) -> Later<'_, Result<(), RestartError>> {
        Box::pin(async move {
            let restarted = self.restart(worker, role).await;
            restarted.map_err(|error| RestartError(error.to_string()))
        })
    }

    fn note_role(&self, worker: WorkerId, role: Role) -> Later<'_, ()> {
        Box::pin(self.note_role(worker, role))
    }
}
