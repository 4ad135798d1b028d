//! What the health loop remembers of one worker: when to check it next and how the last checks went.
//!
//! No I/O here: times and results go in, a lifecycle event comes out.

use std::time::Duration;

use policies::lifecycle::{WorkerEvent, WorkerState};
use tokio::task::{self, AbortHandle};
use tokio::time::Instant;

use super::Failure;
use crate::config::HealthSettings;

/// Between two checks of a worker that starts. A check of a closed port costs nothing, and a worker that is ready and
/// not used is a GPU that is not used.
const STARTING_INTERVAL: Duration = Duration::from_secs(1);

/// An unhealthy worker is checked at least this often: `interval` is meant for healthy ones.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(5);

/// Between two checks of a suspect. Every request that can't connect reports one; without a gap the failures in a row
/// that the threshold asks for would be gathered within a millisecond.
const SUSPECT_INTERVAL: Duration = Duration::from_secs(1);

/// Whether workers in `state` are checked.
pub(super) const fn is_checked(state: WorkerState) -> bool {
    match state {
        WorkerState::Starting
        | WorkerState::Serving
        | WorkerState::Unhealthy
        | WorkerState::Failed => true,
        WorkerState::Draining
        | WorkerState::Switching
        | WorkerState::Verifying
        | WorkerState::Removed => false,
    }
}

#[derive(Debug)]
pub(super) struct Watch {
    state: WorkerState,
    since: Instant,
    due: Instant,
    last_start: Option<Instant>,
    /// The check under way, until its end has been taken note of.
    probe: Option<AbortHandle>,
    passes: u32,
    failures: u32,
    late: bool,
    last_failure: Option<Failure>,
}

impl Watch {
    pub(super) fn new(state: WorkerState, now: Instant) -> Self {
        Self {
            state,
            since: now,
            due: now,
            last_start: None,
            probe: None,
            passes: 0,
            failures: 0,
            late: false,
            last_failure: None,
        }
    }

    /// Begins anew where the worker's state changed, whoever changed it.
    pub(super) fn notice(&mut self, state: WorkerState, now: Instant, settings: &HealthSettings) {
        if state == self.state {
            return;
        }
        self.state = state;
        self.since = now;
        self.passes = 0;
        self.failures = 0;
        self.late = false;
        self.due = match state {
            WorkerState::Starting => now,
            _ => now + self.pause(settings),
        };
    }

    /// True once, when a starting worker has used up its time.
    pub(super) fn becomes_late(&mut self, now: Instant, settings: &HealthSettings) -> bool {
        let late = self.state == WorkerState::Starting
            && now.duration_since(self.since) >= settings.startup_timeout;
        let becomes = late && !self.late;
        self.late = late;
        becomes
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due && self.probe.is_none()
    }

    pub(super) fn started(&mut self, probe: AbortHandle, now: Instant, settings: &HealthSettings) {
        self.probe = Some(probe);
        self.last_start = Some(now);
        self.due = now + self.pause(settings);
    }

    /// The task `id` has ended, with a result or without.
    pub(super) fn ended(&mut self, id: task::Id) {
        self.probe.take_if(|probe| probe.id() == id);
    }

    /// Ends a check that is under way.
    pub(super) fn call_off(&mut self) {
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
    }

    /// A request could not connect: the next check is due now, or when the gap after the last one is over.
    pub(super) fn suspect(&mut self) {
        if self.state == WorkerState::Serving {
            let earliest = self
                .last_start
                .map_or(self.since, |start| start + SUSPECT_INTERVAL);
            self.due = self.due.min(earliest);
        }
    }

    /// Whether the result differs from the last one, so that each change is logged once.
    pub(super) fn is_news(&self, failure: Option<&Failure>) -> bool {
        self.last_failure.as_ref() != failure
    }

    /// Takes the result of a check; the event that follows from it, if any.
    pub(super) fn record(
        &mut self,
        failure: Option<&Failure>,
        now: Instant,
        settings: &HealthSettings,
    ) -> Option<WorkerEvent> {
        self.due = now + self.pause(settings);
        self.last_failure = failure.cloned();
        if failure.is_none() {
            self.passes = self.passes.saturating_add(1);
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.passes = 0;
        }
        match self.state {
            WorkerState::Starting => (self.passes > 0).then_some(WorkerEvent::Passed),
            WorkerState::Unhealthy => {
                (self.passes >= settings.success_threshold).then_some(WorkerEvent::Passed)
            }
            WorkerState::Serving => {
                let certain = failure.is_some_and(Failure::is_certain);
                let gave_up = certain || self.failures >= settings.failure_threshold;
                gave_up.then_some(WorkerEvent::GaveUp)
            }
            // It answers again, so it was started anew, and is looked at like any other that starts.
            WorkerState::Failed => {
                (self.passes >= settings.success_threshold).then_some(WorkerEvent::Relaunched)
            }
            WorkerState::Draining
            | WorkerState::Switching
            | WorkerState::Verifying
            | WorkerState::Removed => None,
        }
    }

    /// Until the next check.
    fn pause(&self, settings: &HealthSettings) -> Duration {
        match self.state {
            WorkerState::Starting if self.late => settings.startup_check_interval,
            WorkerState::Failed => settings.startup_check_interval,
            WorkerState::Starting => STARTING_INTERVAL,
            WorkerState::Unhealthy => settings.interval.min(RECOVERY_INTERVAL),
            WorkerState::Serving
            | WorkerState::Draining
            | WorkerState::Switching
            | WorkerState::Verifying
            | WorkerState::Removed => settings.interval,
        }
    }
}
