//! Gauges of workers: who they are, how loaded, how fast.
//!
//! They are made from the snapshot at each scrape, so that a worker that left leaves none behind.

use policies::lifecycle::WorkerState;
use policies::time::Timestamp;
use policies::worker::Role;
use prometheus::{GaugeVec, IntGaugeVec};

use super::catalogue::Catalogue;
use crate::workers::{BreakerState, FleetLatencies, Latencies, LoadReport, Member, WorkerSet};

const HTTP: &str = "http";

/// The quantiles that are shown of the last minute.
const QUANTILES: [(f64, &str); 3] = [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99")];

/// The states that a worker of a snapshot can be in.
const PRESENT: [WorkerState; 7] = [
    WorkerState::Starting,
    WorkerState::Serving,
    WorkerState::Unhealthy,
    WorkerState::Draining,
    WorkerState::Switching,
    WorkerState::Verifying,
    WorkerState::Failed,
];

/// Everything that is set anew at each scrape.
#[derive(Debug)]
pub(super) struct WorkerGauges {
    breaker_state: IntGaugeVec,
    breaker_failures: IntGaugeVec,
    pool_size: IntGaugeVec,
    in_flight: IntGaugeVec,
    health: IntGaugeVec,
    info: IntGaugeVec,
    workers: IntGaugeVec,
    queue: IntGaugeVec,
    pending_prompt_tokens: IntGaugeVec,
    places: IntGaugeVec,
    streams: IntGaugeVec,
    kv_tokens: IntGaugeVec,
    reading_age: GaugeVec,
    worker_ttft: GaugeVec,
    worker_itl: GaugeVec,
    fleet_ttft: GaugeVec,
    fleet_itl: GaugeVec,
    engine_running: IntGaugeVec,
    engine_waiting: IntGaugeVec,
    engine_token_usage: GaugeVec,
    engine_throughput: GaugeVec,
    engine_cache_hit_rate: GaugeVec,
    engine_transfer_latency: GaugeVec,
    engine_transfer_speed: GaugeVec,
}

impl WorkerGauges {
    #[expect(clippy::too_many_lines, reason = "a flat list: one statement a family")]
    pub(super) fn new(make: &mut Catalogue) -> Self {
        let engine = ["worker", "role"];
        Self {
            breaker_state: make.gauge(
                "smg_worker_cb_state",
                "Circuit breaker: 0 closed, 1 open, 2 half open",
                &["worker"],
            ),
            breaker_failures: make.gauge(
                "smg_worker_cb_consecutive_failures",
                "Failed legs in a row that the circuit breaker has on record",
                &["worker"],
            ),
            pool_size: make.gauge(
                "smg_worker_pool_size",
                "Workers that serve, by role",
                &["worker_type", "connection_mode", "model"],
            ),
            in_flight: make.gauge(
                "smg_worker_requests_active",
                "Requests that this router has in flight on the worker",
                &["worker"],
            ),
            health: make.gauge(
                "smg_worker_health",
                "1 where the worker serves, else 0",
                &["worker"],
            ),
            info: make.gauge(
                "adaptive_router_worker_info",
                "The worker's role and lifecycle state; always 1. Join on worker to get at them",
                &["worker", "role", "state"],
            ),
            workers: make.gauge(
                "adaptive_router_workers",
                "Workers by role and lifecycle state, zeros included. With state=\"serving\" it is the ratio",
                &["role", "state"],
            ),
            queue: make.gauge(
                "adaptive_router_worker_queue_requests",
                "Requests by where they are. queue=router: in flight by this router. The rest is the worker's own report: running, waiting (all that isn't running), and of the waiting bootstrap (prefill: decode has not pre-allocated), inflight (prefill: KV being sent), prealloc (decode: waits for KV memory), transfer (decode: KV arriving), retracted (decode: put back for lack of KV memory)",
                &["worker", "queue"],
            ),
            pending_prompt_tokens: make.gauge(
                "adaptive_router_worker_pending_prompt_tokens",
                "Estimated prompt tokens of the requests that this router has in flight on the worker. On a prefill worker: the work before it",
                &["worker"],
            ),
            places: make.gauge(
                "adaptive_router_worker_places",
                "With --wait-for-decode: requests that the decode worker may have in flight before others wait in the router. As many as it says it runs at a time, or fewer where its tokens would come further apart than --itl-slo-ms; no series where nothing bounds them",
                &["worker"],
            ),
            streams: make.gauge(
                "adaptive_router_worker_streams",
                "Streams of this router on the worker that are past their first token",
                &["worker"],
            ),
            kv_tokens: make.gauge(
                "adaptive_router_worker_kv_tokens",
                "Tokens in the worker's KV pool (kind=used) and how many it holds (kind=capacity), as the worker reports",
                &["worker", "kind"],
            ),
            reading_age: make.real_gauge(
                "adaptive_router_worker_reading_age_seconds",
                "Age of the last good load report of the worker; no series before the first",
                &["worker"],
            ),
            worker_ttft: make.real_gauge(
                "adaptive_router_worker_ttft_window_seconds",
                "Quantiles of the time to first token over the last minute, by worker, good to 1 %",
                &["worker", "quantile"],
            ),
            worker_itl: make.real_gauge(
                "adaptive_router_worker_itl_window_seconds",
                "Quantiles of the inter-token latency over the last minute, by worker, good to 1 %",
                &["worker", "quantile"],
            ),
            fleet_ttft: make.real_gauge(
                "adaptive_router_ttft_window_seconds",
                "Quantiles of the time to first token over the last minute, all workers, good to 1 %",
                &["quantile"],
            ),
            fleet_itl: make.real_gauge(
                "adaptive_router_itl_window_seconds",
                "Quantiles of the inter-token latency over the last minute, all workers, good to 1 %",
                &["quantile"],
            ),
            engine_running: make.gauge(
                "smg_engine_running_requests",
                "Requests in the worker's running batch, as it reports",
                &engine,
            ),
            engine_waiting: make.gauge(
                "smg_engine_waiting_requests",
                "Requests that wait in the worker, as it reports",
                &engine,
            ),
            engine_token_usage: make.real_gauge(
                "smg_engine_token_usage",
                "Share of the worker's KV pool in use, 0 to 1",
                &engine,
            ),
            engine_throughput: make.real_gauge(
                "smg_engine_gen_throughput",
                "Tokens a second that the worker generates, as it reports",
                &engine,
            ),
            engine_cache_hit_rate: make.real_gauge(
                "smg_engine_cache_hit_rate",
                "Share of prompt tokens that the worker found in its prefix cache, 0 to 1",
                &engine,
            ),
            engine_transfer_latency: make.real_gauge(
                "smg_engine_pd_kv_transfer_latency_ms",
                "Latency of KV transfers in milliseconds, as the worker reports (the peer's unit)",
                &engine,
            ),
            engine_transfer_speed: make.real_gauge(
                "smg_engine_pd_kv_transfer_speed_gb_s",
                "Speed of KV transfers in gigabytes a second, as the worker reports (the peer's unit)",
                &engine,
            ),
        }
    }

    /// Sets every gauge from `set`.
    pub(super) fn show(&self, set: &WorkerSet, now: Timestamp) {
        self.reset();
        self.show_split(set);
        for member in set.members() {
            self.show_worker(member, now);
        }
        let FleetLatencies { ttft, itl } = set.latencies(now);
        show_quantiles(&self.fleet_ttft, &[], &ttft);
        show_quantiles(&self.fleet_itl, &[], &itl);
    }

    fn reset(&self) {
        for family in [
            &self.breaker_state,
            &self.breaker_failures,
            &self.pool_size,
            &self.in_flight,
            &self.health,
            &self.info,
            &self.workers,
            &self.queue,
            &self.pending_prompt_tokens,
            &self.places,
            &self.streams,
            &self.kv_tokens,
            &self.engine_running,
            &self.engine_waiting,
        ] {
            family.reset();
        }
        for family in [
            &self.reading_age,
            &self.worker_ttft,
            &self.worker_itl,
            &self.fleet_ttft,
            &self.fleet_itl,
            &self.engine_token_usage,
            &self.engine_throughput,
            &self.engine_cache_hit_rate,
            &self.engine_transfer_latency,
            &self.engine_transfer_speed,
        ] {
            family.reset();
        }
    }

    fn show_split(&self, set: &WorkerSet) {
        for role in Role::ALL {
            for state in PRESENT {
                self.workers
                    .with_label_values(&[role.as_str(), state.as_str()])
                    .set(0);
            }
        }
        for member in set.members() {
            self.workers
                .with_label_values(&[member.role.as_str(), member.state.as_str()])
                .inc();
        }
    }

    fn show_worker(&self, member: &Member, now: Timestamp) {
        let worker = &member.worker;
        let url = worker.url.as_str();
        let (role, serves) = (member.role.as_str(), member.state.admits_requests());
        let breaker = match worker.breaker.state(now) {
            BreakerState::Closed => 0,
            BreakerState::Open => 1,
            BreakerState::HalfOpen => 2,
        };
        for (family, value) in [
            (&self.breaker_state, breaker),
            (
                &self.breaker_failures,
                i64::from(worker.breaker.consecutive().0),
            ),
            (&self.in_flight, i64::from(worker.in_flight())),
            (&self.health, i64::from(serves)),
            (
                &self.pending_prompt_tokens,
                whole(worker.stats.pending_prompt_tokens()),
            ),
            (&self.streams, i64::from(worker.stats.streams())),
        ] {
            family.with_label_values(&[url]).set(value);
        }
        self.info
            .with_label_values(&[url, role, member.state.as_str()])
            .set(1);
        self.pool_size
            .with_label_values(&[role, HTTP, &worker.metadata().model_id])
            .add(i64::from(serves));
        self.queue
            .with_label_values(&[url, "router"])
            .set(i64::from(worker.in_flight()));
        show_quantiles(&self.worker_ttft, &[url], &worker.stats.ttft.latencies(now));
        show_quantiles(&self.worker_itl, &[url], &worker.stats.itl.latencies(now));
        if member.role == Role::Decode
            && worker.is_waited_for()
            && let Some(places) = worker.places()
        {
            self.places.with_label_values(&[url]).set(whole(places));
        }
        if let Some(report) = worker.report().as_deref() {
            self.show_report(url, role, report, now);
        }
    }

    fn show_report(&self, url: &str, role: &str, report: &LoadReport, now: Timestamp) {
        for (queue, requests) in [
            ("running", report.running),
            ("waiting", report.waiting),
            ("bootstrap", report.bootstrap),
            ("inflight", report.inflight),
            ("prealloc", report.prealloc),
            ("transfer", report.transfer),
            ("retracted", report.retracted),
        ] {
            self.queue
                .with_label_values(&[url, queue])
                .set(whole(requests));
        }
        for (kind, tokens) in [
            ("used", report.used_tokens),
            ("capacity", report.capacity_tokens),
        ] {
            self.kv_tokens
                .with_label_values(&[url, kind])
                .set(whole(tokens));
        }
        self.reading_age
            .with_label_values(&[url])
            .set(now.since(report.at).as_secs_f64());
        let engine = [url, role];
        self.engine_running
            .with_label_values(&engine)
            .set(whole(report.running));
        self.engine_waiting
            .with_label_values(&engine)
            .set(whole(report.waiting));
        for (family, value) in [
            (&self.engine_token_usage, report.kv_usage()),
            (&self.engine_throughput, report.throughput),
            (&self.engine_cache_hit_rate, report.cache_hit_rate),
            (&self.engine_transfer_latency, report.kv_transfer_latency_ms),
            (&self.engine_transfer_speed, report.kv_transfer_gb_per_s),
        ] {
            family.with_label_values(&engine).set(value);
        }
    }
}

/// Nothing is shown of a window that holds nothing.
fn show_quantiles(family: &GaugeVec, labels: &[&str], latencies: &Latencies) {
    for (quantile, name) in QUANTILES {
        if let Some(latency) = latencies.quantile(quantile) {
            let labels: Vec<_> = labels.iter().copied().chain([name]).collect();
            family.with_label_values(&labels).set(latency.as_secs_f64());
        }
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
