//! What is forbidden, whatever a planner wants.

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
