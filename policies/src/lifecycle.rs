//! The life of a worker: one total table of states and events.
//!
//! ```text
//!                       ┌───────────── cancelled ───────────┐
//!                       │                                   ▼
//! Serving ──drain──► Draining ──emptied──► Switching ──► Verifying ──passed──► Serving
//!   ▲                                          │            │
//!   │                                          └──gave up───┤
//! passed                                                    ▼
//!   └────────────── Starting ◄───────── relaunched ──────  Failed
//! ```
//! `Serving` is entered by `Passed` and by nothing else: no way around a check exists, also not through a role change, a
//! relaunch or a drain that was called off. Beside the lines drawn:
//!
//! * A serving worker that gives up is `Unhealthy`, and serves again when its checks pass. A starting one is `Failed`.
//! * A drain may also begin while `Starting` or `Unhealthy`. What the worker was before is not kept, so a drain that is
//!   called off ends in `Verifying`: a look at the worker and a canary request, well under a second.
//! * A draining worker can't give up: it gets nothing new anyway, and becomes empty or is removed.
//! * An unhealthy worker can be relaunched as a failed one can.
//! * Every worker can be `Removed` at any time, and that is the end.
//!
//! The table is the only place that says what may follow what: live code and simulator ask it and have no rule of
//! their own.

use serde::{Deserialize, Serialize};

/// Where a worker stands. Only a `Serving` worker is given requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Registered, not yet seen ready.
    Starting,
    /// Admits requests.
    Serving,
    /// Was serving, failed its health checks; comes back by itself.
    Unhealthy,
    /// Admits nobody; finishes what it has.
    Draining,
    /// Empty; its role is being changed.
    Switching,
    /// In the role it is to have; not yet shown to work.
    Verifying,
    /// Given up until something relaunches or removes it.
    Failed,
    /// Gone; the end.
    Removed,
}

impl WorkerState {
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Serving,
        Self::Unhealthy,
        Self::Draining,
        Self::Switching,
        Self::Verifying,
        Self::Failed,
        Self::Removed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Switching => "switching",
            Self::Verifying => "verifying",
            Self::Failed => "failed",
            Self::Removed => "removed",
        }
    }

    pub const fn admits_requests(self) -> bool {
        matches!(self, Self::Serving)
    }
}

/// What can happen to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerEvent {
    /// Health checks passed as often as the threshold asks, or a canary request came through.
    Passed,
    /// Health checks failed as often as the threshold asks, or a deadline ran out.
    GaveUp,
    /// Somebody asked to stop admitting: removal or a role change.
    DrainRequested,
    /// A drain was called off before anything changed; the worker is to be checked.
    DrainCancelled,
    /// Nothing is in flight any more and the worker is to change its role.
    Emptied,
    /// The worker runs in its new role (or again in the old one) and is to be checked.
    Switched,
    /// The process was started anew.
    Relaunched,
    /// The worker leaves the set.
    Removed,
}

impl WorkerEvent {
    pub const ALL: [Self; 8] = [
        Self::Passed,
        Self::GaveUp,
        Self::DrainRequested,
        Self::DrainCancelled,
        Self::Emptied,
        Self::Switched,
        Self::Relaunched,
        Self::Removed,
    ];
}

/// The state after `event`, or `None` where the event has no meaning in `state` and must be dropped.
///
/// Total: every pair of state and event is answered.
pub const fn next(state: WorkerState, event: WorkerEvent) -> Option<WorkerState> {
    use WorkerEvent as E;
    use WorkerState as S;
    match (state, event) {
        (S::Removed, _) => None,
        (_, E::Removed) => Some(S::Removed),

        (S::Starting | S::Unhealthy | S::Verifying, E::Passed) => Some(S::Serving),
        (S::Starting | S::Switching | S::Verifying, E::GaveUp) => Some(S::Failed),
        (S::Serving, E::GaveUp) => Some(S::Unhealthy),
        (S::Serving | S::Unhealthy | S::Starting, E::DrainRequested) => Some(S::Draining),
        (S::Draining, E::Emptied) => Some(S::Switching),
        (S::Switching, E::Switched) | (S::Draining, E::DrainCancelled) => Some(S::Verifying),
        (S::Failed | S::Unhealthy, E::Relaunched) => Some(S::Starting),

        (
            S::Serving | S::Draining | S::Switching | S::Failed,
            E::Passed
            | E::GaveUp
            | E::DrainRequested
            | E::DrainCancelled
            | E::Emptied
            | E::Switched
            | E::Relaunched,
        )
        | (
            S::Starting | S::Unhealthy | S::Verifying,
            E::GaveUp
            | E::DrainRequested
            | E::DrainCancelled
            | E::Emptied
            | E::Switched
            | E::Relaunched,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    use WorkerEvent as E;
    use WorkerState as S;

    fn events() -> impl Strategy<Value = Vec<WorkerEvent>> {
        // Removal ends the walk, so it is rare.
        let event = (0..100_usize).prop_map(|n| E::ALL.get(n % 15).copied().unwrap_or(E::Passed));
        proptest::collection::vec(event, 0..60)
    }

    /// The states that a worker goes through, dropping events that have no meaning.
    fn walk(
        from: WorkerState,
        events: &[WorkerEvent],
    ) -> Vec<(WorkerState, WorkerEvent, WorkerState)> {
        let mut state = from;
        let mut steps = Vec::new();
        for &event in events {
            if let Some(after) = next(state, event) {
                steps.push((state, event, after));
                state = after;
            }
        }
        steps
    }

    fn reachable(from: WorkerState, avoiding: &[WorkerState]) -> HashSet<WorkerState> {
        let mut found = HashSet::from([from]);
        let mut open = vec![from];
        while let Some(state) = open.pop() {
            let successors = E::ALL.into_iter().filter_map(|event| next(state, event));
            for after in successors.filter(|after| !avoiding.contains(after)) {
                if found.insert(after) {
                    open.push(after);
                }
            }
        }
        found
    }

    #[test]
    fn the_table_is_as_documented() {
        let expected = [
            (S::Starting, E::Passed, S::Serving),
            (S::Starting, E::GaveUp, S::Failed),
            (S::Starting, E::DrainRequested, S::Draining),
            (S::Serving, E::GaveUp, S::Unhealthy),
            (S::Serving, E::DrainRequested, S::Draining),
            (S::Unhealthy, E::Passed, S::Serving),
            (S::Unhealthy, E::DrainRequested, S::Draining),
            (S::Unhealthy, E::Relaunched, S::Starting),
            (S::Draining, E::DrainCancelled, S::Verifying),
            (S::Draining, E::Emptied, S::Switching),
            (S::Switching, E::GaveUp, S::Failed),
            (S::Switching, E::Switched, S::Verifying),
            (S::Verifying, E::Passed, S::Serving),
            (S::Verifying, E::GaveUp, S::Failed),
            (S::Failed, E::Relaunched, S::Starting),
        ];
        let mut found = Vec::new();
        for state in S::ALL {
            for event in E::ALL.into_iter().filter(|event| *event != E::Removed) {
                found.extend(next(state, event).map(|after| (state, event, after)));
            }
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn every_state_but_removed_can_be_removed_and_removed_is_the_end() {
        for state in S::ALL {
            let expected = (state != S::Removed).then_some(S::Removed);
            assert_eq!(next(state, E::Removed), expected);
        }
        for event in E::ALL {
            assert_eq!(next(S::Removed, event), None);
        }
    }

    #[test]
    fn only_a_serving_worker_admits_requests() {
        let admitting: Vec<_> = S::ALL
            .into_iter()
            .filter(|state| state.admits_requests())
            .collect();
        assert_eq!(admitting, [S::Serving]);
    }

    #[test]
    fn a_role_change_ends_where_it_began() {
        let events = [E::DrainRequested, E::Emptied, E::Switched, E::Passed];
        let states: Vec<_> = walk(S::Serving, &events)
            .into_iter()
            .map(|(_, _, after)| after)
            .collect();
        assert_eq!(
            states,
            [S::Draining, S::Switching, S::Verifying, S::Serving]
        );
    }

    #[test]
    fn every_state_is_reachable_and_none_but_removed_is_a_trap() {
        assert_eq!(reachable(S::Starting, &[]).len(), S::ALL.len());
        for state in S::ALL.into_iter().filter(|state| *state != S::Removed) {
            assert!(reachable(state, &[]).contains(&S::Serving), "{state:?}");
        }
    }

    #[test]
    fn nothing_leads_from_switching_to_serving_around_verification_and_a_fresh_start() {
        let around = reachable(S::Switching, &[S::Verifying, S::Starting]);
        assert!(!around.contains(&S::Serving));
        assert!(reachable(S::Switching, &[S::Starting]).contains(&S::Serving));
    }

    #[test]
    fn names_are_the_serialised_form() {
        for state in S::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    proptest! {
        #[test]
        fn nothing_serves_without_having_passed_a_check(start in 0..S::ALL.len(), events in events()) {
            for (_, event, after) in walk(S::ALL[start], &events) {
                prop_assert_eq!(after.admits_requests(), event == E::Passed);
            }
        }

        #[test]
        fn a_removed_worker_stays_removed(before in events(), after in events()) {
            let with_removal: Vec<_> = before.into_iter().chain([E::Removed]).chain(after).collect();
            let steps = walk(S::Starting, &with_removal);
            let removals = steps.iter().filter(|(_, _, after)| *after == S::Removed).count();
            prop_assert_eq!(removals, 1);
            prop_assert_eq!(steps.last().map(|step| step.2), Some(S::Removed));
        }
    }
}
