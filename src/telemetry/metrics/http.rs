//! Families of the HTTP side: what comes in at the door and what goes out.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::buckets::Buckets;
use super::catalogue::Catalogue;

#[derive(Debug)]
pub struct HttpFamilies {
    requests: IntCounterVec,
    responses: IntCounterVec,
    duration: HistogramVec,
    rate_limit: IntCounterVec,
    pub connections: IntGauge,
    pub body_bytes: IntGauge,
    pub bodies_refused: IntCounter,
}

impl HttpFamilies {
    pub(super) fn new(make: &mut Catalogue, buckets: &Buckets) -> Self {
        let families = Self {
            requests: make.counter(
                "smg_http_requests_total",
                "HTTP requests received, by method and route (ids in paths are not told apart)",
                &["method", "path"],
            ),
            responses: make.counter(
                "smg_http_responses_total",
                "HTTP responses sent, by status and the router's error code (empty where there is none)",
                &["status_code", "error_code"],
            ),
            duration: make.histogram(
                "smg_http_request_duration_seconds",
                "From an HTTP request's head to the head of its response",
                &["method", "path"],
                &buckets.durations,
            ),
            rate_limit: make.counter(
                "smg_http_rate_limit_total",
                "Inference requests at the concurrency and rate limits: allowed in, or rejected with 429 or 408",
                &["result"],
            ),
            connections: make
                .gauge(
                    "smg_http_connections_active",
                    "Client connections open on the main port",
                    &[],
                )
                .with_label_values::<&str>(&[]),
            body_bytes: make
                .gauge(
                    "adaptive_router_request_body_bytes",
                    "Bytes of inference requests' bodies in the router's memory, bounded by --max-request-memory",
                    &[],
                )
                .with_label_values::<&str>(&[]),
            bodies_refused: make
                .counter(
                    "adaptive_router_request_bodies_refused_total",
                    "Inference requests answered 503 because their bodies had no room under --max-request-memory",
                    &[],
                )
                .with_label_values::<&str>(&[]),
        };
        for result in ["allowed", "rejected"] {
            families.rate_limit.with_label_values(&[result]);
        }
        families
    }

    pub fn received(&self, method: &str, path: &str) {
        self.requests.with_label_values(&[method, path]).inc();
    }

    pub fn responded(
        &self,
        method: &str,
        path: &str,
        status: &str,
        error_code: &str,
        after: Duration,
    ) {
        self.responses
            .with_label_values(&[status, error_code])
            .inc();
        self.duration
            .with_label_values(&[method, path])
            .observe(after.as_secs_f64());
    }

    pub fn admitted(&self, allowed: bool) {
        let result = if allowed { "allowed" } else { "rejected" };
        self.rate_limit.with_label_values(&[result]).inc();
    }
}
