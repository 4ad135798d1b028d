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
mod tests;
