//! A log of requests, one JSON object a line: when each came, how long its prompt and its answer were, how it fared. What a
//! planner or a simulation needs to know of real traffic, and no word of it: no prompt, no answer, no key.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::line_log::{LineLog, LineLogError};
use super::requests::FinishedRequest;
use crate::clock::Clock;

/// Where requests are logged.
#[derive(Debug)]
pub struct RequestLog {
    clock: Clock,
    lines: LineLog,
}

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
    pub fn open(path: &Path, clock: Clock) -> Result<Self, LineLogError> {
        let lines = LineLog::open(path, "--request-log")?;
        Ok(Self { clock, lines })
    }

    pub fn write(&self, request: &FinishedRequest) {
        let seconds = |duration: Duration| duration.as_secs_f64();
        self.lines.write(&Line {
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
        });
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
}
