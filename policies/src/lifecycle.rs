//! The life of a worker: one total table of states and events.
//!
//! ```text
//! Starting ──► Serving ──► Draining ──► Switching ──► Verifying ──► Serving
//!    │          │  ▲           │             │            │
//!    ▼          ▼  │           └─► Removed   └─► Failed ◄─┘
//!  Failed    Unhealthy
//! ```
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
    /// In its new role; not yet shown to work.
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
    /// A drain was called off before anything changed.
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

        (S::Starting | S::Unhealthy | S::Verifying, E::Passed)
        | (S::Draining, E::DrainCancelled) => Some(S::Serving),
        (S::Starting | S::Switching | S::Verifying, E::GaveUp) => Some(S::Failed),
        (S::Serving, E::GaveUp) => Some(S::Unhealthy),
        (S::Serving | S::Unhealthy | S::Starting, E::DrainRequested) => Some(S::Draining),
        (S::Draining, E::Emptied) => Some(S::Switching),
        (S::Switching, E::Switched) => Some(S::Verifying),
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
