//! Families of inference requests: how many, how long, how many tokens, how good.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::buckets::{Buckets, TOKENS};
use super::catalogue::Catalogue;
use super::labels::ModelLabels;
use crate::telemetry::queued::Queued;
use crate::telemetry::requests::{FinishedRequest, Outcome, Slo, TokenCount, Verdict};

/// Label values of this router where the peer has several kinds.
const HTTP: &str = "http";

/// Numbers of attempts as labels; what is beyond the last is many.
const ATTEMPTS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// What the labels of a request's families come from.
#[derive(Debug, Clone)]
pub struct RequestLabels {
    pub endpoint: &'static str,
    /// A name that was seen before, or one of the bounded number that are kept.
    pub model: Arc<str>,
    /// On a prefill/decode pair, not on a regular worker.
    pub paired: bool,
    pub streamed: bool,
}

impl RequestLabels {
    const fn backend(&self) -> &'static str {
        if self.paired { "pd" } else { "regular" }
    }

    const fn streaming(&self) -> &'static str {
        if self.streamed { "true" } else { "false" }
    }
}

#[derive(Debug)]
pub struct RequestFamilies {
    models: ModelLabels,
    requests: IntCounterVec,
    errors: IntCounterVec,
    head: HistogramVec,
    ttft: HistogramVec,
    tpot: HistogramVec,
    generation: HistogramVec,
    tokens: IntCounterVec,
    finished: IntCounterVec,
    in_flight: IntGaugeVec,
    queued: IntGauge,
    queued_prompt_tokens: IntGauge,
    queued_late: IntCounter,
    queue_wait: Histogram,
    total: HistogramVec,
    prompt_tokens: HistogramVec,
    output_tokens: HistogramVec,
    slo: IntCounterVec,
    good_output_tokens: IntCounter,
    slo_target: GaugeVec,
    retries: IntCounterVec,
    retries_exhausted: IntCounterVec,
    backoff: HistogramVec,
}

impl RequestFamilies {
    #[expect(clippy::too_many_lines, reason = "a flat list: one statement a family")]
    pub(super) fn new(make: &mut Catalogue, buckets: &Buckets) -> Self {
        let peer_labels = ["router_type", "backend_type", "model", "endpoint"];
        let families = Self {
            models: ModelLabels::default(),
            requests: make.counter(
                "smg_router_requests_total",
                "Inference requests accepted",
                &[
                    "router_type",
                    "backend_type",
                    "connection_mode",
                    "model",
                    "endpoint",
                    "streaming",
                ],
            ),
            errors: make.counter(
                "smg_router_request_errors_total",
                "Accepted inference requests that ended in an error before their answer began, by the error's code",
                &[
                    "router_type",
                    "backend_type",
                    "connection_mode",
                    "model",
                    "endpoint",
                    "error_type",
                ],
            ),
            head: make.histogram(
                "smg_router_request_duration_seconds",
                "From the request read to the head of its answer: all of an answer that isn't streamed, the first event of one that is",
                &peer_labels,
                &buckets.durations,
            ),
            ttft: make.histogram(
                "smg_router_ttft_seconds",
                "Time to first token of streamed answers: from the last byte of the request read to the first token handed to the client. Role chunks and response heads don't count",
                &peer_labels,
                &buckets.ttft,
            ),
            tpot: make.histogram(
                "smg_router_tpot_seconds",
                "Time per output token after the first, one observation a request: its mean time between tokens",
                &peer_labels,
                &buckets.itl,
            ),
            generation: make.histogram(
                "smg_router_generation_duration_seconds",
                "From the request read to the last byte of a completed answer",
                &peer_labels,
                &buckets.durations,
            ),
            tokens: make.counter(
                "smg_router_tokens_total",
                "Tokens of requests that ended: of prompts (input) and answers (output)",
                &["router_type", "backend_type", "model", "endpoint", "token_type"],
            ),
            finished: make.counter(
                "adaptive_router_requests_finished_total",
                "Accepted inference requests by how they ended: completed, failed, refused (the client's mistake) or client_gone. Their sum plus adaptive_router_requests_in_flight is the number of requests accepted",
                &["endpoint", "outcome"],
            ),
            in_flight: make.gauge(
                "adaptive_router_requests_in_flight",
                "Accepted inference requests that have not ended",
                &["endpoint"],
            ),
            queued: make
                .gauge(
                    "adaptive_router_requests_queued",
                    "Inference requests that wait in the router: for a place (--max-concurrent-requests) or for a prefill worker with room (--prefill-queue-tokens)",
                    &[],
                )
                .with_label_values::<&str>(&[]),
            queued_prompt_tokens: make
                .gauge(
                    "adaptive_router_queued_prompt_tokens",
                    "Estimated prompt tokens of the requests that wait in the router",
                    &[],
                )
                .with_label_values::<&str>(&[]),
            queued_late: make
                .counter(
                    "adaptive_router_queued_late_total",
                    "Inference requests that could no longer have their first token in time while they waited for a prefill worker with room",
                    &[],
                )
                .with_label_values::<&str>(&[]),
            queue_wait: make
                .histogram(
                    "adaptive_router_queue_wait_seconds",
                    "How long an accepted request waited in the router, for a place and for a prefill worker with room, all attempts together",
                    &[],
                    &buckets.durations,
                )
                .with_label_values::<&str>(&[]),
            total: make.histogram(
                "adaptive_router_request_seconds",
                "From the request read to the end of its answer, however it ended",
                &["endpoint", "streaming"],
                &buckets.durations,
            ),
            prompt_tokens: make.histogram(
                "adaptive_router_request_prompt_tokens",
                "Prompt length. source=usage is the worker's count, source=estimate is the prompt's bytes over four (or its token ids)",
                &["source"],
                TOKENS,
            ),
            output_tokens: make.histogram(
                "adaptive_router_request_output_tokens",
                "Answer length. source=usage is the worker's count, source=events counts one token per streamed chunk with text",
                &["source"],
                TOKENS,
            ),
            slo: make.counter(
                "adaptive_router_slo_requests_total",
                "Requests held to the targets, by result: good, ttft_missed, itl_missed, both_missed or failed. Streamed answers only, and failures of any kind; not clients' mistakes, and not clients that left in time",
                &["result"],
            ),
            good_output_tokens: make
                .counter(
                    "adaptive_router_slo_good_output_tokens_total",
                    "Output tokens of good requests: the goodput in tokens",
                    &[],
                )
                .with_label_values::<&str>(&[]),
            slo_target: make.real_gauge(
                "adaptive_router_slo_target_seconds",
                "What a streamed request is held to: latency=ttft is --ttft-slo-ms, latency=itl is --itl-slo-ms (the mean of a request)",
                &["latency"],
            ),
            retries: make.counter(
                "smg_worker_retries_total",
                "Attempts after the first, by the role that serves and the endpoint",
                &["worker_type", "endpoint"],
            ),
            retries_exhausted: make.counter(
                "smg_worker_retries_exhausted_total",
                "Requests that failed with every attempt",
                &["worker_type", "endpoint"],
            ),
            backoff: make.histogram(
                "smg_worker_retry_backoff_seconds",
                "Pause before an attempt, by its number",
                &["attempt"],
                &buckets.durations,
            ),
        };
        for verdict in Verdict::ALL {
            families.slo.with_label_values(&[verdict.as_str()]);
        }
        families
    }

    pub fn hold_to(&self, slo: Slo) {
        for (latency, target) in [("ttft", slo.ttft), ("itl", slo.itl)] {
            self.slo_target
                .with_label_values(&[latency])
                .set(target.as_secs_f64());
        }
    }

    /// What waits, to be kept up to date by those who make requests wait.
    pub fn queued(&self) -> Queued {
        let late = self.queued_late.clone();
        Queued::new(self.queued.clone(), self.queued_prompt_tokens.clone(), late)
    }

    pub fn model_label(&self, model: Option<&str>) -> Arc<str> {
        self.models.label(model)
    }

    pub fn accepted(&self, labels: &RequestLabels) {
        self.requests
            .with_label_values(&[
                HTTP,
                labels.backend(),
                HTTP,
                &labels.model,
                labels.endpoint,
                labels.streaming(),
            ])
            .inc();
        self.in_flight.with_label_values(&[labels.endpoint]).inc();
    }

    /// The answer's head is ready.
    pub fn answered(&self, labels: &RequestLabels, after: Duration) {
        self.head
            .with_label_values(&peer(labels))
            .observe(after.as_secs_f64());
    }

    /// No attempt brought an answer.
    pub fn failed(&self, labels: &RequestLabels, error: &str) {
        self.errors
            .with_label_values(&[
                HTTP,
                labels.backend(),
                HTTP,
                &labels.model,
                labels.endpoint,
                error,
            ])
            .inc();
    }

    pub fn first_token(&self, labels: &RequestLabels, ttft: Duration) {
        self.ttft
            .with_label_values(&peer(labels))
            .observe(ttft.as_secs_f64());
    }

    pub fn finished(
        &self,
        labels: &RequestLabels,
        request: &FinishedRequest,
        verdict: Option<Verdict>,
    ) {
        self.in_flight.with_label_values(&[labels.endpoint]).dec();
        self.finished
            .with_label_values(&[labels.endpoint, request.outcome.as_str()])
            .inc();
        self.queue_wait.observe(request.queue_wait.as_secs_f64());
        self.total
            .with_label_values(&[labels.endpoint, labels.streaming()])
            .observe(request.total.as_secs_f64());
        if let Some(tpot) = request.tpot {
            self.tpot
                .with_label_values(&peer(labels))
                .observe(tpot.as_secs_f64());
        }
        if request.outcome == Outcome::Completed {
            self.generation
                .with_label_values(&peer(labels))
                .observe(request.total.as_secs_f64());
        }
        self.count_tokens(labels, request);
        if let Some(verdict) = verdict {
            self.slo.with_label_values(&[verdict.as_str()]).inc();
        }
        if verdict == Some(Verdict::Good) {
            self.good_output_tokens
                .inc_by(u64::from(request.output.tokens));
        }
    }

    fn count_tokens(&self, labels: &RequestLabels, request: &FinishedRequest) {
        let source = |count: TokenCount, other| if count.reported { "usage" } else { other };
        for (count, family, estimated, kind) in [
            (request.prompt, &self.prompt_tokens, "estimate", "input"),
            (request.output, &self.output_tokens, "events", "output"),
        ] {
            if count.tokens == 0 {
                continue;
            }
            family
                .with_label_values(&[source(count, estimated)])
                .observe(f64::from(count.tokens));
            self.tokens
                .with_label_values(&[HTTP, labels.backend(), &labels.model, labels.endpoint, kind])
                .inc_by(u64::from(count.tokens));
        }
    }

    pub fn retried(&self, role: &str, endpoint: &str, attempt: u32, pause: Duration) {
        self.retries.with_label_values(&[role, endpoint]).inc();
        let number = ATTEMPTS[(attempt as usize).min(ATTEMPTS.len() - 1)];
        self.backoff
            .with_label_values(&[number])
            .observe(pause.as_secs_f64());
    }

    pub fn retries_exhausted(&self, role: &str, endpoint: &str) {
        self.retries_exhausted
            .with_label_values(&[role, endpoint])
            .inc();
    }

    /// Requests by verdict so far.
    pub fn judged(&self, verdict: Verdict) -> u64 {
        self.slo.with_label_values(&[verdict.as_str()]).get()
    }

    /// Requests that have ended, and those that have not.
    pub fn totals(&self) -> (u64, u64) {
        let ended = self.finished.collect();
        let ended = ended.iter().flat_map(MetricFamily::get_metric);
        let running = self.in_flight.collect();
        let running = running.iter().flat_map(MetricFamily::get_metric);
        (
            ended
                .map(|metric| metric.get_counter().get_value())
                .sum::<f64>() as u64,
            running
                .map(|metric| metric.get_gauge().get_value())
                .sum::<f64>() as u64,
        )
    }
}

fn peer(labels: &RequestLabels) -> [&str; 4] {
    [HTTP, labels.backend(), &labels.model, labels.endpoint]
}
