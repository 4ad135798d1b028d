//! A program under measurement, as a child process: started on free ports, awaited, measured, and ended.
//!
//! It knows nothing about the program but its command line and the address that answers once it serves, so that any
//! router can be measured in the same way. A child never outlives its [`Child`].

mod cpu;
mod memory;
mod ports;

pub use cpu::CpuTimeError;
pub use memory::{Memory, MemoryError};
pub use ports::{free_ports, free_range};

use crate::get::Getter;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsString,
    fmt, io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{process, time};

/// How long a program may take to serve. The router asks its workers first, which takes a second or two.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Between two questions whether it serves.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How long it may take to end when it is told to, before it is killed.
const END_WITHIN: Duration = Duration::from_secs(20);

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// URL that answers a GET with 200 once the program serves.
    pub ready: String,
}

/// A program that serves. It is killed when this is dropped.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    pid: Pid,
}

/// What went wrong with a child.
#[derive(Debug)]
pub enum ChildError {
    NotStarted { program: PathBuf, error: io::Error },
    EndedEarly(ExitStatus),
    NeverReady { url: String, within: Duration },
    NotTold(rustix::io::Errno),
    NotAwaited(io::Error),
    HadToBeKilled,
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { program, error } => {
                write!(f, "cannot start {}: {error}", program.display())
            }
            Self::EndedEarly(status) => write!(f, "the program ended before it served: {status}"),
            Self::NeverReady { url, within } => {
                write!(f, "{url} was not ready within {within:?}")
            }
            Self::NotTold(error) => write!(f, "cannot send it a signal: {error}"),
            Self::NotAwaited(error) => write!(f, "cannot wait for the program: {error}"),
            Self::HadToBeKilled => write!(
                f,
                "the program did not end within {END_WITHIN:?} of SIGTERM"
            ),
        }
    }
}

impl std::error::Error for ChildError {}

impl Child {
    /// Starts a program and waits until it serves. Its log (standard error) goes where ours goes; what it prints for a
    /// person (standard output) is left out, since results are printed there.
    pub async fn start(launch: &Launch) -> Result<Self, ChildError> {
        let mut child = Self::spawn(launch)?;
        child.serves(answers(&launch.ready)).await?;
        Ok(child)
    }

    /// Waits for the sign that it serves, or for its end.
    pub async fn serves(
        &mut self,
        sign: impl Future<Output = Result<(), ChildError>>,
    ) -> Result<(), ChildError> {
        tokio::select! {
            // An end is noticed first: another server may answer on a port that this one failed to get.
            biased;
            ended = self.process.wait() => {
                Err(ChildError::EndedEarly(ended.map_err(ChildError::NotAwaited)?))
            }
            sign = sign => sign,
        }
    }

    /// Starts a program without waiting for it. It inherits what the calling thread has: its cores, for one.
    pub fn spawn(launch: &Launch) -> Result<Self, ChildError> {
        let not_started = |error| ChildError::NotStarted {
            program: launch.program.clone(),
            error,
        };
        let process = process::Command::new(&launch.program)
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(not_started)?;
        let id = process.id().expect("a child has an id until it is awaited");
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        Ok(Self {
            process,
            pid: pid.expect("process ids are positive"),
        })
    }

    /// The processor time that it has used, in all its threads (Linux only).
    pub fn cpu_time(&self) -> Result<Duration, CpuTimeError> {
        cpu::of(self.pid)
    }

    /// The memory that it has now, and the most that it had (Linux only).
    pub fn memory(&self) -> Result<Memory, MemoryError> {
        memory::of(self.pid)
    }

    /// Its file descriptors (Linux only).
    pub fn open_files(&self) -> io::Result<u64> {
        let folder = format!("/proc/{}/fd", self.pid.as_raw_nonzero());
        Ok(std::fs::read_dir(folder)?.count() as u64)
    }

    /// Ends it at once, as a crash does.
    pub async fn kill(&mut self) -> Result<(), ChildError> {
        self.process.kill().await.map_err(ChildError::NotAwaited)
    }

    /// Stops it where it is, without its knowing: it answers nothing, and the kernel still accepts connections for it.
    pub fn freeze(&self) -> Result<(), ChildError> {
        kill_process(self.pid, Signal::STOP).map_err(ChildError::NotTold)
    }

    /// Tells it to end, and waits for it.
    pub async fn stop(mut self) -> Result<ExitStatus, ChildError> {
        kill_process(self.pid, Signal::TERM).map_err(ChildError::NotTold)?;
        time::timeout(END_WITHIN, self.process.wait())
            .await
            .map_err(|_| ChildError::HadToBeKilled)?
            .map_err(ChildError::NotAwaited)
    }
}

pub(crate) async fn answers(url: &str) -> Result<(), ChildError> {
    let getter = Getter::new();
    let mut ticks = time::interval(ASK_EVERY);
    let asking = async {
        loop {
            ticks.tick().await;
            if getter.get(url).await.is_ok() {
                return;
            }
        }
    };
    time::timeout(READY_WITHIN, asking)
        .await
        .map_err(|_| ChildError::NeverReady {
            url: url.into(),
            within: READY_WITHIN,
        })
}
