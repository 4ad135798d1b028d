//! What came of a simulated run.

use std::time::Duration;

use hdrhistogram::Histogram;
use policies::time::Timestamp;
use policies::worker::Role;

use super::Slo;
use crate::workload::Job;

/// A request by the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    pub job: Job,
    pub arrived: Timestamp,
    /// `None` where it failed before.
    pub first_token: Option<Timestamp>,
    pub ended: Timestamp,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Completed,
    /// Its worker died after its first token.
    Failed,
    /// It waited in the router for as long as a request may.
    TimedOut,
    /// It had not ended when nothing could happen any more: no worker came back for it.
    Stranded,
}

impl Served {
    pub fn ttft(&self) -> Option<Duration> {
        Some(self.first_token?.since(self.arrived))
    }

    /// Mean time between its tokens. `None` where it had fewer than two.
    pub fn tpot(&self) -> Option<Duration> {
        let later = self.job.output_tokens.checked_sub(1).filter(|n| *n > 0)?;
        Some(self.ended.since(self.first_token?) / later)
    }

    pub fn is_good(&self, slo: &Slo) -> bool {
        self.end == End::Completed
            && self.ttft().is_some_and(|ttft| ttft <= slo.ttft)
            && self.tpot().is_none_or(|tpot| tpot <= slo.itl)
    }
}

/// What a worker did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkerUse {
    /// At the end.
    pub role: Role,
    /// Computing prompts.
    pub prefill_busy: Duration,
    /// In decode steps.
    pub decode_busy: Duration,
    /// Between roles, or dead.
    pub away: Duration,
    pub role_changes: u32,
    /// Sequences that were put back for lack of KV memory.
    pub retractions: u64,
}

/// A worker that served nobody for a while: it changed its role, or it died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    pub from: Role,
    /// The same, where it died.
    pub to: Role,
    /// From here on it was given nothing new.
    pub closed: Timestamp,
    /// `None` where it was not back before the end.
    pub back: Option<Timestamp>,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// In the order of their arrival.
    pub requests: Vec<Served>,
    /// From the first arrival to the last end.
    pub makespan: Duration,
    /// Microseconds between tokens, one entry a token after the first.
    pub itl: Histogram<u64>,
    pub workers: Vec<WorkerUse>,
    /// In the order of their beginnings.
    pub absences: Vec<Absence>,
    /// Times that a request was run anew because a worker died.
    pub retries: u64,
    /// Times that an answer went on at another worker because its own changed roles.
    pub migrations: u64,
    /// Events that were simulated.
    pub events: u64,
}

impl Outcome {
    pub fn completed(&self) -> impl Iterator<Item = &Served> {
        self.requests
            .iter()
            .filter(|request| request.end == End::Completed)
    }

    /// Completed requests a second over the whole run.
    pub fn requests_per_second(&self) -> f64 {
        self.per_second(self.completed().count())
    }

    /// Good requests a second.
    pub fn goodput(&self, slo: &Slo) -> f64 {
        self.per_second(self.good(slo))
    }

    /// Share of good requests among all.
    pub fn attainment(&self, slo: &Slo) -> f64 {
        self.good(slo) as f64 / (self.requests.len().max(1)) as f64
    }

    pub fn mean_ttft(&self) -> Duration {
        let ttfts: Vec<_> = self.ttfts().collect();
        let sum: Duration = ttfts.iter().sum();
        sum / u32::try_from(ttfts.len()).unwrap_or(u32::MAX).max(1)
    }

    /// `quantile` is 0 to 1; by rank, nearest.
    pub fn ttft_quantile(&self, quantile: f64) -> Duration {
        let mut ttfts: Vec<_> = self.ttfts().collect();
        if ttfts.is_empty() {
            return Duration::ZERO;
        }
        let rank = (quantile.clamp(0.0, 1.0) * (ttfts.len() - 1) as f64).round() as usize;
        *ttfts.select_nth_unstable(rank).1
    }

    /// Over all tokens of all requests.
    pub fn mean_itl(&self) -> Duration {
        Duration::from_secs_f64(self.itl.mean() / 1e6)
    }

    pub fn itl_quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.itl.value_at_quantile(quantile))
    }

    pub fn output_tokens_per_second(&self) -> f64 {
        let tokens: u64 = self
            .completed()
            .map(|request| u64::from(request.job.output_tokens))
            .sum();
        tokens as f64 / self.makespan.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn ttfts(&self) -> impl Iterator<Item = Duration> {
        self.requests.iter().filter_map(Served::ttft)
    }

    fn good(&self, slo: &Slo) -> usize {
        self.requests
            .iter()
            .filter(|request| request.is_good(slo))
            .count()
    }

    fn per_second(&self, requests: usize) -> f64 {
        requests as f64 / self.makespan.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
