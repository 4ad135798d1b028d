//! What can be wrong with a configuration. Every error is one line that says what to change.

use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};

use super::cli;
use crate::cluster::ClusterError;

/// Why the router doesn't start. It has bound nothing yet.
#[derive(Debug)]
pub enum ConfigError {
    /// A flag or its value.
    Arguments {
        source: Source,
        error: clap::Error,
    },
    /// A list of the environment or of a file with something like a flag in it.
    Dash {
        source: Source,
        flag: String,
    },
    File {
        path: PathBuf,
        problem: FileProblem,
    },
    Cluster(ClusterError),
    /// Settings that are fine one by one.
    Conflict(Conflict),
}

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    CommandLine,
    Environment,
    File(PathBuf),
}

/// What can be wrong with a configuration file before its values are looked at.
#[derive(Debug)]
pub enum FileProblem {
    Unreadable(std::io::Error),
    NotToml {
        line: usize,
        message: String,
    },
    UnknownKey {
        key: String,
        similar: Option<String>,
    },
    /// Once with dashes, once with underscores.
    Twice {
        key: String,
    },
    WrongShape {
        key: String,
        expected: &'static str,
    },
}

/// Settings that don't go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    TlsNeedsBoth,
    ClientTlsNeedsBoth,
    BackoffShrinks,
    WorkerNamedTwice(String),
    SimulateBesideWorkers,
    ClusterBesideWorkers,
    CommandsWithoutCluster,
    MiniLbWithoutPd,
    /// The flag that gives them.
    BucketsDoNotRise(&'static str),
    OnePortForTwo(u16),
}

impl std::error::Error for ConfigError {}

impl From<Conflict> for ConfigError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments { source, error } => {
                write!(f, "{source}{}", one_line(error))
            }
            Self::Dash { source, flag } => {
                write!(
                    f,
                    "{source}'{flag}' has a value that begins with a dash; remove it"
                )
            }
            Self::File { path, problem } => write!(f, "{}: {problem}", path.display()),
            Self::Cluster(error) => error.fmt(f),
            Self::Conflict(conflict) => conflict.fmt(f),
        }
    }
}

/// As a prefix: silent for the command line, which is what one thinks of first.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => Ok(()),
            Self::Environment => f.write_str("environment: "),
            Self::File(path) => write!(f, "{}: ", path.display()),
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "can't be read: {error}"),
            Self::NotToml { line, message } => write!(f, "line {line} is not TOML: {message}"),
            Self::UnknownKey { key, similar } => {
                write!(f, "unknown key '{key}'")?;
                match similar {
                    Some(similar) => write!(f, "; did you mean '{similar}'?"),
                    None => f.write_str("; keys are the long flags of --help, without dashes"),
                }
            }
            Self::Twice { key } => write!(f, "key '{key}' stands there twice; keep one"),
            Self::WrongShape { key, expected } => write!(f, "'{key}' must be {expected}"),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TlsNeedsBoth => {
                f.write_str("--tls-cert-path and --tls-key-path go together: give both or none")
            }
            Self::ClientTlsNeedsBoth => {
                f.write_str("--client-cert-path and --client-key-path go together: give both or none")
            }
            Self::BackoffShrinks => f.write_str(
                "--retry-max-backoff-ms is less than --retry-initial-backoff-ms: raise it or lower the other",
            ),
            Self::WorkerNamedTwice(url) => write!(
                f,
                "worker {url} is named twice: a worker has one role, remove one of the two"
            ),
            Self::SimulateBesideWorkers => f.write_str(
                "--simulate brings its own workers: leave out --prefill, --decode and --worker-urls, or --simulate",
            ),
            Self::ClusterBesideWorkers => f.write_str(
                "--cluster brings its own workers: leave out --prefill, --decode, --worker-urls and --simulate, or --cluster; \
                 a worker that somebody else starts can stand in the cluster file, with its url",
            ),
            Self::CommandsWithoutCluster => f.write_str(
                "--print-launch-commands prints what a cluster file starts: name one with --cluster",
            ),
            Self::MiniLbWithoutPd => {
                f.write_str("--mini-lb is for PD mode: add --pd-disaggregation or leave it out")
            }
            Self::BucketsDoNotRise(flag) => {
                write!(f, "{flag} must rise: sort the bounds and name each once")
            }
            Self::OnePortForTwo(port) => write!(
                f,
                "--port and --prometheus-port are both {port}: give one of them another port"
            ),
        }
    }
}

/// clap's message has its headline first, hints in lines below, and ends with a usage that doesn't fit in a line.
fn one_line(error: &clap::Error) -> String {
    let text = without_secret(error);
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty());
    let mut said = String::new();
    for line in lines {
        let is_aside = line.starts_with('[');
        said.push_str(match (said.is_empty(), is_aside) {
            (true, _) => "",
            (false, true) => " ",
            (false, false) => "; ",
        });
        said.push_str(line.strip_prefix("error: ").unwrap_or(line));
    }
    said + "; see --help"
}

/// A key that doesn't fit must not be read in a log because it doesn't fit.
fn without_secret(error: &clap::Error) -> String {
    let text = error.to_string();
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    let (Some(flag), Some(value)) = (
        context(ContextKind::InvalidArg),
        context(ContextKind::InvalidValue),
    ) else {
        return text;
    };
    if value.is_empty() || !cli::is_secret(flag) {
        return text;
    }
    text.replace(value, "***")
}
