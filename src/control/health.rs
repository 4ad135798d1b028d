//! The health loop: which workers are given requests.
//!
//! It looks at the snapshot several times a second, starts the checks that are due (each a task of its own, at most one
//! a worker) and turns their results into lifecycle events. A worker that drains, switches its role or is verified is
//! left alone: its owner waits for it to be idle, and a check may make it generate. A failed one is asked rarely: whoever
//! runs it may have started it anew and told nobody. A worker that never came up is not failed, it stays `Starting` and
//! is asked more rarely, so that one that comes late serves without anybody's help.

mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use policies::lifecycle::WorkerEvent;
use policies::worker::{Role, WorkerId};
use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::watch::Watch;
use super::Fleet;
use super::probe::{self, Failure, Mode};
use crate::config::HealthSettings;
use crate::workers::{Member, Worker};

/// Between two looks at the snapshot: how late a new worker is noticed. A look costs microseconds.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Checks under way at once. A check holds one connection; this many of them don't compete with the traffic.
const MAX_PROBES: usize = 64;

/// Watches the workers until `cancel`. `suspects` names workers that a request could not connect to,
/// or that sent it nothing.
pub async fn run(
    fleet: Fleet,
    settings: HealthSettings,
    mut suspects: mpsc::Receiver<WorkerId>,
    cancel: CancellationToken,
) {
    let mut watcher = Watcher {
        fleet,
        settings: Arc::new(settings),
        watches: HashMap::new(),
        probes: JoinSet::new(),
    };
    loop {
        watcher.look();
        tokio::select! {
            () = cancel.cancelled() => return,
            Some(joined) = watcher.probes.join_next_with_id() => watcher.ended(joined),
            Some(id) = suspects.recv() => watcher.suspect(id),
            () = sleep(LOOK_INTERVAL) => {}
        }
    }
}

struct Watcher {
    fleet: Fleet,
    settings: Arc<HealthSettings>,
    watches: HashMap<WorkerId, Watch>,
    probes: JoinSet<Report>,
}

/// The result of a check, with the worker as it stood when the check began.
struct Report {
    member: Member,
    result: Result<Mode, Failure>,
}

impl Watcher {
    fn look(&mut self) {
        let set = Arc::clone(&self.fleet.registry.snapshot());
        let now = Instant::now();
        for member in set.members() {
            self.look_at(member, now);
        }
        if self.watches.len() > set.members().len() {
            self.watches.retain(|id, _| set.by_id(*id).is_some());
        }
    }

    fn look_at(&mut self, member: &Member, now: Instant) {
        let watch = self
            .watches
            .entry(member.worker.id)
            .or_insert_with(|| Watch::new(member.state, now));
        watch.notice(member.state, now, &self.settings);
        if !watch::is_checked(member.state) {
            watch.call_off();
        } else if !(self.settings.enabled && member.worker.check_health) {
            self.fleet
                .registry
                .apply(member.worker.id, WorkerEvent::Passed);
        } else {
            if watch.becomes_late(now, &self.settings) {
                warn_late(&member.worker, self.settings.startup_timeout);
            }
            if watch.is_due(now) && self.probes.len() < MAX_PROBES {
                let probe = probe_task(
                    self.fleet.clone(),
                    member.clone(),
                    Arc::clone(&self.settings),
                );
                watch.started(self.probes.spawn(probe), now, &self.settings);
            }
        }
    }

    fn suspect(&mut self, id: WorkerId) {
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.suspect();
        }
    }

    /// A check that was called off ends without a report.
    fn ended(&mut self, joined: Result<(task::Id, Report), JoinError>) {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        for watch in self.watches.values_mut() {
            watch.ended(id);
        }
        if let Ok((_, report)) = joined {
            self.conclude(&report);
        }
    }

    fn conclude(&mut self, Report { member, result }: &Report) {
        let id = member.worker.id;
        self.count(member.role, result.is_ok());
        // Whatever was found out about a worker that has changed meanwhile, its new state asks for a new check.
        let unchanged = |now: &Member| now.state == member.state && now.role == member.role;
        if !self
            .fleet
            .registry
            .snapshot()
            .by_id(id)
            .is_some_and(unchanged)
        {
            return;
        }
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let failure = result.as_ref().err();
        if watch.is_news(failure)
            && let Some(failure) = failure
        {
            tracing::warn!(worker = %member.worker.url, role = %member.role, state = member.state.as_str(), reason = %failure, "health check failed");
        }
        show_trouble(&member.worker, failure);
        let event = watch.record(failure, Instant::now(), &self.settings);
        let change = event.and_then(|event| self.fleet.registry.apply(id, event));
        if *result == Ok(Mode::NotDisaggregated) && change.is_some() {
            tracing::warn!(worker = %member.worker.url, role = %member.role, "the worker runs without --disaggregation-mode and will treat every request as its own");
        }
    }

    fn count(&self, role: Role, passed: bool) {
        self.fleet.metrics.workers.health_checked(role, passed);
    }
}

async fn probe_task(fleet: Fleet, member: Member, settings: Arc<HealthSettings>) -> Report {
    let result = probe::probe(&fleet, &member, &settings).await;
    Report { member, result }
}

/// Puts the reason where the admin API shows it.
fn show_trouble(worker: &Worker, failure: Option<&Failure>) {
    let trouble = failure.map(ToString::to_string);
    if worker.metadata().trouble != trouble {
        worker.update_metadata(|metadata| metadata.trouble.clone_from(&trouble));
    }
}

fn warn_late(worker: &Worker, after: Duration) {
    let trouble = worker.metadata().trouble.clone().unwrap_or_default();
    tracing::warn!(worker = %worker.url, reason = %trouble, "worker is not ready after {after:?}; it is asked more rarely now and serves when it answers");
}
