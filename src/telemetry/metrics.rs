//! The metrics: one explicit registry, every family made and described here.
//!
//! Families that the peer has and that mean the same keep the peer's names and labels (`smg_*`), so that dashboards go
//! on working; new ones are `adaptive_router_*`. Label sets are closed but for `worker` and `model`, and a worker's
//! series go when it goes.

use std::time::Duration;

use policies::worker::Role;
use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::workers::{BreakerState, Transition, WorkerSet};

/// Duration buckets where none are configured, in seconds: the peer's.
const DURATION_BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 45.0, 60.0,
    90.0, 120.0, 180.0, 240.0,
];

/// Label values of this router where the peer has several kinds.
const HTTP: &str = "http";

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub http_requests: IntCounterVec,
    pub http_responses: IntCounterVec,
    pub router_requests: IntCounterVec,
    pub request_outcomes: IntCounterVec,
    pub request_duration: HistogramVec,
    pub rate_limit: IntCounterVec,
    pub selections: IntCounterVec,
    pub worker_errors: IntCounterVec,
    pub retries: IntCounterVec,
    pub retries_exhausted: IntCounterVec,
    pub health_checks: IntCounterVec,
    breaker_transitions: IntCounterVec,
    breaker_state: IntGaugeVec,
    pool_size: IntGaugeVec,
    worker_in_flight: IntGaugeVec,
    worker_health: IntGaugeVec,
    worker_info: IntGaugeVec,
    pub in_flight: IntGaugeVec,
}

impl Metrics {
    /// `duration_buckets` in seconds; empty for the defaults.
    #[expect(clippy::too_many_lines, reason = "a flat list: one statement a family")]
    pub fn new(duration_buckets: &[f64]) -> Self {
        let registry = Registry::new();
        let buckets = if duration_buckets.is_empty() {
            DURATION_BUCKETS
        } else {
            duration_buckets
        };
        let counter = |name, help, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid family");
            registry
                .register(Box::new(family.clone()))
                .expect("each family is registered once");
            family
        };
        let gauge = |name, help, labels: &[&str]| {
            let family = IntGaugeVec::new(Opts::new(name, help), labels).expect("a valid family");
            registry
                .register(Box::new(family.clone()))
                .expect("each family is registered once");
            family
        };
        let histogram = |name, help, labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let family = HistogramVec::new(options, labels).expect("a valid family");
            registry
                .register(Box::new(family.clone()))
                .expect("each family is registered once");
            family
        };
        Self {
            http_requests: counter(
                "smg_http_requests_total",
                "HTTP requests received",
                &["method", "path"],
            ),
            http_responses: counter(
                "smg_http_responses_total",
                "HTTP responses sent, by status and the router's error code (empty where there is none)",
                &["status_code", "error_code"],
            ),
            router_requests: counter(
                "smg_router_requests_total",
                "Inference requests routed",
                &[
                    "router_type",
                    "backend_type",
                    "connection_mode",
                    "model",
                    "endpoint",
                    "streaming",
                ],
            ),
            request_outcomes: counter(
                "adaptive_router_requests_finished_total",
                "Accepted inference requests by how they ended: completed, failed or client_gone. Their sum plus \
                 adaptive_router_requests_in_flight is the number of requests accepted",
                &["endpoint", "outcome"],
            ),
            in_flight: gauge(
                "adaptive_router_requests_in_flight",
                "Accepted inference requests that have not ended",
                &["endpoint"],
            ),
            request_duration: histogram(
                "smg_router_request_duration_seconds",
                "From the request read to the response head",
                &["router_type", "backend_type", "model", "endpoint"],
            ),
            rate_limit: counter(
                "smg_http_rate_limit_total",
                "Requests at the concurrency and rate limits, by result",
                &["result"],
            ),
            selections: counter(
                "smg_worker_selection_total",
                "Workers picked for a leg",
                &["worker_type", "connection_mode", "model", "policy"],
            ),
            worker_errors: counter(
                "smg_worker_errors_total",
                "Failed legs by role and kind of failure",
                &["worker_type", "connection_mode", "error_type"],
            ),
            retries: counter(
                "smg_worker_retries_total",
                "Attempts after the first",
                &["worker_type", "endpoint"],
            ),
            retries_exhausted: counter(
                "smg_worker_retries_exhausted_total",
                "Requests that failed with every attempt",
                &["worker_type", "endpoint"],
            ),
            health_checks: counter(
                "smg_worker_health_checks_total",
                "Health checks of workers by result",
                &["worker_type", "result"],
            ),
            breaker_transitions: counter(
                "smg_worker_cb_transitions_total",
                "Circuit breaker changes of state",
                &["worker", "from", "to"],
            ),
            breaker_state: gauge(
                "smg_worker_cb_state",
                "Circuit breaker: 0 closed, 1 open, 2 half open",
                &["worker"],
            ),
            pool_size: gauge(
                "smg_worker_pool_size",
                "Workers that serve, by role",
                &["worker_type", "connection_mode", "model"],
            ),
            worker_in_flight: gauge(
                "smg_worker_requests_active",
                "Requests that this router has in flight on the worker",
                &["worker"],
            ),
            worker_health: gauge(
                "smg_worker_health",
                "1 where the worker serves, else 0",
                &["worker"],
            ),
            worker_info: gauge(
                "adaptive_router_worker_info",
                "The worker's role and lifecycle state; always 1",
                &["worker", "role", "state"],
            ),
            registry,
        }
    }

    /// A request was accepted.
    pub fn accepted(&self, endpoint: &str, model: &str, paired: bool, streaming: bool) {
        let streaming = if streaming { "true" } else { "false" };
        self.router_requests
            .with_label_values(&[HTTP, backend(paired), HTTP, model, endpoint, streaming])
            .inc();
    }

    pub fn answered(&self, endpoint: &str, model: &str, paired: bool, after: Duration) {
        let labels = [HTTP, backend(paired), model, endpoint];
        self.request_duration
            .with_label_values(&labels)
            .observe(after.as_secs_f64());
    }

    pub fn breaker_changed(&self, worker: &str, change: Transition) {
        self.breaker_transitions
            .with_label_values(&[worker, change.from.as_str(), change.to.as_str()])
            .inc();
    }

    pub fn picked(&self, role: Role, model: &str, policy: &str) {
        self.selections
            .with_label_values(&[role.as_str(), HTTP, model, policy])
            .inc();
    }

    pub fn leg_failed(&self, role: Role, kind: &str) {
        self.worker_errors
            .with_label_values(&[role.as_str(), HTTP, kind])
            .inc();
    }

    /// The exposition text. The workers' gauges are made from `set` each time, so that a worker that left leaves no
    /// series behind. `breaker` tells a worker's breaker state.
    pub fn render(
        &self,
        set: &WorkerSet,
        breaker: impl Fn(&crate::workers::Worker) -> BreakerState,
    ) -> Vec<u8> {
        for family in [
            &self.breaker_state,
            &self.pool_size,
            &self.worker_in_flight,
            &self.worker_health,
            &self.worker_info,
        ] {
            family.reset();
        }
        for member in set.members() {
            let worker = member.worker.url.as_str();
            let serves = member.state.admits_requests();
            let state = match breaker(&member.worker) {
                BreakerState::Closed => 0,
                BreakerState::Open => 1,
                BreakerState::HalfOpen => 2,
            };
            self.breaker_state.with_label_values(&[worker]).set(state);
            self.worker_in_flight
                .with_label_values(&[worker])
                .set(i64::from(member.worker.in_flight()));
            self.worker_health
                .with_label_values(&[worker])
                .set(i64::from(serves));
            self.worker_info
                .with_label_values(&[worker, member.role.as_str(), member.state.as_str()])
                .set(1);
            let model = member.worker.metadata();
            self.pool_size
                .with_label_values(&[member.role.as_str(), HTTP, &model.model_id])
                .add(i64::from(serves));
        }
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("a vector takes every byte");
        text
    }
}

const fn backend(paired: bool) -> &'static str {
    if paired { "pd" } else { "regular" }
}
