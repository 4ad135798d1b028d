//! Families of workers that are written as things happen: picks, failures, changes, latencies.

use std::time::Duration;

use policies::worker::Role;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::buckets::Buckets;
use super::catalogue::Catalogue;
use crate::workers::{Change, Transition, Worker};

const HTTP: &str = "http";

#[derive(Debug)]
pub struct WorkerFamilies {
    selections: IntCounterVec,
    errors: IntCounterVec,
    health_checks: IntCounterVec,
    breaker_transitions: IntCounterVec,
    breaker_outcomes: IntCounterVec,
    state_changes: IntCounterVec,
    role_changes: IntCounterVec,
    ttft: HistogramVec,
    itl: HistogramVec,
    prefill: HistogramVec,
    kv_transfer_gap: HistogramVec,
    output_tokens: IntCounterVec,
}

impl WorkerFamilies {
    pub(super) fn new(make: &mut Catalogue, buckets: &Buckets) -> Self {
        let families = Self {
            selections: make.counter(
                "smg_worker_selection_total",
                "Workers picked for a leg, by the policy that picked",
                &["worker_type", "connection_mode", "model", "policy"],
            ),
            errors: make.counter(
                "smg_worker_errors_total",
                "Failed legs by role and kind of failure",
                &["worker_type", "connection_mode", "error_type"],
            ),
            health_checks: make.counter(
                "smg_worker_health_checks_total",
                "Health checks of workers by result",
                &["worker_type", "result"],
            ),
            breaker_transitions: make.counter(
                "smg_worker_cb_transitions_total",
                "Circuit breaker changes of state",
                &["worker", "from", "to"],
            ),
            breaker_outcomes: make.counter(
                "smg_worker_cb_outcomes_total",
                "Legs that the circuit breaker was told of, by outcome: success or failure",
                &["worker", "outcome"],
            ),
            state_changes: make.counter(
                "adaptive_router_worker_state_changes_total",
                "Workers' changes of lifecycle state",
                &["from", "to"],
            ),
            role_changes: make.counter(
                "adaptive_router_role_changes_total",
                "Workers' changes of role",
                &["from", "to"],
            ),
            ttft: make.histogram(
                "adaptive_router_ttft_seconds",
                "Time to first token by worker: observed for the prefill and for the decode worker of a request, told apart by role. Sum over one role for one observation a request",
                &["worker", "role"],
                &buckets.ttft,
            ),
            itl: make.histogram(
                "adaptive_router_itl_seconds",
                "Inter-token latency by the worker that decodes, one observation a token after the first. A chunk of k tokens that comes t after the one before counts as k times t/k",
                &["worker"],
                &buckets.itl,
            ),
            prefill: make.histogram(
                "adaptive_router_prefill_seconds",
                "From the prefill leg sent to its end: the worker's queue, the prompt's computation and the KV transfer",
                &["worker"],
                &buckets.durations,
            ),
            kv_transfer_gap: make.histogram(
                "adaptive_router_kv_transfer_gap_seconds",
                "From the prefill leg's end to the first token of its decode worker; 0 where the token was first",
                &["worker"],
                &buckets.durations,
            ),
            output_tokens: make.counter(
                "adaptive_router_output_tokens_total",
                "Output tokens of streams, counted as they are relayed",
                &["worker"],
            ),
        };
        for (from, to) in [("prefill", "decode"), ("decode", "prefill")] {
            families.role_changes.with_label_values(&[from, to]);
        }
        families
    }

    pub fn picked(&self, role: Role, model: &str, policy: &str) {
        self.selections
            .with_label_values(&[role.as_str(), HTTP, model, policy])
            .inc();
    }

    pub fn leg_failed(&self, role: Role, kind: &str) {
        self.errors
            .with_label_values(&[role.as_str(), HTTP, kind])
            .inc();
    }

    pub fn health_checked(&self, role: Role, passed: bool) {
        let result = if passed { "success" } else { "failure" };
        self.health_checks
            .with_label_values(&[role.as_str(), result])
            .inc();
    }

    /// Health checks of workers of `role` so far.
    pub fn health_checks(&self, role: Role, passed: bool) -> u64 {
        let result = if passed { "success" } else { "failure" };
        self.health_checks
            .with_label_values(&[role.as_str(), result])
            .get()
    }

    pub fn breaker_told(&self, worker: &Worker, success: bool, change: Option<Transition>) {
        let url = worker.url.as_str();
        let outcome = if success { "success" } else { "failure" };
        self.breaker_outcomes
            .with_label_values(&[url, outcome])
            .inc();
        if let Some(change) = change {
            self.breaker_transitions
                .with_label_values(&[url, change.from.as_str(), change.to.as_str()])
                .inc();
        }
    }

    pub fn state_changed(&self, change: Change) {
        self.state_changes
            .with_label_values(&[change.from.as_str(), change.to.as_str()])
            .inc();
    }

    pub fn role_changed(&self, from: Role, to: Role) {
        self.role_changes
            .with_label_values(&[from.as_str(), to.as_str()])
            .inc();
    }

    pub fn first_token(&self, worker: &Worker, role: Role, ttft: Duration) {
        self.ttft
            .with_label_values(&[worker.url.as_str(), role.as_str()])
            .observe(ttft.as_secs_f64());
    }

    pub fn prefilled(&self, worker: &Worker, after: Duration) {
        self.prefill
            .with_label_values(&[worker.url.as_str()])
            .observe(after.as_secs_f64());
    }

    pub fn kv_transferred(&self, decode: &Worker, gap: Duration) {
        self.kv_transfer_gap
            .with_label_values(&[decode.url.as_str()])
            .observe(gap.as_secs_f64());
    }

    /// Output tokens relayed from the worker so far.
    pub fn output_tokens(&self, worker: &Worker) -> u64 {
        self.output_tokens
            .with_label_values(&[worker.url.as_str()])
            .get()
    }

    /// The series of a worker's inter-token latency and output tokens, looked up once for a stream.
    pub fn stream(&self, worker: &Worker) -> (Histogram, IntCounter) {
        let labels = [worker.url.as_str()];
        (
            self.itl.with_label_values(&labels),
            self.output_tokens.with_label_values(&labels),
        )
    }
}
