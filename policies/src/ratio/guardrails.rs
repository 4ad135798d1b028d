//! What no planner may do. They wrap the planner, so that no plan outside them exists.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

use super::{Action, Observation, Plan, Planner, Reason};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardrailSettings {
    /// From the end of a move until the next may begin: what it did has to show first.
    pub cooldown: Duration,
    /// Moves that may begin within an hour: a planner that errs must not keep the fleet on the move.
    pub moves_per_hour: usize,
    /// A worker whose report is older is not known, and nothing is planned with what isn't known.
    pub stale: Duration,
}

impl Default for GuardrailSettings {
    fn default() -> Self {
        Self {
            cooldown: Duration::from_secs(10),
            moves_per_hour: 60,
            stale: Duration::from_secs(10),
        }
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// A planner within its guardrails.
#[derive(Debug, Clone)]
pub struct Guarded<P> {
    planner: P,
    settings: GuardrailSettings,
    /// When the moves of the last hour began.
    begun: VecDeque<Timestamp>,
    /// When a move was last seen under way.
    moving_at: Option<Timestamp>,
}

impl<P: Planner> Guarded<P> {
    pub fn new(planner: P, settings: GuardrailSettings) -> Self {
        Self {
            planner,
            settings,
            begun: VecDeque::new(),
            moving_at: None,
        }
    }

    /// Why nothing may be moved now, whatever the planner says.
    fn forbidden(&mut self, now: Timestamp, seen: &Observation) -> Option<Reason> {
        while let Some(first) = self.begun.front()
            && now.since(*first) > HOUR
        {
            self.begun.pop_front();
        }
        if seen.moving {
            self.moving_at = Some(now);
            return Some(Reason::Moving);
        }
        if seen.split.prefill == 0 || seen.split.decode == 0 {
            return Some(Reason::RoleUnserved);
        }
        if seen.missing > 0 {
            return Some(Reason::WorkerMissing);
        }
        if seen
            .oldest_report
            .is_none_or(|age| age > self.settings.stale)
        {
            return Some(Reason::StaleReadings);
        }
        if self
            .moving_at
            .is_some_and(|at| now.since(at) < self.settings.cooldown)
        {
            return Some(Reason::Cooldown);
        }
        (self.begun.len() >= self.settings.moves_per_hour).then_some(Reason::BudgetSpent)
    }
}

impl<P: Planner> Planner for Guarded<P> {
    /// The planner is asked each time, since what it learns from a look doesn't depend on what it may do.
    fn plan(&mut self, now: Timestamp, seen: &Observation) -> Plan {
        let plan = self.planner.plan(now, seen);
        let forbidden = self.forbidden(now, seen);
        // What keeps it from seeing or acting at all is told also where nothing was wanted.
        let always = matches!(
            forbidden,
            Some(
                Reason::Moving
                    | Reason::RoleUnserved
                    | Reason::WorkerMissing
                    | Reason::StaleReadings
            )
        );
        match (plan.action, forbidden) {
            (_, Some(reason)) if always => plan.held(reason, seen.split),
            (Action::Move, Some(reason)) => plan.held(reason, seen.split),
            (Action::Move, None) => match plan.donor {
                Some(donor) if seen.split.of(donor) >= 2 => {
                    self.begun.push_back(now);
                    self.moving_at = Some(now);
                    plan
                }
                _ => plan.held(Reason::LastWorker, seen.split),
            },
            (Action::Hold | Action::Advise, _) => plan,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::Split;
    use crate::worker::Role;

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
            assert_eq!(guarded.plan(at(second), &moving).reason, Reason::Moving);
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
}
