//! What the planner is shown: the fleet, what comes, and what is under way.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use policies::estimate::{CLASSES, ClassTraffic, Traffic, WorkerCounters};
use policies::lifecycle::WorkerState;
use policies::ratio::{Activity, Demand, Observation, Split, WorkerLoad};
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};

use crate::telemetry::demand::ClassTotals;
use crate::telemetry::{FinishedRequest, Outcome, Telemetry};
use crate::workers::{LoadReport, Member, WorkerSet};

/// Demand is that of the last ten seconds: some hundred requests on a busy fleet.
const DEMAND_WINDOW: Duration = Duration::from_secs(10);

/// By which old counts of prompt lengths fade at each look: a minute and a half.
const FADE: f64 = 0.99;

/// Between tokens, before any answer of two has ended: what the streams that run have got so far is guessed by it.
const ITL_GUESS: f64 = 0.01;

/// What an observation is made from.
#[derive(Default)]
pub(super) struct Observer {
    /// That ended within the window, oldest first.
    requests: VecDeque<FinishedRequest>,
    totals: [ClassTotals; CLASSES],
    lengths: [Lengths; CLASSES],
    /// The report of each prefill worker before the last one.
    before: HashMap<WorkerId, Busy>,
}

/// A prefill worker's pace: its cumulative busy time at its last report, and the share that it was busy before.
#[derive(Clone, Copy)]
struct Busy {
    at: Timestamp,
    micros: u64,
    share: Option<f64>,
}

impl Observer {
    /// What is to be seen now. What is under way, and what an operator wants, is for the caller to add.
    pub(super) fn observe(
        &mut self,
        now: Timestamp,
        set: &WorkerSet,
        telemetry: &Telemetry,
    ) -> Observation {
        self.requests.extend(telemetry.finished.drain());
        Observation {
            traffic: self.traffic(&telemetry.demand.totals(now)),
            loads: [Role::Prefill, Role::Decode]
                .into_iter()
                .flat_map(|role| set.serving(role).iter().map(load))
                .collect(),
            counters: [Role::Prefill, Role::Decode]
                .into_iter()
                .flat_map(|role| set.serving(role).iter().filter_map(counters))
                .collect(),
            missing: set
                .members()
                .iter()
                .filter(|member| is_missing(member))
                .count() as u32,
            split: Split {
                prefill: set.serving(Role::Prefill).len() as u32,
                decode: set.serving(Role::Decode).len() as u32,
            },
            demand: self.demand(now),
            activity: self.activity(set),
            oldest_report: oldest_report(now, set),
            ..Observation::default()
        }
    }

    /// Requests that ended stand for those that came: with a split that keeps up, as many do.
    fn demand(&mut self, now: Timestamp) -> Demand {
        while let Some(oldest) = self.requests.front()
            && now.since(oldest.at) > DEMAND_WINDOW
        {
            self.requests.pop_front();
        }
        let completed: Vec<_> = self
            .requests
            .iter()
            .filter(|request| request.outcome == Outcome::Completed)
            .collect();
        if completed.is_empty() {
            return Demand::default();
        }
        let count = completed.len() as f64;
        let mean = |tokens: fn(&FinishedRequest) -> u32| {
            let sum: f64 = completed
                .iter()
                .map(|request| f64::from(tokens(request)))
                .sum();
            sum / count
        };
        Demand {
            requests_per_second: count / DEMAND_WINDOW.as_secs_f64(),
            prompt_tokens: mean(|request| request.prompt.tokens),
            output_tokens: mean(|request| request.output.tokens),
        }
    }

    /// What came and ended since the last look. Prompts are estimated by their bytes when they come; what workers said of
    /// those that ended corrects the estimate.
    fn traffic(&mut self, totals: &[ClassTotals; CLASSES]) -> Traffic {
        for ((lengths, now), before) in self.lengths.iter_mut().zip(totals).zip(&self.totals) {
            lengths.add(now, before);
        }
        let all = self.lengths.iter().fold(Lengths::default(), Lengths::plus);
        let itl = self.itl_seconds();
        let mut traffic = Traffic::default();
        for (class, seen) in traffic.iter_mut().enumerate() {
            let (now, before) = (&totals[class], &self.totals[class]);
            let estimated = (now.estimated_tokens - before.estimated_tokens) as f64;
            let prompt_tokens = (estimated * all.tokens_per_estimated()).round();
            *seen = ClassTraffic {
                arrived: (now.arrived - before.arrived) as u32,
                prompt_tokens: prompt_tokens as u64,
                cached_tokens: (prompt_tokens * self.lengths[class].cached_share()) as u64,
                finished: (now.completed - before.completed) as u32,
                output_tokens: now.output_tokens - before.output_tokens,
                running: now.running as u32,
                generated_tokens: (now.running_micros as f64 / 1e6 / itl) as u64,
            };
        }
        self.totals = *totals;
        traffic
    }

    /// The mean time between tokens of the answers that ended within the window.
    fn itl_seconds(&self) -> f64 {
        let tpots = self.requests.iter().filter_map(|request| request.tpot);
        let (count, sum) = tpots.fold((0.0, 0.0), |(count, sum), tpot| {
            (count + 1.0, sum + tpot.as_secs_f64())
        });
        if sum > 0.0 { sum / count } else { ITL_GUESS }
    }

    fn activity(&mut self, set: &WorkerSet) -> Activity {
        self.before.retain(|id, _| set.by_id(*id).is_some());
        let mut shares = Vec::new();
        for member in set.serving(Role::Prefill).iter() {
            if let Some(report) = member.worker.report().as_deref() {
                shares.extend(self.busy_share(member.worker.id, report));
            }
        }
        let mut activity = Activity {
            prefill_busy: (!shares.is_empty())
                .then(|| shares.iter().sum::<f64>() / shares.len() as f64),
            ..Activity::default()
        };
        for member in set.serving(Role::Decode).iter() {
            if let Some(report) = member.worker.report().as_deref() {
                activity.running += report.running;
                activity.kv_tokens += report.used_tokens;
            }
        }
        activity
    }

    /// The share of the time between its last two reports that the worker computed.
    fn busy_share(&mut self, id: WorkerId, report: &LoadReport) -> Option<f64> {
        let mut busy = Busy {
            at: report.at,
            micros: report.prefill_busy_us,
            share: None,
        };
        if let Some(before) = self.before.get(&id) {
            let passed = report.at.since(before.at).as_micros() as f64;
            busy.share = if passed > 0.0 {
                // A worker that was started anew counts from zero.
                let computed = report.prefill_busy_us.saturating_sub(before.micros);
                Some((computed as f64 / passed).min(1.0))
            } else {
                before.share
            };
        }
        self.before.insert(id, busy);
        busy.share
    }
}

/// `None` where a serving worker has never reported.
fn oldest_report(now: Timestamp, set: &WorkerSet) -> Option<Duration> {
    let serving = [Role::Prefill, Role::Decode]
        .into_iter()
        .flat_map(|role| set.serving(role).iter());
    let ages = serving.map(|member| Some(now.since(member.worker.report().as_deref()?.at)));
    ages.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Prompts that workers counted, old ones faded.
#[derive(Debug, Clone, Copy, Default)]
struct Lengths {
    estimates: f64,
    reported: f64,
    cached: f64,
}

impl Lengths {
    fn add(&mut self, now: &ClassTotals, before: &ClassTotals) {
        let faded = |sum: f64, now: u64, before: u64| sum * FADE + (now - before) as f64;
        self.estimates = faded(
            self.estimates,
            now.reported_estimates,
            before.reported_estimates,
        );
        self.reported = faded(self.reported, now.reported_tokens, before.reported_tokens);
        self.cached = faded(self.cached, now.cached_tokens, before.cached_tokens);
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            estimates: self.estimates + other.estimates,
            reported: self.reported + other.reported,
            cached: self.cached + other.cached,
        }
    }

    fn tokens_per_estimated(&self) -> f64 {
        if self.estimates < 1.0 {
            return 1.0;
        }
        self.reported / self.estimates
    }

    fn cached_share(&self) -> f64 {
        if self.reported < 1.0 {
            return 0.0;
        }
        (self.cached / self.reported).min(1.0)
    }
}

/// Whether the worker should serve and doesn't. One that changes its role is on its way, and one that leaves isn't to.
fn is_missing(member: &Member) -> bool {
    let starts_or_is_ill = match member.state {
        WorkerState::Starting | WorkerState::Unhealthy | WorkerState::Failed => true,
        WorkerState::Serving
        | WorkerState::Draining
        | WorkerState::Switching
        | WorkerState::Verifying
        | WorkerState::Removed => false,
    };
    starts_or_is_ill && member.role != Role::Regular
}

/// What a serving worker has counted; `None` of one that reports no such sums.
fn counters(member: &Member) -> Option<WorkerCounters> {
    let report = member.worker.report();
    let report = report.as_deref()?;
    Some(WorkerCounters {
        worker: member.worker.id,
        role: member.role,
        prefill_tokens: report.prefilled_tokens,
        prefill_busy_us: report.prefill_busy_us,
        decode_moments: report.decode_moments.as_slice().try_into().ok()?,
    })
}

/// What a serving worker has in hand: of prefill what this router gave it, of decode what it reports.
fn load(member: &Member) -> WorkerLoad {
    let worker = &member.worker;
    let report = worker.report();
    let (running, waiting, kv_tokens) = report.as_deref().map_or_else(
        || (worker.in_flight(), 0, 0),
        |report| {
            let whole = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
            (
                whole(report.running),
                whole(report.waiting),
                report.used_tokens,
            )
        },
    );
    WorkerLoad {
        role: member.role,
        pending_prompt_tokens: worker.stats.pending_prompt_tokens(),
        running,
        waiting,
        kv_tokens,
    }
}

#[cfg(test)]
mod tests {
    use policies::lifecycle::WorkerEvent;

    use super::*;
    use crate::control::stand_in::Bench;
    use crate::telemetry::TokenCount;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn request(at: Timestamp, outcome: Outcome, prompt: u32, output: u32) -> FinishedRequest {
        let reported = |tokens| TokenCount {
            tokens,
            reported: true,
        };
        FinishedRequest {
            endpoint: "/generate",
            streamed: true,
            outcome,
            at,
            queue_wait: Duration::ZERO,
            total: Duration::ZERO,
            ttft: None,
            tpot: None,
            prompt: reported(prompt),
            output: reported(output),
            cached_tokens: None,
            prefill: None,
            serving: None,
        }
    }

    #[test]
    fn demand_is_what_completed_in_the_last_ten_seconds() {
        let mut observer = Observer::default();
        observer.requests.extend([
            request(at(1), Outcome::Completed, 9_999, 9_999),
            request(at(12), Outcome::Completed, 100, 10),
            request(at(13), Outcome::Failed, 9_999, 0),
            request(at(14), Outcome::Completed, 300, 30),
        ]);
        let demand = observer.demand(at(15));
        assert!((demand.requests_per_second - 0.2).abs() < 1e-9);
        assert!((demand.prompt_tokens - 200.0).abs() < 1e-9);
        assert!((demand.output_tokens - 20.0).abs() < 1e-9);
        assert_eq!(observer.demand(at(60)), Demand::default());
    }

    #[tokio::test]
    async fn a_prefill_worker_is_as_busy_as_its_counter_says() {
        let bench = Bench::new([]);
        let worker = bench.add("p:1", Role::Prefill, |_| {});
        bench.fleet.registry.apply(worker.id, WorkerEvent::Passed);
        let mut observer = Observer::default();
        let mut busy = |at, micros| {
            worker.record_report(Some(LoadReport {
                at,
                prefill_busy_us: micros,
                ..LoadReport::default()
            }));
            let activity = observer.activity(&bench.fleet.registry.snapshot());
            activity.prefill_busy.map(|share| (share * 100.0).round())
        };
        assert_eq!(busy(at(1), 5_000_000), None);
        assert_eq!(busy(at(2), 5_250_000), Some(25.0));
        assert_eq!(busy(at(2), 5_250_000), Some(25.0), "no newer report");
        assert_eq!(busy(at(3), 9_999_999), Some(100.0));
        assert_eq!(busy(at(4), 0), Some(0.0), "started anew");
    }
}
