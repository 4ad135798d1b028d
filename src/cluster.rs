//! The cluster file: the machine's GPUs as workers, and how each is started.
//!
//! ```toml
//! [defaults]
//! model = "/models/llama-3.1-8b"
//! transfer_backend = "nixl"
//!
//! [[worker]]
//! name = "pair-0"
//! gpus = [0, 1]
//! port = 30000
//! bootstrap_port = 9000
//! role = "prefill"
//! ```
//! What a worker leaves out it takes from `[defaults]`; lists of arguments and the environment add up. A file is read
//! (`file`), put together (`resolve`) and checked as a whole (`check`) before anything is started: whatever can be
//! known to fail later is an error now, and the error says what to write instead.

mod check;
mod command;
mod error;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod resolve;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use policies::worker::Role;
use xxhash_rust::xxh3::xxh3_64;

use self::command::Launch;
pub use self::command::LaunchCommand;
pub use self::error::{ClusterError, Problem};
use crate::workers::{WorkerSpec, WorkerUrl};

/// The label of a worker that holds its name in the cluster file.
const NAME_LABEL: &str = "name";

/// A cluster file that was found to be good.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    path: PathBuf,
    workers: Vec<ClusterWorker>,
}

/// How the role of a worker is changed, and whose its process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LauncherKind {
    /// Its process is the router's, and is started anew in the other role.
    Process,
    /// Its process is the router's, and changes its role while it runs.
    InPlace,
    /// Somebody else starts it.
    None,
}

/// One worker of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterWorker {
    pub name: String,
    pub gpus: Vec<u32>,
    pub url: WorkerUrl,
    /// Of a worker that the router starts always known.
    pub bootstrap_port: Option<u16>,
    /// The role that it starts in.
    pub role: Role,
    pub launcher: LauncherKind,
    /// Whether `/pd_role_switch` can change its role, by its transfer backend, its flags and the spelling of its host.
    pub switches_in_place: bool,
    launch: Launch,
}

impl ClusterWorker {
    /// Whether the router starts its process.
    pub fn is_launched(&self) -> bool {
        match self.launcher {
            LauncherKind::Process | LauncherKind::InPlace => true,
            LauncherKind::None => false,
        }
    }

    /// How it is registered.
    pub fn spec(&self) -> WorkerSpec {
        let mut spec = WorkerSpec::new(self.url.clone(), self.role);
        spec.bootstrap_port = self.bootstrap_port;
        spec.api_key = self.launch.api_key().map(str::to_owned);
        spec.labels.insert(NAME_LABEL.to_owned(), self.name.clone());
        spec
    }

    /// The ports that its process listens on.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.launch.port.into_iter().chain(self.bootstrap_port)
    }

    /// The host that it listens on.
    pub fn host(&self) -> &str {
        &self.launch.host
    }
}

impl Cluster {
    pub fn load(path: &Path) -> Result<Self, ClusterError> {
        let failed = |problem| ClusterError {
            path: path.to_owned(),
            problem,
        };
        let text = fs::read_to_string(path)
            .map_err(|cause| failed(Problem::Unreadable(cause.to_string())))?;
        let workers = Self::read(&text).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            workers,
        })
    }

    fn read(text: &str) -> Result<Vec<ClusterWorker>, Problem> {
        let file = file::parse(text)?;
        let shares_gpus = file.share_gpus;
        let workers = resolve::workers(file)?;
        check::fleet(&workers, shares_gpus)?;
        Ok(workers)
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn workers(&self) -> &[ClusterWorker] {
        &self.workers
    }

    /// How to register the workers, in the roles that the file starts them in.
    pub fn specs(&self) -> Vec<WorkerSpec> {
        self.workers.iter().map(ClusterWorker::spec).collect()
    }

    /// The command that starts `worker` in `role`.
    pub fn command(&self, worker: &ClusterWorker, role: Role) -> LaunchCommand {
        worker.launch.command(worker, role)
    }

    /// Another text for other command lines of `worker`, in whichever role.
    pub fn fingerprint(&self, worker: &ClusterWorker) -> String {
        let lines = [Role::Prefill, Role::Decode].map(|role| self.command(worker, role));
        format!("{:016x}", xxh3_64(format!("{lines:?}").as_bytes()))
    }

    /// Every command line of the workers that the router starts, in both roles, to be read or copied into a shell.
    pub fn launch_commands(&self) -> String {
        let mut text = String::new();
        for worker in self.workers.iter().filter(|worker| worker.is_launched()) {
            for role in [Role::Prefill, Role::Decode] {
                let at_start = if role == worker.role {
                    ", at start"
                } else {
                    ""
                };
                let command = self.command(worker, role);
                // Writing to a string can't fail.
                let _ = writeln!(text, "# {} as {role}{at_start}\n{command}", worker.name);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
