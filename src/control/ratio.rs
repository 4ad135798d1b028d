//! The control tick: look, decide, write down. It runs beside the request path; should it die, serving goes on.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use policies::ratio::{Activity, Demand, FixedRatio, Observation, Plan, Split};
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::telemetry::journal::{Event, Kind};
use crate::telemetry::{FinishedRequest, Outcome, Telemetry};
use crate::workers::{LoadReport, WorkerRegistry, WorkerSet};

const TICK: Duration = Duration::from_secs(1);

/// Demand is that of the last ten seconds: some hundred requests on a busy fleet.
const DEMAND_WINDOW: Duration = Duration::from_secs(10);

/// Looks and decides once a second until `cancel`.
pub async fn run(
    registry: Arc<WorkerRegistry>,
    telemetry: Arc<Telemetry>,
    clock: Clock,
    planner: FixedRatio,
    cancel: CancellationToken,
) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut observer = Observer::default();
    let decisions = async {
        loop {
            ticks.tick().await;
            let now = clock.now();
            observer.requests.extend(telemetry.finished.drain());
            let plan = planner.plan(&observer.observe(now, &registry.snapshot()));
            record(&telemetry, now, plan);
        }
    };
    cancel.run_until_cancelled(decisions).await;
}

/// Counts the decision, and notes it where it isn't the one before.
fn record(telemetry: &Telemetry, now: Timestamp, plan: Plan) {
    telemetry.metrics.ratio.decided(&plan);
    let before = telemetry.plan.swap(Some(Arc::new(plan)));
    let decision = |plan: &Plan| (plan.action, plan.reason, plan.target);
    if before.is_some_and(|before| decision(&before) == decision(&plan)) {
        return;
    }
    tracing::info!(
        action = plan.action.as_str(),
        reason = plan.reason.as_str(),
        "the ratio controller decided anew"
    );
    let event = Event {
        kind: Kind::Decision,
        worker: None,
        from: None,
        to: Some(plan.action.as_str()),
        reason: Some(plan.reason.as_str().to_owned()),
    };
    telemetry.journal.note(now, event);
}

/// What an observation is made from.
#[derive(Default)]
struct Observer {
    /// That ended within the window, oldest first.
    requests: VecDeque<FinishedRequest>,
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
    fn observe(&mut self, now: Timestamp, set: &WorkerSet) -> Observation {
        Observation {
            split: Split {
                prefill: set.serving(Role::Prefill).len() as u32,
                decode: set.serving(Role::Decode).len() as u32,
            },
            demand: self.demand(now),
            activity: self.activity(set),
            oldest_report: oldest_report(now, set),
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

#[cfg(test)]
mod tests {
    use policies::lifecycle::WorkerEvent;
    use policies::ratio::Reason;

    use super::*;
    use crate::control::stand_in::Bench;
    use crate::telemetry::{Metrics, Slo, TokenCount};

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

    #[tokio::test(start_paused = true)]
    async fn a_decision_is_counted_each_second_and_noted_when_it_changes() {
        let mut bench = Bench::new([]);
        let workers =
            [Role::Prefill, Role::Decode].map(|role| bench.add(&format!("{role}:1"), role, |_| {}));
        for worker in &workers {
            bench.fleet.registry.apply(worker.id, WorkerEvent::Passed);
            worker.record_report(Some(LoadReport::default()));
        }
        let slo = Slo {
            ttft: Duration::from_secs(2),
            itl: Duration::from_millis(25),
        };
        let telemetry = Arc::new(Telemetry::new(Metrics::default(), slo));
        let planner = FixedRatio {
            model: policies::model::WorkerModel::default(),
            itl_seconds: 0.025,
        };
        bench.tasks.spawn(run(
            Arc::clone(&bench.fleet.registry),
            Arc::clone(&telemetry),
            bench.fleet.clock,
            planner,
            bench.cancel.clone(),
        ));
        bench.elapse(5.5).await;
        telemetry.finished.push(request(
            bench.fleet.clock.now(),
            Outcome::Completed,
            2048,
            128,
        ));
        bench.elapse(1.0).await;
        let entries = telemetry.journal.after(0, 10);
        let reasons: Vec<_> = entries
            .iter()
            .map(|entry| entry.event.reason.as_deref().unwrap())
            .collect();
        assert_eq!(
            reasons,
            [Reason::NoDemand.as_str(), Reason::FixedRatio.as_str()]
        );
        let text = telemetry
            .metrics
            .render(&bench.fleet.registry.snapshot(), bench.fleet.clock.now());
        let text = String::from_utf8(text).unwrap();
        let counted =
            r#"adaptive_router_controller_decisions_total{action="hold",reason="no_demand"} 6"#;
        assert!(text.contains(counted), "{text}");
        assert!(text.contains(r#"adaptive_router_controller_state{state="holding"} 1"#));
        bench.end().await;
    }
}
