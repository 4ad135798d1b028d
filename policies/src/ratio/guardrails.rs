//! What no planner may do. They wrap the planner, so that no plan outside them exists.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::worker::Role;

use super::{Action, Observation, Plan, Planner, Reason, Split};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardrailSettings {
    /// From the end of a move until the next may begin: what it did has to show first. The next one to the same target,
    /// which was decided with it, needn't wait.
    pub cooldown: Duration,
    /// Moves that may begin within an hour: a planner that errs must not keep the fleet on the move.
    pub moves_per_hour: usize,
    /// A worker whose report is older is not known, and nothing is planned with what isn't known.
    pub stale: Duration,
    /// From a move that failed until the next may begin: what made it fail may still be there, and each try takes a
    /// worker out of service.
    pub after_failure: Duration,
    /// Nothing is moved; what would be is said.
    pub advise_only: bool,
}

impl Default for GuardrailSettings {
    fn default() -> Self {
        Self {
            cooldown: Duration::from_secs(10),
            moves_per_hour: 60,
            stale: Duration::from_secs(10),
            after_failure: Duration::from_mins(5),
            advise_only: false,
        }
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// A planner within its guardrails. An operator who pins the split takes the planner's place, and overrides the
/// guardrails that are there for its errors; what would take a role out of service is refused to both.
#[derive(Debug, Clone)]
pub struct Guarded<P> {
    planner: P,
    settings: GuardrailSettings,
    /// When the moves of the last hour began.
    begun: VecDeque<Timestamp>,
    /// When a move was last seen under way.
    moving_at: Option<Timestamp>,
    last_move: Option<Leg>,
}

/// A move, as a part of the way to its target.
#[derive(Debug, Clone, Copy)]
struct Leg {
    /// The split once it has succeeded.
    after: Split,
    target: Split,
}

impl<P: Planner> Guarded<P> {
    pub fn new(planner: P, settings: GuardrailSettings) -> Self {
        Self {
            planner,
            settings,
            begun: VecDeque::new(),
            moving_at: None,
            last_move: None,
        }
    }

    /// Takes note of the time and of a move under way.
    fn look(&mut self, now: Timestamp, seen: &Observation) {
        while let Some(first) = self.begun.front()
            && now.since(*first) > HOUR
        {
            self.begun.pop_front();
        }
        if seen.moving {
            self.moving_at = Some(now);
        }
    }

    /// Why the fleet can't be planned for now, told also where nothing is wanted of it.
    fn blind(&self, seen: &Observation) -> Option<Reason> {
        let stale = |age| age > self.settings.stale;
        if seen.moving {
            Some(Reason::Moving)
        } else if seen.split.prefill == 0 || seen.split.decode == 0 {
            Some(Reason::RoleUnserved)
        } else if seen.pinned.is_some() {
            None
        } else if seen.missing > 0 {
            Some(Reason::WorkerMissing)
        } else {
            seen.oldest_report
                .is_none_or(stale)
                .then_some(Reason::StaleReadings)
        }
    }

    /// Whether a move from `split` to `target` is the next part of the way on which the last one was.
    fn goes_on(&self, split: Split, target: Split) -> bool {
        self.last_move
            .is_some_and(|leg| leg.after == split && leg.target == target)
    }

    /// Why a move of a worker of `donor` may not be made now.
    fn forbidden(
        &self,
        now: Timestamp,
        seen: &Observation,
        donor: Role,
        target: Split,
    ) -> Option<Reason> {
        let within = |since: Option<Duration>, pause| since.is_some_and(|since| since < pause);
        let since_move = self.moving_at.map(|at| now.since(at));
        if seen.split.of(donor) < 2 {
            Some(Reason::LastWorker)
        } else if seen.pinned.is_some() {
            None
        } else if within(seen.since_failed_move, self.settings.after_failure) {
            Some(Reason::MoveFailed)
        } else if within(since_move, self.settings.cooldown) && !self.goes_on(seen.split, target) {
            Some(Reason::Cooldown)
        } else {
            (self.begun.len() >= self.settings.moves_per_hour).then_some(Reason::BudgetSpent)
        }
    }
}

impl<P: Planner> Planner for Guarded<P> {
    /// The planner is asked each time, since what it learns from a look doesn't depend on what it may do.
    fn plan(&mut self, now: Timestamp, seen: &Observation) -> Plan {
        let plan = self.planner.plan(now, seen);
        let plan = match seen.pinned {
            Some(pinned) => towards(pinned, seen.split, plan),
            None => plan,
        };
        self.look(now, seen);
        if let Some(reason) = self.blind(seen) {
            let under_way = self.last_move.filter(|_| reason == Reason::Moving);
            return plan.held(reason, under_way.map_or(seen.split, |leg| leg.target));
        }
        let (Action::Move, Some(donor)) = (plan.action, plan.donor) else {
            return plan;
        };
        if let Some(reason) = self.forbidden(now, seen, donor, plan.target) {
            return plan.held(reason, seen.split);
        }
        if self.settings.advise_only || !seen.movable.of(donor) {
            return Plan {
                action: Action::Advise,
                ..plan
            };
        }
        self.begun.push_back(now);
        self.moving_at = Some(now);
        self.last_move = seen.split.moved(donor).map(|after| Leg {
            after,
            target: plan.target,
        });
        plan
    }
}

/// What is to be done for the split that an operator asked for. Where a worker is missing, the others may not be able to
/// make it, and stay.
fn towards(pinned: Split, split: Split, plan: Plan) -> Plan {
    let donor = if split.prefill > pinned.prefill && split.decode < pinned.decode {
        Some(Role::Prefill)
    } else if split.decode > pinned.decode && split.prefill < pinned.prefill {
        Some(Role::Decode)
    } else {
        None
    };
    Plan {
        action: donor.map_or(Action::Hold, |_| Action::Move),
        reason: Reason::Pinned,
        target: pinned,
        donor,
        ..plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::Movable;

    /// Wants to move a worker of a role at every look.
    struct Eager(Role);

    impl Planner for Eager {
        fn plan(&mut self, _now: Timestamp, seen: &Observation) -> Plan {
            Plan {
                action: Action::Move,
                reason: Reason::PrefillShort,
                target: seen.split.moved(self.0).unwrap_or(seen.split),
                donor: Some(self.0),
                predicted: None,
                measured: None,
                predicted_itl: None,
            }
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    /// Wants a split.
    struct Bound(Split);

    impl Planner for Bound {
        fn plan(&mut self, now: Timestamp, seen: &Observation) -> Plan {
            let donor = if self.0.prefill > seen.split.prefill {
                Role::Decode
            } else {
                Role::Prefill
            };
            Plan {
                target: self.0,
                ..Eager(donor).plan(now, seen)
            }
        }
    }

    #[test]
    fn the_second_move_to_the_same_target_needs_no_pause() {
        let split = |prefill, decode| Split { prefill, decode };
        let seen = |split| Observation { split, ..seen() };
        let mut planner = Guarded::new(Bound(split(3, 1)), GuardrailSettings::default());
        let first = planner.plan(at(0), &seen(split(1, 3)));
        assert_eq!((first.action, first.target), (Action::Move, split(3, 1)));
        let under_way = Observation {
            moving: true,
            ..seen(split(1, 2))
        };
        let waiting = planner.plan(at(1), &under_way);
        assert_eq!(
            (waiting.reason, waiting.target),
            (Reason::Moving, split(3, 1))
        );
        let second = planner.plan(at(2), &seen(split(2, 2)));
        assert_eq!(
            (second.action, second.donor),
            (Action::Move, Some(Role::Decode))
        );
        planner.planner = Bound(split(2, 2));
        let back = planner.plan(at(3), &seen(split(3, 1)));
        assert_eq!(back.reason, Reason::Cooldown);
    }

    fn seen() -> Observation {
        Observation {
            split: Split {
                prefill: 2,
                decode: 2,
            },
            oldest_report: Some(Duration::ZERO),
            ..Observation::default()
        }
    }

    fn guarded(moves_per_hour: usize) -> Guarded<Eager> {
        let settings = GuardrailSettings {
            moves_per_hour,
            ..GuardrailSettings::default()
        };
        Guarded::new(Eager(Role::Decode), settings)
    }

    #[test]
    fn nothing_is_moved_that_must_not_be() {
        let split = |prefill, decode| Split { prefill, decode };
        let cases = [
            (seen(), None),
            (
                Observation {
                    moving: true,
                    ..seen()
                },
                Some(Reason::Moving),
            ),
            (
                Observation {
                    split: split(3, 1),
                    ..seen()
                },
                Some(Reason::LastWorker),
            ),
            (
                Observation {
                    split: split(0, 4),
                    ..seen()
                },
                Some(Reason::RoleUnserved),
            ),
            (
                Observation {
                    missing: 1,
                    ..seen()
                },
                Some(Reason::WorkerMissing),
            ),
            (
                Observation {
                    oldest_report: Some(Duration::from_secs(11)),
                    ..seen()
                },
                Some(Reason::StaleReadings),
            ),
            (
                Observation {
                    since_failed_move: Some(Duration::from_secs(299)),
                    ..seen()
                },
                Some(Reason::MoveFailed),
            ),
            (
                Observation {
                    since_failed_move: Some(Duration::from_secs(300)),
                    ..seen()
                },
                None,
            ),
        ];
        for (seen, refused) in cases {
            let plan = guarded(60).plan(at(100), &seen);
            match refused {
                None => assert_eq!(plan.action, Action::Move),
                Some(reason) => {
                    assert_eq!((plan.action, plan.reason), (Action::Hold, reason));
                    assert_eq!((plan.target, plan.donor), (seen.split, None));
                }
            }
        }
    }

    #[test]
    fn a_move_is_followed_by_a_pause_from_its_end() {
        let mut guarded = guarded(60);
        assert_eq!(guarded.plan(at(0), &seen()).action, Action::Move);
        let moving = Observation {
            moving: true,
            ..seen()
        };
        for second in 1..=40 {
            let plan = guarded.plan(at(second), &moving);
            let after = Split {
                prefill: 3,
                decode: 1,
            };
            assert_eq!((plan.reason, plan.target), (Reason::Moving, after));
        }
        assert_eq!(guarded.plan(at(49), &seen()).reason, Reason::Cooldown);
        assert_eq!(guarded.plan(at(50), &seen()).action, Action::Move);
    }

    #[test]
    fn an_hour_has_a_budget() {
        let mut guarded = guarded(3);
        let moves =
            (0..3_600).filter(|second| guarded.plan(at(*second), &seen()).action == Action::Move);
        assert_eq!(moves.count(), 3);
        assert_eq!(
            guarded.plan(at(3_605), &seen()).action,
            Action::Move,
            "the first is an hour ago"
        );
    }

    #[test]
    fn what_nobody_here_can_move_or_may_move_is_advised() {
        let movable = Movable {
            prefill: true,
            decode: false,
        };
        let unmovable = Observation { movable, ..seen() };
        let dry = GuardrailSettings {
            advise_only: true,
            ..GuardrailSettings::default()
        };
        let mut dry_run = Guarded::new(Eager(Role::Decode), dry);
        for second in 0..100 {
            let plans = [
                guarded(1).plan(at(second), &unmovable),
                dry_run.plan(at(second), &seen()),
            ];
            for plan in plans {
                assert_eq!(
                    (plan.action, plan.reason, plan.target),
                    (
                        Action::Advise,
                        Reason::PrefillShort,
                        Split {
                            prefill: 3,
                            decode: 1
                        }
                    ),
                    "advice spends no budget and starts no pause"
                );
            }
        }
    }

    #[test]
    fn an_operator_overrides_the_planner_and_what_guards_against_its_errors() {
        let pinned = |prefill, decode| Observation {
            pinned: Some(Split { prefill, decode }),
            missing: 1,
            oldest_report: None,
            since_failed_move: Some(Duration::ZERO),
            ..seen()
        };
        let mut guarded = guarded(0);
        let decided = |plan: Plan| (plan.action, plan.reason, plan.donor);
        let cases = [
            (
                pinned(1, 3),
                (Action::Move, Reason::Pinned, Some(Role::Prefill)),
            ),
            (
                pinned(3, 1),
                (Action::Move, Reason::Pinned, Some(Role::Decode)),
            ),
            (pinned(2, 2), (Action::Hold, Reason::Pinned, None)),
            (pinned(2, 3), (Action::Hold, Reason::Pinned, None)),
            (
                Observation {
                    split: Split {
                        prefill: 3,
                        decode: 1,
                    },
                    ..pinned(4, 0)
                },
                (Action::Hold, Reason::LastWorker, None),
            ),
            (
                Observation {
                    moving: true,
                    ..pinned(3, 1)
                },
                (Action::Hold, Reason::Moving, None),
            ),
        ];
        for (seen, expected) in cases {
            assert_eq!(decided(guarded.plan(at(0), &seen)), expected);
        }
    }
}
