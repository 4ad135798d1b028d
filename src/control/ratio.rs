//! The control tick: look, decide, write down, act. It runs beside the request path; should it die, serving goes on.
//!
//! The decision is the planner's, a pure function of what was seen ([`policies::ratio`]). What it decides on and what it
//! decides is written down, so that every decision can be made again. Acting is one role change at a time
//! ([`super::transition`]); how it ended shows in what is seen next.

mod means;
mod observe;
mod steering;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use policies::queue::Claim;
use policies::ratio::journal::{Decision, Head, Line};
use policies::ratio::{Action, Observation, Plan, Planner as _};
use policies::time::Timestamp;
use policies::worker::Role;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::means::MeansTable;
use self::observe::Observer;
use super::transition::{MoveError, Mover, Order};
use crate::telemetry::journal::{Event, Kind};
use crate::telemetry::{LineLog, Telemetry};
use crate::workers::{Worker, WorkerSet};

pub use steering::{FailedMove, Moving, Pin, Standing, Steering, SteeringMode};

const TICK: Duration = Duration::from_secs(1);

const HOUR: Duration = Duration::from_hours(1);

/// By which a new measurement of how long a worker is away counts against the old ones.
const NEWEST: f64 = 0.3;

/// What the control tick works with.
#[derive(Debug)]
pub struct Ratio {
    pub head: Head,
    pub mover: Mover,
    pub steering: Arc<Steering>,
    pub telemetry: Arc<Telemetry>,
    pub decision_log: Option<LineLog>,
    /// Whether requests wait in the router for a place on a decode worker.
    pub wait_for_decode: bool,
}

/// Looks, decides and acts once a second until `cancel`. A role change under way is left where it is: the worker is
/// found by its live role when a router looks again.
pub async fn run(ratio: Ratio, cancel: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tick = Tick::new(ratio);
    let decisions = async {
        loop {
            ticks.tick().await;
            tick.once();
        }
    };
    cancel.run_until_cancelled(decisions).await;
}

type Moved = (Arc<Worker>, Result<Duration, MoveError>);

struct Tick {
    ratio: Ratio,
    planner: policies::ratio::Guarded<Box<dyn policies::ratio::Planner + Send>>,
    observer: Observer,
    means: MeansTable,
    /// Role changes under way, at most `max_transitions`.
    moves: JoinSet<Moved>,
    /// Requests that had become late while they waited when it last looked.
    late: u64,
}

impl Tick {
    fn new(ratio: Ratio) -> Self {
        if let Some(log) = &ratio.decision_log {
            log.write(&Line::Head(Box::new(ratio.head.clone())));
        }
        Self {
            planner: ratio.head.planner(),
            observer: Observer::default(),
            means: MeansTable::new(
                ratio.mover.fleet.upstream.clone(),
                ratio.mover.processes.clone(),
            ),
            moves: JoinSet::new(),
            late: 0,
            ratio,
        }
    }

    fn once(&mut self) {
        let fleet = &self.ratio.mover.fleet;
        let (now, set) = (fleet.clock.now(), Arc::clone(&fleet.registry.snapshot()));
        while let Some(moved) = self.moves.try_join_next() {
            self.moved(now, moved);
        }
        self.means.look(&set);
        let seen = self.look(now, &set);
        let plan = self.planner.plan(now, &seen);
        self.write_down(Decision { now, seen, plan });
        if let (Action::Move, Some(donor)) = (plan.action, plan.donor) {
            self.begin(now, &set, donor);
        }
    }

    fn look(&mut self, now: Timestamp, set: &WorkerSet) -> Observation {
        let late = self.ratio.telemetry.queued.late();
        let turned_late = late - std::mem::replace(&mut self.late, late);
        let standing = self.ratio.steering.standing();
        let failed = standing.failed.as_ref();
        Observation {
            queued_prompt_tokens: self.ratio.telemetry.queued.prompt_tokens(),
            turned_late,
            decode_full: self.decode_is_full(set),
            moving: self.moves.len() >= self.ratio.mover.settings.max_at_once,
            movable: self.means.movable(set),
            pinned: standing.pinned.map(|pin| pin.split),
            since_failed_move: failed.map(|failed| now.since(failed.at)),
            away: standing.away.or_else(|| self.means.usual()),
            ..self.observer.observe(now, set, &self.ratio.telemetry)
        }
    }

    /// Whether requests wait because decode has no place for any.
    fn decode_is_full(&self, set: &WorkerSet) -> bool {
        let waits = self.ratio.wait_for_decode && self.ratio.telemetry.queued.requests() > 0;
        let has_place = |worker: &Worker| worker.has_place(Claim::Fresh);
        let decode = set.serving(Role::Decode);
        waits && !decode.is_empty() && !decode.iter().any(|member| has_place(&member.worker))
    }

    /// Takes the worker of `donor` with the least to finish out of service, and sees it into the other role.
    fn begin(&mut self, now: Timestamp, set: &WorkerSet, donor: Role) {
        let to = match donor {
            Role::Prefill => Role::Decode,
            Role::Decode | Role::Regular => Role::Prefill,
        };
        let left = |worker: &Worker| match donor {
            Role::Prefill => worker.stats.pending_prompt_tokens(),
            Role::Decode | Role::Regular => worker.in_flight().into(),
        };
        let serving = set.serving(donor);
        let can_move = |worker: &Arc<Worker>| Some((Arc::clone(worker), self.means.of(worker.id)?));
        let movable = serving.iter().filter_map(|member| can_move(&member.worker));
        let least = movable.min_by_key(|(worker, _)| left(worker));
        let (Some((worker, means)), true) = (least, serving.len() >= 2) else {
            return;
        };
        let moving = Moving {
            worker: worker.url.as_str().into(),
            from: donor,
            to,
            means,
            since: now,
        };
        self.ratio.steering.update(|standing| {
            standing.moving.push(moving);
            standing.begun.push_back(now);
            let within_the_hour = |begun: &Timestamp| now.since(*begun) <= HOUR;
            standing.begun.retain(within_the_hour);
        });
        let order = Order {
            worker,
            from: donor,
            to,
            means,
        };
        let mover = self.ratio.mover.clone();
        self.moves.spawn(async move {
            let result = mover.carry_out(&order).await;
            (order.worker, result)
        });
    }

    fn moved(&self, now: Timestamp, moved: Result<Moved, tokio::task::JoinError>) {
        let Ok((worker, result)) = moved else {
            // It panicked: what it left is the health loop's. Which one it was isn't known, so none is called moving.
            self.ratio
                .steering
                .update(|standing| standing.moving.clear());
            return;
        };
        let url: Arc<str> = worker.url.as_str().into();
        self.ratio.steering.update(|standing| {
            standing.moving.retain(|moving| moving.worker != url);
            standing.ended = Some(now);
            match result {
                Ok(away) => standing.away = Some(average(standing.away, away)),
                Err(error) => {
                    standing.failed = Some(FailedMove {
                        worker: url,
                        at: now,
                        reason: error.to_string(),
                    });
                }
            }
        });
    }

    /// Counts the decision, keeps it, and notes it where it isn't the one before.
    fn write_down(&self, decision: Decision) {
        let Ratio {
            telemetry,
            decision_log,
            steering,
            ..
        } = &self.ratio;
        let (now, plan) = (decision.now, decision.plan);
        let decision = Box::new(decision);
        if let Some(log) = decision_log {
            log.write(&Line::Decision(decision.clone()));
        }
        steering.decided(Arc::from(decision));
        telemetry.metrics.ratio.decided(&plan);
        let before = telemetry.plan.swap(Some(Arc::new(plan)));
        if before.is_none_or(|before| gist(&before) != gist(&plan)) {
            note(telemetry, now, &plan);
        }
    }
}

/// What of a plan is news when it changes.
fn gist(plan: &Plan) -> impl PartialEq {
    (plan.action, plan.reason, plan.target)
}

fn note(telemetry: &Telemetry, now: Timestamp, plan: &Plan) {
    tracing::info!(
        action = plan.action.as_str(),
        reason = plan.reason.as_str(),
        target = %plan.target,
        "the ratio controller decided anew"
    );
    let event = Event {
        kind: Kind::Decision,
        worker: None,
        from: None,
        to: Some(plan.action.as_str()),
        reason: Some(in_words(plan)),
    };
    telemetry.journal.note(now, event);
}

fn in_words(plan: &Plan) -> String {
    let mut words = format!("{}: {}", plan.target, plan.reason.explanation());
    if let Some(share) = plan.predicted {
        let (prefill, decode) = (share.prefill * 100.0, share.decode * 100.0);
        // A String takes all that it is given.
        let _ = write!(
            words,
            " (prefill at {prefill:.0} %, decode at {decode:.0} %)"
        );
    }
    words
}

fn average(before: Option<Duration>, newest: Duration) -> Duration {
    before.map_or(newest, |before| {
        before.mul_f64(1.0 - NEWEST) + newest.mul_f64(NEWEST)
    })
}

#[cfg(test)]
mod tests {
    use policies::lifecycle::WorkerEvent;
    use policies::model::WorkerModel;
    use policies::ratio::{GuardrailSettings, PlannerSettings, Reason, Split};
    use policies::worker::Role;

    use super::*;
    use crate::config::Config;
    use crate::control::stand_in::{Bench, Reply, StandIn};
    use crate::telemetry::{FinishedRequest, Metrics, Outcome, Slo, TokenCount};
    use crate::workers::LoadReport;

    /// A controller of a planner that never moves by itself, over serving workers `p0:1`, `p1:1`, `d0:1`, `d1:1`.
    struct Rig {
        bench: Bench,
        telemetry: Arc<Telemetry>,
        steering: Arc<Steering>,
    }

    impl Rig {
        fn new(stand_in: &StandIn) -> Self {
            let names = ["p0:1", "p1:1", "d0:1", "d1:1"];
            let bootstraps = names.map(|name| name.replace(":1", ":9000"));
            let addresses = names
                .iter()
                .copied()
                .chain(bootstraps.iter().map(|name| &**name));
            let mut bench = Bench::new(addresses.map(|address| (address, stand_in)));
            for name in names {
                let role = if name.starts_with('p') {
                    Role::Prefill
                } else {
                    Role::Decode
                };
                let worker = bench.add(name, role, |spec| spec.bootstrap_port = Some(9000));
                bench.fleet.registry.apply(worker.id, WorkerEvent::Passed);
                worker.record_report(Some(LoadReport::default()));
            }
            let slo = Slo {
                ttft: Duration::from_secs(2),
                itl: Duration::from_millis(25),
            };
            let telemetry = Arc::new(Telemetry::new(Metrics::default(), slo));
            bench.fleet.metrics = Arc::clone(&telemetry.metrics);
            let head = Head {
                model: WorkerModel::default(),
                itl_seconds: 0.025,
                planner: PlannerSettings::Fixed,
                guardrails: GuardrailSettings::default(),
            };
            let steering = Arc::new(Steering::new(head.clone()));
            let config = Config::default();
            let ratio = Ratio {
                head,
                mover: Mover {
                    fleet: bench.fleet.clone(),
                    processes: None,
                    settings: config.ratio.transition,
                    health: config.health,
                },
                steering: Arc::clone(&steering),
                telemetry: Arc::clone(&telemetry),
                decision_log: None,
                wait_for_decode: true,
            };
            bench.tasks.spawn(run(ratio, bench.cancel.clone()));
            Self {
                bench,
                telemetry,
                steering,
            }
        }

        fn pin(&self, split: Option<Split>) {
            self.steering.pin(self.bench.fleet.clock.now(), split);
        }

        fn split(&self) -> String {
            let set = self.bench.fleet.registry.snapshot();
            let split = Split {
                prefill: set.serving(Role::Prefill).len() as u32,
                decode: set.serving(Role::Decode).len() as u32,
            };
            split.to_string()
        }

        fn reason(&self) -> Reason {
            self.steering.latest().unwrap().plan.reason
        }

        fn metrics(&self) -> String {
            let Bench { fleet, .. } = &self.bench;
            let set = fleet.registry.snapshot();
            let text = fleet.metrics.render(&set, fleet.clock.now());
            String::from_utf8(text).unwrap()
        }
    }

    /// Answers as a worker that can change its role in place.
    fn switchable() -> StandIn {
        let info = r#"{"enable_pd_role_switch":true,"disable_radix_cache":true,
            "disaggregation_transfer_backend":"mooncake","internal_states":[{}]}"#;
        StandIn::default()
            .with("/server_info", Reply::json(info))
            .with(
                "/pd_role_switch",
                Reply::json(r#"{"success":true,"message":"ok"}"#),
            )
            .with("/generate", Reply::json("{}"))
            .with("/route", Reply::Status(200))
            .with("/ready", Reply::Status(200))
    }

    #[tokio::test(start_paused = true)]
    async fn a_decision_is_counted_each_second_and_noted_when_it_changes() {
        let mut rig = Rig::new(&StandIn::default());
        rig.bench.elapse(5.5).await;
        rig.telemetry.finished.push(FinishedRequest {
            endpoint: "/generate",
            streamed: true,
            outcome: Outcome::Completed,
            at: rig.bench.fleet.clock.now(),
            queue_wait: Duration::ZERO,
            total: Duration::ZERO,
            ttft: None,
            tpot: None,
            prompt: TokenCount {
                tokens: 2048,
                reported: true,
            },
            output: TokenCount {
                tokens: 128,
                reported: true,
            },
            cached_tokens: None,
            prefill: None,
            serving: None,
        });
        rig.bench.elapse(1.0).await;
        let entries = rig.telemetry.journal.after(0, 10);
        let reasons: Vec<_> = entries
            .iter()
            .map(|entry| entry.event.reason.as_deref().unwrap())
            .collect();
        assert_eq!(reasons.len(), 2);
        for (reason, expected) in reasons.iter().zip([
            "2P2D: no request ended lately: there is nothing to plan for",
            "2P2D: the split is not to be changed (prefill at 0 %, decode at 0 %)",
        ]) {
            assert_eq!(*reason, expected);
        }
        let text = rig.metrics();
        for expected in [
            r#"adaptive_router_controller_decisions_total{action="hold",reason="no_demand"} 6"#,
            r#"adaptive_router_controller_state{state="holding"} 1"#,
        ] {
            assert!(text.contains(expected), "{text}");
        }
        assert_eq!(
            rig.steering.decisions(Timestamp::ZERO, 100).len(),
            6,
            "all but the one at 0"
        );
        rig.bench.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_moves_workers_one_by_one_and_back() {
        let mut rig = Rig::new(&switchable());
        rig.bench.elapse(3.5).await;
        for (pinned, moves) in [("1P3D", 1), ("3P1D", 3), ("2P2D", 4)] {
            rig.pin(pinned.parse().ok());
            rig.bench.elapse(10.0).await;
            assert_eq!((&*rig.split(), rig.reason()), (pinned, Reason::Pinned));
            assert_eq!(rig.steering.standing().begun.len(), moves);
        }
        let standing = rig.steering.standing();
        assert!(standing.moving.is_empty() && standing.failed.is_none());
        let moved =
            r#"transitions_total{from="decode",means="in_place",result="success",to="prefill"} 2"#;
        assert!(rig.metrics().contains(moved), "{}", rig.metrics());
        rig.bench.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_can_move_is_advised_and_a_move_that_fails_is_told() {
        let plain = StandIn::default().with("/server_info", Reply::json("{}"));
        let mut rig = Rig::new(&plain);
        rig.pin("3P1D".parse().ok());
        rig.bench.elapse(5.5).await;
        let plan = rig.steering.latest().unwrap().plan;
        assert_eq!((plan.action, &*rig.split()), (Action::Advise, "2P2D"));
        rig.bench.end().await;

        let refusing =
            r#"{"success":false,"message":"no memory for graphs","safe_to_restore":true}"#;
        let refuses = switchable().with("/pd_role_switch", Reply::json(refusing));
        let mut rig = Rig::new(&refuses);
        rig.bench.elapse(2.5).await;
        rig.pin("3P1D".parse().ok());
        rig.bench.elapse(1.0).await;
        rig.pin(None);
        rig.bench.elapse(3.0).await;
        let failed = rig.steering.standing().failed.unwrap();
        assert!(
            failed.reason.contains("no memory for graphs"),
            "{}",
            failed.reason
        );
        assert_eq!(rig.split(), "2P2D", "the worker serves on");
        let failures = "adaptive_router_controller_failed_transitions_total 1";
        assert!(rig.metrics().contains(failures));
        rig.bench.end().await;
    }
}
