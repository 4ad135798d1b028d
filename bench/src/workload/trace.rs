//! Recorded traffic.
//!
//! Three formats, told apart by a file's first line:
//!
//! - The Azure LLM inference traces: CSV with the columns `TIMESTAMP`, `ContextTokens` and `GeneratedTokens`.
//! - Mooncake's traces: JSON lines with `timestamp` (milliseconds), `input_length`, `output_length` and `hash_ids`, the
//!   prompt's blocks of 512 tokens.
//! - The router's own request log: JSON lines with `at` (seconds since 1970), `prompt_tokens`, `output_tokens` and, where
//!   known, `cached_tokens`.
//!
//! Time starts at the first arrival. Lines are put in the order of their times; a log is in the order of ends. Only
//! `hash_ids` say what prompts have in common: see [`prefix_cache`] for what is made of them.

mod azure;
mod mooncake;
pub mod prefix_cache;
mod request_log;

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use policies::time::Timestamp;
use serde::de::DeserializeOwned;

use super::{Job, MAX_REQUESTS, Workload, lengths::most_cached};

/// Blocks of 512 tokens in the KV pool of one worker of the built-in model, 2,000,000 tokens.
pub const fn default_cache_blocks() -> usize {
    3_906
}

/// Why a trace was not read.
#[derive(Debug)]
pub enum TraceError {
    Read {
        path: PathBuf,
        error: io::Error,
    },
    /// The first line is of no known format.
    Unknown {
        path: PathBuf,
    },
    Line {
        path: PathBuf,
        line: u64,
        error: LineError,
    },
    /// Not one request.
    Empty {
        path: PathBuf,
    },
    TooLong {
        path: PathBuf,
    },
}

/// What is wrong with a line.
#[derive(Debug)]
pub enum LineError {
    Csv(csv::Error),
    Json(serde_json::Error),
    Time(String),
    /// A number that no request has.
    Number {
        what: &'static str,
        expected: &'static str,
        found: f64,
    },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Unknown { path } => write!(
                f,
                "{}:1: expected the header TIMESTAMP,ContextTokens,GeneratedTokens (Azure), or a JSON object with \
                 input_length (Mooncake) or with prompt_tokens (the router's request log)",
                path.display()
            ),
            Self::Line { path, line, error } => write!(f, "{}:{line}: {error}", path.display()),
            Self::Empty { path } => write!(f, "{}: expected at least one request", path.display()),
            Self::TooLong { path } => write!(
                f,
                "{}: more than {MAX_REQUESTS} requests do not fit in memory",
                path.display()
            ),
        }
    }
}

impl std::error::Error for TraceError {}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Csv(error) => error.fmt(f),
            Self::Json(error) => error.fmt(f),
            Self::Time(found) => write!(
                f,
                "expected a time such as 2023-11-16 18:17:03.97996, found '{found}'"
            ),
            Self::Number {
                what,
                expected,
                found,
            } => write!(f, "expected {what} {expected}, found {found}"),
        }
    }
}

/// One line of any format.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Recorded {
    /// Seconds since an origin that is the trace's own.
    at: f64,
    job: Job,
}

impl Recorded {
    fn new(at: f64, prompt: u64, cached: u64, output: u64) -> Result<Self, LineError> {
        if !at.is_finite() {
            return Err(LineError::Number {
                what: "a time",
                expected: "that is finite",
                found: at,
            });
        }
        let prompt_tokens = tokens("prompt tokens", prompt)?.max(1);
        Ok(Self {
            at,
            job: Job {
                prompt_tokens,
                cached_tokens: most_cached(prompt_tokens, tokens("cached tokens", cached)?),
                // Prefill always makes one token, also for a request that was recorded with none.
                output_tokens: tokens("output tokens", output)?.max(1),
                class: 0,
            },
        })
    }
}

/// The longest request that is believed: well above any context window, well below what overflows a sum.
const MAX_TOKENS: u64 = 100_000_000;

fn tokens(what: &'static str, found: u64) -> Result<u32, LineError> {
    if found > MAX_TOKENS {
        return Err(LineError::Number {
            what,
            expected: "of at most 100000000",
            found: found as f64,
        });
    }
    Ok(found as u32)
}

/// Reads the trace at `path`. Prompts find their beginnings in a cache of `cache_blocks`, in traces that tell.
pub fn load(path: &Path, cache_blocks: usize) -> Result<Workload, TraceError> {
    let mut file = open(path)?;
    let start = file.fill_buf().map_err(|error| TraceError::Read {
        path: path.to_owned(),
        error,
    })?;
    let mut recorded = match Format::of(start) {
        Some(Format::Azure) => collect(path, azure::read(file))?,
        Some(Format::Mooncake) => collect(path, mooncake::read(file, cache_blocks))?,
        Some(Format::RequestLog) => collect(path, request_log::read(file))?,
        None if start.is_empty() => Vec::new(),
        None => {
            return Err(TraceError::Unknown {
                path: path.to_owned(),
            });
        }
    };
    // A stable sort: requests of the same moment stay as they were written.
    recorded.sort_by(|a, b| a.at.total_cmp(&b.at));
    let origin = recorded
        .first()
        .ok_or_else(|| TraceError::Empty {
            path: path.to_owned(),
        })?
        .at;
    let arrivals = recorded
        .iter()
        .map(|one| (since(origin, one.at), one.job))
        .collect();
    Ok(Workload::Open { arrivals })
}

fn open(path: &Path) -> Result<BufReader<File>, TraceError> {
    let file = File::open(path).map_err(|error| TraceError::Read {
        path: path.to_owned(),
        error,
    })?;
    Ok(BufReader::new(file))
}

fn since(origin: f64, at: f64) -> Timestamp {
    Timestamp::from_micros(((at - origin) * 1e6).round() as u64)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Azure,
    Mooncake,
    RequestLog,
}

impl Format {
    /// By the first line, of which `start` may hold only a part: keys come before their values.
    fn of(start: &[u8]) -> Option<Self> {
        let line = start.split(|byte| *byte == b'\n').next()?;
        let has = |word: &str| memchr::memmem::find(line, word.as_bytes()).is_some();
        if !line.trim_ascii_start().starts_with(b"{") {
            has("ContextTokens").then_some(Self::Azure)
        } else if has("\"input_length\"") {
            Some(Self::Mooncake)
        } else {
            has("\"prompt_tokens\"").then_some(Self::RequestLog)
        }
    }
}

/// A line's number, counted from 1, and what it says.
type Line = (u64, Result<Recorded, LineError>);

fn collect(
    path: &Path,
    lines: impl Iterator<Item = io::Result<Line>>,
) -> Result<Vec<Recorded>, TraceError> {
    let mut recorded = Vec::new();
    for line in lines {
        let (line, read) = line.map_err(|error| TraceError::Read {
            path: path.to_owned(),
            error,
        })?;
        recorded.push(read.map_err(|error| TraceError::Line {
            path: path.to_owned(),
            line,
            error,
        })?);
        if recorded.len() > MAX_REQUESTS {
            return Err(TraceError::TooLong {
                path: path.to_owned(),
            });
        }
    }
    Ok(recorded)
}

/// The lines of a JSON-lines file that are not blank, each as `T` and then as `make` sees it.
fn json_lines<T: DeserializeOwned>(
    file: impl BufRead,
    mut make: impl FnMut(T) -> Result<Recorded, LineError>,
) -> impl Iterator<Item = io::Result<Line>> {
    (1..).zip(file.lines()).filter_map(move |(number, line)| {
        let line = match line {
            Ok(line) if line.trim().is_empty() => return None,
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        let read = serde_json::from_str(&line)
            .map_err(LineError::Json)
            .and_then(&mut make);
        Some(Ok((number, read)))
    })
}

#[cfg(test)]
mod tests;
