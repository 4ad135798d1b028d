//! An accepted request: how it goes, by the clock, and how it ends, in exactly one way.
//!
//! It travels with the request from the handler into the response body, and its drop is the one place where a request is
//! concluded: outcome, durations, tokens, and whether it was good.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::tokens::Prompt;
use crate::clock::Clock;
use crate::telemetry::demand::{Counted, Ended};
use crate::telemetry::trace::RequestTrace;
use crate::telemetry::{FinishedRequest, Outcome, RequestLabels, Telemetry, TokenCount};
use crate::workers::Worker;

/// An accepted request. Its drop records the outcome: `ClientGone`, unless somebody said better before.
#[derive(Debug)]
pub struct Accepted {
    telemetry: Arc<Telemetry>,
    clock: Clock,
    labels: RequestLabels,
    /// When its last byte was read.
    received: Instant,
    wait: QueueWait,
    first_token: Option<Instant>,
    prefill: Option<PrefillTimes>,
    serving: Option<WorkerId>,
    prompt: TokenCount,
    output: TokenCount,
    cached_tokens: Option<u32>,
    tpot: Option<Duration>,
    outcome: Outcome,
    counted: Counted,
    trace: RequestTrace,
    _permit: Option<OwnedSemaphorePermit>,
}

/// How long a request waits in the router, and since when it counts.
#[derive(Debug)]
pub struct QueueWait {
    arrived: Timestamp,
    before: Duration,
    /// Since when it waits for a worker, where it does.
    since: Option<Instant>,
}

impl QueueWait {
    /// Of a request that arrived at `arrived` and hasn't waited.
    pub const fn from(arrived: Timestamp) -> Self {
        Self {
            arrived,
            before: Duration::ZERO,
            since: None,
        }
    }

    pub const fn arrived(&self) -> Timestamp {
        self.arrived
    }

    /// It waits in the router for a worker, from now on.
    pub fn waits(&mut self) {
        self.since = Some(Instant::now());
    }

    pub fn waits_no_more(&mut self) {
        self.before = self.so_far();
        self.since = None;
    }

    /// How long it has waited in the router so far.
    pub fn so_far(&self) -> Duration {
        let waiting = self.since.map(|since| since.elapsed());
        self.before + waiting.unwrap_or_default()
    }
}

/// A prefill leg by the clock.
#[derive(Debug, Clone)]
pub struct PrefillTimes {
    pub worker: Arc<Worker>,
    pub sent: Instant,
    /// `None` while it runs.
    pub ended: Option<Instant>,
}

impl Accepted {
    /// A request whose last byte was read at `received` and which was let in just now. `prompt_tokens` is an estimate.
    pub fn new(
        telemetry: Arc<Telemetry>,
        clock: Clock,
        labels: RequestLabels,
        received: Instant,
        prompt_tokens: u32,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        telemetry.metrics.requests.accepted(&labels);
        let counted = telemetry.demand.arrived(prompt_tokens);
        Self {
            counted,
            telemetry,
            clock,
            labels,
            received,
            wait: QueueWait {
                before: received.elapsed(),
                ..QueueWait::from(clock.at(received))
            },
            first_token: None,
            prefill: None,
            serving: None,
            prompt: TokenCount {
                tokens: prompt_tokens,
                reported: false,
            },
            output: TokenCount::default(),
            cached_tokens: None,
            tpot: None,
            outcome: Outcome::ClientGone,
            trace: RequestTrace::off(),
            _permit: permit,
        }
    }

    /// Its time in the router's queue.
    pub fn wait(&mut self) -> &mut QueueWait {
        &mut self.wait
    }

    /// An attempt's answer is what the client gets.
    pub fn committed(&mut self, serving: &Worker, prefill: Option<PrefillTimes>) {
        self.telemetry
            .metrics
            .requests
            .answered(&self.labels, self.received.elapsed());
        self.served_by(serving, prefill);
    }

    /// Another pair goes on with the answer.
    pub fn moved(&mut self, serving: &Worker, prefill: Option<PrefillTimes>) {
        self.served_by(serving, prefill);
    }

    fn served_by(&mut self, serving: &Worker, prefill: Option<PrefillTimes>) {
        self.serving = Some(serving.id);
        self.prefill = prefill;
        if let Some(prefill) = &self.prefill
            && let Some(ended) = prefill.ended
        {
            let took = ended - prefill.sent;
            self.telemetry
                .metrics
                .workers
                .prefilled(&prefill.worker, took);
        }
    }

    /// The prefill leg ended well after the commit. Answers its worker.
    pub fn prefill_ended(&mut self, now: Instant) -> Option<&Worker> {
        let prefill = self.prefill.as_mut()?;
        prefill.ended = Some(now);
        let took = now - prefill.sent;
        self.telemetry
            .metrics
            .workers
            .prefilled(&prefill.worker, took);
        Some(&prefill.worker)
    }

    /// The first token goes to the client.
    pub fn first_token(&mut self, now: Instant, serving: &Worker, role: Role) {
        self.first_token = Some(now);
        let ttft = now - self.received;
        let at = self.clock.at(now);
        self.telemetry.demand.first_token(&mut self.counted, at);
        let metrics = &self.telemetry.metrics;
        metrics.requests.first_token(&self.labels, ttft);
        metrics.workers.first_token(serving, role, ttft);
        serving.stats.ttft.record(at, ttft, 1);
        if let Some(prefill) = &self.prefill {
            metrics
                .workers
                .first_token(&prefill.worker, Role::Prefill, ttft);
            prefill.worker.stats.ttft.record(at, ttft, 1);
            // A leg that still runs has sent its KV all the same.
            let gap = prefill
                .ended
                .map_or(Duration::ZERO, |ended| now.saturating_duration_since(ended));
            metrics.workers.kv_transferred(serving, gap);
        }
    }

    /// What was counted of the answer, and what the worker said of the prompt.
    pub fn counted(&mut self, output: TokenCount, prompt: Option<Prompt>, tpot: Option<Duration>) {
        self.output = output;
        self.tpot = tpot;
        if let Some(Prompt { tokens, cached }) = prompt {
            self.prompt = TokenCount {
                tokens,
                reported: true,
            };
            self.cached_tokens = cached;
        }
    }

    /// Takes over the request's span: from here on it ends when the request does.
    pub fn traced(&mut self, trace: RequestTrace) {
        self.trace = trace;
    }

    /// The client's response begins.
    pub fn answered(&mut self, status: StatusCode) {
        self.trace.answered(status);
    }

    /// How it ended, should nothing else happen.
    pub fn ends(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// It ended without an answer, in an error that the client can tell by `code`.
    pub fn fails(&mut self, outcome: Outcome, code: &str) {
        self.ends(outcome);
        self.telemetry.metrics.requests.failed(&self.labels, code);
    }

    /// What the request says about others like it.
    fn lengths(&self) -> Ended {
        let whole = self.outcome == Outcome::Completed && self.output.tokens > 0;
        Ended {
            output_tokens: whole.then_some(self.output.tokens),
            prompt: (self.prompt.reported)
                .then_some((self.prompt.tokens, self.cached_tokens.unwrap_or(0))),
        }
    }

    fn conclude(&self, at: Timestamp) -> FinishedRequest {
        FinishedRequest {
            endpoint: self.labels.endpoint,
            streamed: self.labels.streamed,
            outcome: self.outcome,
            at,
            queue_wait: self.wait.so_far(),
            total: self.received.elapsed(),
            ttft: self.first_token.map(|first| first - self.received),
            tpot: self.tpot,
            prompt: self.prompt,
            output: self.output,
            cached_tokens: self.cached_tokens,
            prefill: self.prefill.as_ref().map(|prefill| prefill.worker.id),
            serving: self.serving,
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if self.outcome == Outcome::Failed {
            self.trace.broke();
        }
        self.trace.ends(self.outcome);
        self.telemetry.demand.ended(&self.counted, self.lengths());
        let finished = self.conclude(self.clock.now());
        let verdict = self.telemetry.slo.judge(&finished);
        self.telemetry
            .metrics
            .requests
            .finished(&self.labels, &finished, verdict);
        if let Some(log) = &self.telemetry.request_log {
            log.write(&finished);
        }
        self.telemetry.finished.push(finished);
    }
}
