//! A log of requests, one JSON object a line: when each came, how long its prompt and its answer were, how it fared. What a
//! planner or a simulation needs to know of real traffic, and no word of it: no prompt, no answer, no key.
//!
//! Lines are handed to a thread that writes them; where the disk can't follow, lines are lost and requests are not held
//! up.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};

use super::requests::FinishedRequest;
use crate::clock::Clock;

/// Where requests are logged. The lines that were written reach the file when this is dropped.
pub struct RequestLog {
    clock: Clock,
    writer: NonBlocking,
    _flushed_at_the_end: WorkerGuard,
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLog").finish_non_exhaustive()
    }
}

/// The file can't be written.
#[derive(Debug)]
pub struct RequestLogError {
    path: PathBuf,
    cause: io::Error,
}

impl fmt::Display for RequestLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot write the request log {}: {}; name another file with --request-log",
            self.path.display(),
            self.cause
        )
    }
}

impl std::error::Error for RequestLogError {}

#[derive(Serialize)]
struct Line {
    /// Seconds since 1970: when the request had been read.
    at: f64,
    endpoint: &'static str,
    streamed: bool,
    outcome: &'static str,
    prompt_tokens: u32,
    /// Whether the worker counted; else it is an estimate.
    prompt_reported: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u32>,
    output_tokens: u32,
    output_reported: bool,
    queue_s: f64,
    ttft_s: Option<f64>,
    tpot_s: Option<f64>,
    total_s: f64,
}

impl RequestLog {
    /// Appends to the file at `path`, which is made where there is none.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, RequestLogError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|cause| RequestLogError {
            path: path.to_owned(),
            cause,
        })?;
        let (writer, guard) = tracing_appender::non_blocking(file);
        Ok(Self {
            clock,
            writer,
            _flushed_at_the_end: guard,
        })
    }

    pub fn write(&self, request: &FinishedRequest) {
        let seconds = |duration: Duration| duration.as_secs_f64();
        let line = Line {
            at: self.clock.unix_seconds(request.at) - seconds(request.total),
            endpoint: request.endpoint,
            streamed: request.streamed,
            outcome: request.outcome.as_str(),
            prompt_tokens: request.prompt.tokens,
            prompt_reported: request.prompt.reported,
            cached_tokens: request.cached_tokens,
            output_tokens: request.output.tokens,
            output_reported: request.output.reported,
            queue_s: seconds(request.queue_wait),
            ttft_s: request.ttft.map(seconds),
            tpot_s: request.tpot.map(seconds),
            total_s: seconds(request.total),
        };
        let mut line = serde_json::to_vec(&line).expect("numbers and names can be written");
        line.push(b'\n');
        // A full queue loses the line: see above.
        let _ = self.writer.clone().write_all(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Outcome, TokenCount};

    #[test]
    fn a_request_is_a_line_and_lines_are_appended() {
        let path = std::env::temp_dir().join(format!("request-log-{}.jsonl", uuid::Uuid::new_v4()));
        let clock = Clock::start();
        let request = FinishedRequest {
            endpoint: "/generate",
            streamed: true,
            outcome: Outcome::Completed,
            at: clock.now(),
            queue_wait: Duration::ZERO,
            total: Duration::from_millis(1500),
            ttft: Some(Duration::from_millis(250)),
            tpot: None,
            prompt: TokenCount {
                tokens: 2048,
                reported: true,
            },
            output: TokenCount {
                tokens: 128,
                reported: false,
            },
            cached_tokens: Some(1024),
            prefill: None,
            serving: None,
        };
        for _ in 0..2 {
            RequestLog::open(&path, clock).unwrap().write(&request);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["prompt_tokens"], 2048);
        assert_eq!(lines[0]["cached_tokens"], 1024);
        assert_eq!(lines[0]["output_reported"], false);
        assert_eq!(lines[0]["ttft_s"], 0.25);
        let arrived = clock.unix_seconds(request.at) - 1.5;
        assert!((lines[0]["at"].as_f64().unwrap() - arrived).abs() < 1e-3);
    }

    #[test]
    fn a_file_that_cant_be_written_is_named() {
        let path = std::env::temp_dir()
            .join("no-such-folder")
            .join("requests.jsonl");
        let error = RequestLog::open(&path, Clock::start()).unwrap_err();
        assert!(
            error.to_string().contains("no-such-folder/requests.jsonl"),
            "{error}"
        );
    }
}
