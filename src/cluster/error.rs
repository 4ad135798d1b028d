//! What can be wrong with a cluster file. Every error is one line that says what to write instead.

use std::fmt;
use std::path::PathBuf;

use policies::worker::Role;

/// Why a cluster file can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterError {
    pub path: PathBuf,
    pub problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    Unreadable(String),
    NotAClusterFile {
        line: usize,
        message: String,
    },
    NobodyStartsAs(Role),
    BadName(String),
    NamedTwice(String),
    PortTwice {
        port: u16,
        workers: [String; 2],
    },
    GpuTwice {
        gpu: u32,
        workers: [String; 2],
    },
    UrlTwice(String),
    Missing {
        worker: String,
        key: &'static str,
    },
    BadUrl {
        worker: String,
        reason: String,
    },
    UrlBeside {
        worker: String,
        key: &'static str,
    },
    UrlIsNotLaunched {
        worker: String,
    },
    PortZero {
        worker: String,
        key: &'static str,
    },
    EphemeralBootstrapPort {
        worker: String,
        port: u16,
    },
    /// An argument that the router writes itself.
    OwnFlag {
        worker: String,
        flag: &'static str,
        key: &'static str,
    },
    InPlaceBackend {
        worker: String,
        backend: String,
    },
    InPlaceFlag {
        worker: String,
        flag: &'static str,
    },
    InPlaceBareIp {
        worker: String,
        host: String,
    },
    EmptyCommand {
        worker: String,
    },
    UnknownPlaceholder {
        worker: String,
        word: String,
    },
    CommandWithoutRole {
        worker: String,
    },
}

impl std::error::Error for ClusterError {}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(cause) => write!(f, "can't be read: {cause}"),
            Self::NotAClusterFile { line, message } => write!(f, "line {line}: {message}"),
            Self::NobodyStartsAs(role) => write!(
                f,
                "no worker has role = \"{role}\": a request needs a prefill and a decode worker, give at least one of each"
            ),
            Self::BadName(name) => write!(
                f,
                "'{name}' can't be a worker's name, which is also its log file's: use letters, digits, '-' and '_'"
            ),
            Self::NamedTwice(name) => write!(f, "two workers have the name {name}: rename one"),
            Self::PortTwice { port, workers } => write!(
                f,
                "{} and {} both use port {port}: every port and bootstrap_port of a host must be another",
                workers[0], workers[1]
            ),
            Self::GpuTwice { gpu, workers } => write!(
                f,
                "{} and {} both use GPU {gpu}: give each its own, or write share_gpus = true if they are to share it",
                workers[0], workers[1]
            ),
            Self::UrlTwice(url) => write!(f, "two workers have the address {url}: remove one"),
            Self::Missing { worker, key } => write!(
                f,
                "worker {worker} has no {key}, which is needed to start it: add one, or launcher = \"none\" if somebody else starts it"
            ),
            Self::BadUrl { worker, reason } => write!(f, "worker {worker}: {reason}"),
            Self::UrlBeside { worker, key } => write!(
                f,
                "worker {worker} has both url and {key}: url is for workers that run elsewhere; keep one of the two"
            ),
            Self::UrlIsNotLaunched { worker } => write!(
                f,
                "worker {worker} is given by its url, so the router can't start it: give it host and port, or launcher = \"none\""
            ),
            Self::PortZero { worker, key } => write!(
                f,
                "worker {worker} has {key} = 0: others have to know the port, choose one"
            ),
            Self::EphemeralBootstrapPort { worker, port } => write!(
                f,
                "worker {worker} has bootstrap_port = {port}: ports from 32768 on are given to outgoing connections, one of \
                 which may hold it when the worker starts, and SGLang then reports ready and fails every request; choose a lower one"
            ),
            Self::OwnFlag { worker, flag, key } => write!(
                f,
                "worker {worker} has {flag} in its arguments, which the router writes itself: use {key}"
            ),
            Self::InPlaceBackend { worker, backend } => write!(
                f,
                "worker {worker} can't change its role in place over {backend}: use transfer_backend = \"mooncake\" or \
                 \"mori\", or launcher = \"process\""
            ),
            Self::InPlaceFlag { worker, flag } => write!(
                f,
                "worker {worker} can't change its role in place: add \"{flag}\" to its args, or use launcher = \"process\""
            ),
            Self::InPlaceBareIp { worker, host } => write!(
                f,
                "worker {worker} can't change its role in place at the address {host}: decode workers remember a prefill by \
                 its host's spelling, which has to differ after each change; give a host name, or launcher = \"process\""
            ),
            Self::EmptyCommand { worker } => {
                write!(f, "worker {worker} has an empty command: name a program")
            }
            Self::UnknownPlaceholder { worker, word } => write!(
                f,
                "worker {worker}: '{word}' in command has a placeholder that doesn't exist; there are {{flags}} (a word of its \
                 own), {{role}}, {{model}}, {{transfer_backend}}, {{gpus}}, {{host}}, {{port}} and {{bootstrap_port}}"
            ),
            Self::CommandWithoutRole { worker } => write!(
                f,
                "worker {worker}: command has neither {{flags}} nor {{role}}, so it would start the same in both roles; add \"{{flags}}\""
            ),
        }
    }
}
