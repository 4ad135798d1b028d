//! One look at the fleet, as the page reads it: names carry their units, and what isn't known is `null`.

use policies::lifecycle::WorkerState;
use policies::ratio::{ControllerState, Plan};
use policies::time::Timestamp;
use policies::worker::Role;
use serde::Serialize;

use super::samples::Samples;
use crate::clock::Clock;
use crate::control::ratio::Steering;
use crate::telemetry::journal::{self, Kind};
use crate::telemetry::{Slo, Telemetry};
use crate::workers::{FleetLatencies, Latencies, LoadReport, Member, WorkerSet};

/// A frame with the journal entries that its reader hasn't seen.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    #[serde(flatten)]
    pub(super) frame: &'a Frame,
    pub(super) entries: Vec<Entry>,
}

/// What is looked at, and when.
pub(super) struct Look<'a> {
    pub(super) now: Timestamp,
    pub(super) clock: &'a Clock,
    pub(super) set: &'a WorkerSet,
    pub(super) telemetry: &'a Telemetry,
    /// Where the ratio controller runs.
    pub(super) steering: Option<&'a Steering>,
}

#[derive(Serialize)]
pub(super) struct Frame {
    /// Seconds since 1970.
    at: f64,
    version: &'static str,
    uptime_s: f64,
    mode: &'static str,
    controller: Controller,
    slo: Targets,
    fleet: Fleet,
    workers: Vec<Worker>,
}

/// A frame in outline.
#[derive(Clone, Serialize)]
pub(super) struct Point {
    at: f64,
    prefill: usize,
    decode: usize,
    regular: usize,
    ttft_p50_ms: Option<f64>,
    ttft_p99_ms: Option<f64>,
    itl_p50_ms: Option<f64>,
    itl_p99_ms: Option<f64>,
    in_flight: u64,
    queued: i64,
    attainment: Option<f64>,
    output_tokens_per_s: f64,
}

#[derive(Serialize)]
struct Controller {
    state: &'static str,
    /// Who moves workers; `null` without the ratio controller.
    mode: Option<&'static str>,
    pinned: Option<Pinned>,
    target: Option<Split>,
    reason: Option<&'static str>,
    prefill_utilisation: Option<f64>,
    decode_utilisation: Option<f64>,
    predicted_itl_ms: Option<f64>,
}

#[derive(Serialize)]
struct Pinned {
    split: String,
    /// Seconds since 1970.
    since: f64,
}

#[derive(Serialize)]
struct Split {
    prefill: u32,
    decode: u32,
}

#[derive(Serialize)]
struct Targets {
    ttft_ms: f64,
    itl_ms: f64,
}

#[derive(Serialize)]
struct Fleet {
    prefill: usize,
    decode: usize,
    regular: usize,
    requests_per_s: f64,
    output_tokens_per_s: f64,
    goodput_per_s: f64,
    attainment: Option<f64>,
    in_flight: u64,
    queued: i64,
    ttft: Option<Quantiles>,
    itl: Option<Quantiles>,
}

#[derive(Serialize)]
struct Worker {
    id: String,
    url: String,
    role: Role,
    state: WorkerState,
    state_age_s: f64,
    breaker: &'static str,
    trouble: Option<String>,
    in_flight: u32,
    streams: u32,
    pending_prompt_tokens: u64,
    output_tokens_per_s: f64,
    reading: Option<Reading>,
    ttft: Option<Quantiles>,
    itl: Option<Quantiles>,
}

#[derive(Serialize)]
struct Reading {
    age_s: f64,
    running: u64,
    waiting: u64,
    bootstrap: u64,
    inflight: u64,
    prealloc: u64,
    transfer: u64,
    retracted: u64,
    kv_usage: f64,
    kv_capacity_tokens: u64,
    throughput: f64,
}

#[derive(Clone, Copy, Serialize)]
struct Quantiles {
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    count: u64,
}

#[derive(Serialize)]
pub(super) struct Entry {
    seq: u64,
    at: f64,
    kind: Kind,
    worker: Option<String>,
    from: Option<&'static str>,
    to: Option<&'static str>,
    reason: Option<String>,
}

impl Entry {
    pub(super) fn of(entry: &journal::Entry, clock: &Clock) -> Self {
        let event = &entry.event;
        Self {
            seq: entry.seq,
            at: clock.unix_seconds(entry.at),
            kind: event.kind,
            worker: event.worker.as_deref().map(str::to_owned),
            from: event.from,
            to: event.to,
            reason: event.reason.clone(),
        }
    }
}

impl Frame {
    pub(super) fn of(look: &Look, samples: &Samples, paired: bool) -> Self {
        let (now, telemetry) = (look.now, look.telemetry);
        let workers: Vec<_> = look
            .set
            .members()
            .iter()
            .map(|member| Worker::of(member, now, samples))
            .collect();
        Self {
            at: look.clock.unix_seconds(now),
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: now.since(Timestamp::ZERO).as_secs_f64(),
            mode: if paired { "pd" } else { "regular" },
            controller: Controller::of(look),
            slo: Targets::of(telemetry.slo),
            fleet: Fleet::of(now, look.set, telemetry, samples, &workers),
            workers,
        }
    }

    pub(super) fn point(&self) -> Point {
        let fleet = &self.fleet;
        Point {
            at: self.at,
            prefill: fleet.prefill,
            decode: fleet.decode,
            regular: fleet.regular,
            ttft_p50_ms: fleet.ttft.map(|ttft| ttft.p50_ms),
            ttft_p99_ms: fleet.ttft.map(|ttft| ttft.p99_ms),
            itl_p50_ms: fleet.itl.map(|itl| itl.p50_ms),
            itl_p99_ms: fleet.itl.map(|itl| itl.p99_ms),
            in_flight: fleet.in_flight,
            queued: fleet.queued,
            attainment: fleet.attainment,
            output_tokens_per_s: fleet.output_tokens_per_s,
        }
    }
}

impl Controller {
    fn of(look: &Look) -> Self {
        let plan = look.telemetry.plan.load();
        let plan = plan.as_deref();
        let standing = look.steering.map(Steering::standing);
        let mode = look.steering.zip(standing.as_ref());
        let pinned = standing.as_ref().and_then(|standing| standing.pinned);
        let state = plan.map_or(ControllerState::Off, Plan::state);
        let predicted = plan.and_then(|plan| plan.predicted);
        Self {
            state: state.as_str(),
            mode: mode.map(|(steering, standing)| steering.mode(standing).as_str()),
            pinned: pinned.map(|pin| Pinned {
                split: pin.split.to_string(),
                since: look.clock.unix_seconds(pin.since),
            }),
            target: plan.map(|plan| Split {
                prefill: plan.target.prefill,
                decode: plan.target.decode,
            }),
            reason: plan.map(|plan| plan.reason.as_str()),
            prefill_utilisation: predicted.map(|share| share.prefill),
            decode_utilisation: predicted.map(|share| share.decode),
            predicted_itl_ms: plan
                .and_then(|plan| plan.predicted_itl)
                .map(|seconds| seconds * 1000.0),
        }
    }
}

impl Targets {
    fn of(slo: Slo) -> Self {
        Self {
            ttft_ms: slo.ttft.as_secs_f64() * 1000.0,
            itl_ms: slo.itl.as_secs_f64() * 1000.0,
        }
    }
}

impl Fleet {
    fn of(
        now: Timestamp,
        set: &WorkerSet,
        telemetry: &Telemetry,
        samples: &Samples,
        workers: &[Worker],
    ) -> Self {
        let FleetLatencies { ttft, itl } = set.latencies(now);
        let requests = &telemetry.metrics.requests;
        Self {
            prefill: set.serving(Role::Prefill).len(),
            decode: set.serving(Role::Decode).len(),
            regular: set.serving(Role::Regular).len(),
            requests_per_s: samples.requests_per_second(),
            output_tokens_per_s: workers
                .iter()
                .map(|worker| worker.output_tokens_per_s)
                .sum(),
            goodput_per_s: samples.good_per_second(),
            attainment: samples.attainment(),
            in_flight: requests.totals().1,
            queued: i64::try_from(requests.queued().requests()).unwrap_or(i64::MAX),
            ttft: Quantiles::of(&ttft),
            itl: Quantiles::of(&itl),
        }
    }
}

impl Worker {
    fn of(member: &Member, now: Timestamp, samples: &Samples) -> Self {
        let worker = &member.worker;
        Self {
            id: worker.uuid.to_string(),
            url: worker.url.to_string(),
            role: member.role,
            state: member.state,
            state_age_s: samples.state_age(worker.id, now).as_secs_f64(),
            breaker: worker.breaker.state(now).as_str(),
            trouble: worker.metadata().trouble.clone(),
            in_flight: worker.in_flight(),
            streams: worker.stats.streams(),
            pending_prompt_tokens: worker.stats.pending_prompt_tokens(),
            output_tokens_per_s: samples.output_tokens_per_second(worker.id),
            reading: worker
                .report()
                .as_deref()
                .map(|report| Reading::of(report, now)),
            ttft: Quantiles::of(&worker.stats.ttft.latencies(now)),
            itl: Quantiles::of(&worker.stats.itl.latencies(now)),
        }
    }
}

impl Reading {
    fn of(report: &LoadReport, now: Timestamp) -> Self {
        Self {
            age_s: now.since(report.at).as_secs_f64(),
            running: report.running,
            waiting: report.waiting,
            bootstrap: report.bootstrap,
            inflight: report.inflight,
            prealloc: report.prealloc,
            transfer: report.transfer,
            retracted: report.retracted,
            kv_usage: report.kv_usage(),
            kv_capacity_tokens: report.capacity_tokens,
            throughput: report.throughput,
        }
    }
}

impl Quantiles {
    fn of(latencies: &Latencies) -> Option<Self> {
        let ms = |quantile| Some(latencies.quantile(quantile)?.as_secs_f64() * 1000.0);
        Some(Self {
            p50_ms: ms(0.5)?,
            p90_ms: ms(0.9)?,
            p99_ms: ms(0.99)?,
            count: latencies.count(),
        })
    }
}
