//! What can go wrong with processes.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::workers::AddError;

/// Why a worker's process was not started.
#[derive(Debug)]
pub enum LaunchError {
    /// The worker's process belongs to somebody else.
    NotOurs,
    /// The worker was removed, or the router stops.
    Ended,
    PortTaken {
        port: u16,
        waited: Duration,
    },
    NotStarted {
        program: String,
        cause: io::Error,
    },
    Log {
        path: PathBuf,
        cause: io::Error,
    },
    /// Processes that don't end when they are killed.
    Remains {
        group: i32,
        waited: Duration,
    },
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("the worker's process was not started by this router"),
            Self::Ended => f.write_str("the worker was removed, or the router stops"),
            Self::PortTaken { port, waited } => write!(
                f,
                "port {port} is still taken after {waited:?}, by another program: end it, or give the worker another port"
            ),
            Self::NotStarted { program, cause } => write!(
                f,
                "{program} can't be started: {cause}; name a program that is there with the key command"
            ),
            Self::Log { path, cause } => {
                write!(f, "the log {} can't be written: {cause}", path.display())
            }
            Self::Remains { group, waited } => write!(
                f,
                "processes of group {group} are still there {waited:?} after they were killed: the kernel or the GPU's driver \
                 holds them"
            ),
        }
    }
}

impl std::error::Error for LaunchError {}

/// Why no process is supervised at all.
#[derive(Debug)]
pub enum StartError {
    StateDir { path: PathBuf, cause: io::Error },
    Locked { path: PathBuf },
    StateUnreadable { path: PathBuf, cause: String },
    Worker(AddError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateDir { path, cause } => write!(
                f,
                "the state of the workers can't be kept in {}: {cause}; name another folder with --state-dir",
                path.display()
            ),
            Self::Locked { path } => write!(
                f,
                "another router keeps the workers of {}: stop it first, or give this one another --state-dir and other ports",
                path.display()
            ),
            Self::StateUnreadable { path, cause } => write!(
                f,
                "{} doesn't say which workers run: {cause}; end those that do by hand and remove the file",
                path.display()
            ),
            Self::Worker(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}
