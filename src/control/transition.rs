//! A role change, step by step: close the gate, drain, change the role, verify, open the gate.
//!
//! ```text
//! Serving ─► Draining ─► Switching ─► Verifying ─► Serving   in the new role, or in the old one
//!               │            │            │
//!               └─ called ───┼─► Verifying└─► Failed ─► started anew, where somebody owns its process
//!                  off       └─────────────►
//! ```
//! Every step has a deadline, and every way out leaves the rest of the fleet as it was. What the worker still has when it
//! is taken out of service it finishes: a request that was let in isn't sent away for a role change. Requests that come
//! meanwhile find the other workers.

mod canary;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use policies::lifecycle::{WorkerEvent, WorkerState};
use policies::worker::Role;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Fleet, probe};
use crate::config::{HealthSettings, Overdue, TransitionSettings};
use crate::launch::{Means, Processes, in_place};
use crate::upstream::UpstreamRequest;
use crate::workers::{Member, Worker};

/// A drain that waits ends after this at the latest: as long as the longest answer may take by default.
const LONGEST_DRAIN: Duration = Duration::from_mins(30);

/// From the order to end what runs until it has ended: a worker looks at its orders between two steps.
const ABORT_LIMIT: Duration = Duration::from_secs(15);

/// An idle gate is not yet an idle worker: the last request's memory is given back some steps later.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at a worker that is being verified.
const LOOK: Duration = Duration::from_millis(250);

/// A role change that is to be made.
#[derive(Debug, Clone)]
pub struct Order {
    pub worker: Arc<Worker>,
    pub from: Role,
    pub to: Role,
    pub means: Means,
}

/// Why a role change did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveError {
    /// The worker left, or stood so that it could not be taken out of service.
    NotServing,
    /// What ran on it did not end in time, and it serves on.
    CalledOff(Duration),
    /// The worker did not change its role.
    Kept(String),
    /// The worker is in no role now, or its process could not be started.
    Broken(String),
    /// The worker was not found good in time.
    NotVerified(String),
}

impl fmt::Display for MoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotServing => f.write_str("the worker was not serving any more"),
            Self::CalledOff(after) => write!(
                f,
                "what ran on the worker had not ended after {after:?}; see --drain-timeout-secs and --drain-overdue"
            ),
            Self::Kept(reason) => write!(f, "the worker kept its role: {reason}"),
            Self::Broken(reason) => write!(f, "the worker has to be started anew: {reason}"),
            Self::NotVerified(reason) => write!(f, "the worker did not prove good: {reason}"),
        }
    }
}

impl std::error::Error for MoveError {}

/// What role changes are made with.
#[derive(Debug, Clone)]
pub struct Mover {
    pub fleet: Fleet,
    pub processes: Option<Arc<dyn Processes>>,
    pub settings: TransitionSettings,
    pub health: HealthSettings,
}

/// A step of a role change, for whoever measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Drain,
    Change,
    Verify,
}

impl Step {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Change => "change",
            Self::Verify => "verify",
        }
    }
}

impl Mover {
    /// Makes the role change. Answers how long the worker was away after its drain.
    pub async fn carry_out(&self, order: &Order) -> Result<Duration, MoveError> {
        let worker = &order.worker;
        let (from, to) = (order.from.as_str(), order.to.as_str());
        tracing::info!(worker = %worker.url, from, to, means = order.means.as_str(), in_flight = worker.in_flight(), "role change begins: draining");
        let result = self.steps(order).await;
        match &result {
            Ok(away) => {
                tracing::info!(worker = %worker.url, from, to, ?away, "role change is done");
            }
            Err(error) => {
                tracing::warn!(worker = %worker.url, from, to, reason = %error, "role change failed");
            }
        }
        let ratio = &self.fleet.metrics.ratio;
        ratio.moved(order.from, order.to, order.means.as_str(), result.is_ok());
        result
    }

    async fn steps(&self, order: &Order) -> Result<Duration, MoveError> {
        let worker = &order.worker;
        self.apply(worker, WorkerEvent::DrainRequested)?;
        if let Err(error) = self.timed(Step::Drain, self.drain(worker)).await {
            self.apply(worker, WorkerEvent::DrainCancelled)?;
            self.open(order, order.from).await?;
            return Err(error);
        }
        self.apply(worker, WorkerEvent::Emptied)?;
        let begun = Instant::now();
        let change = self.timed(Step::Change, self.change(order)).await;
        match change {
            Ok(()) => {
                if !self.fleet.registry.set_role(worker.id, order.to) {
                    return Err(MoveError::NotServing);
                }
                self.apply(worker, WorkerEvent::Switched)?;
                self.open(order, order.to).await?;
                Ok(begun.elapsed())
            }
            Err(error @ MoveError::Kept(_)) => {
                self.apply(worker, WorkerEvent::Switched)?;
                self.open(order, order.from).await?;
                Err(error)
            }
            Err(error) => {
                self.give_up(worker, order.to).await;
                Err(error)
            }
        }
    }

    /// Waits until nothing is in flight on the worker.
    async fn drain(&self, worker: &Worker) -> Result<(), MoveError> {
        let drained = worker.drained();
        let limit = self.settings.drain_timeout();
        if timeout(limit, drained).await.is_ok() {
            return Ok(());
        }
        let overdue = self.settings.overdue;
        tracing::warn!(worker = %worker.url, in_flight = worker.in_flight(), overdue = overdue.as_str(), "drain is overdue");
        let rest = (LONGEST_DRAIN.saturating_sub(limit), LONGEST_DRAIN);
        let (limit, all) = match overdue {
            Overdue::CallOff => return Err(MoveError::CalledOff(limit)),
            Overdue::Wait => rest,
            Overdue::Migrate => {
                worker.ask_streams_to_leave(true);
                rest
            }
            Overdue::Abort => {
                self.abort_all(worker).await;
                (ABORT_LIMIT, limit + ABORT_LIMIT)
            }
        };
        let drained = timeout(limit, worker.drained()).await;
        worker.ask_streams_to_leave(false);
        drained.map_err(|_| MoveError::CalledOff(all))
    }

    /// Has the worker end what it runs: each stream gets its last event, which says that it was aborted.
    async fn abort_all(&self, worker: &Worker) {
        let url = worker.url.join("/abort_request");
        let request = UpstreamRequest::post_json(url, r#"{"abort_all":true}"#)
            .bearer(worker.api_key.as_deref());
        // A worker that doesn't answer doesn't drain either, and that is noticed.
        let _ = timeout(ABORT_LIMIT, self.fleet.upstream.send(request)).await;
    }

    async fn change(&self, order: &Order) -> Result<(), MoveError> {
        let Order {
            worker, to, means, ..
        } = order;
        match means {
            Means::Restart => self.restart(worker, *to).await,
            Means::InPlace => match self.switch(worker, *to).await {
                in_place::Exit::Switched => {
                    if let Some(processes) = self.owner(worker) {
                        processes.note_role(worker.id, *to).await;
                    }
                    Ok(())
                }
                in_place::Exit::Kept(reason) => Err(MoveError::Kept(reason)),
                in_place::Exit::Broken(reason) => {
                    tracing::warn!(worker = %worker.url, reason, "the switch in place broke the worker");
                    self.restart(worker, *to).await
                }
            },
        }
    }

    async fn switch(&self, worker: &Worker, to: Role) -> in_place::Exit {
        let peers: Vec<_> = {
            let set = self.fleet.registry.snapshot();
            let decodes = set.serving(Role::Decode);
            decodes
                .iter()
                .map(|member| Arc::clone(&member.worker))
                .collect()
        };
        let limits = in_place::Limits {
            idle: IDLE_LIMIT,
            switch: self.settings.switch_timeout,
        };
        in_place::switch(&self.fleet.upstream, worker, to, &peers, limits).await
    }

    async fn restart(&self, worker: &Worker, role: Role) -> Result<(), MoveError> {
        let Some(processes) = self.owner(worker) else {
            let reason =
                "its process was not started by this router, so whoever did has to restart it";
            return Err(MoveError::Broken(reason.to_owned()));
        };
        let restarted = processes.restart(worker.id, role).await;
        restarted.map_err(|error| MoveError::Broken(error.to_string()))
    }

    fn owner(&self, worker: &Worker) -> Option<&Arc<dyn Processes>> {
        let processes = self.processes.as_ref()?;
        processes.owns(worker.id).then_some(processes)
    }

    /// Opens the gate once the worker is found good in `role`.
    async fn open(&self, order: &Order, role: Role) -> Result<(), MoveError> {
        let worker = &order.worker;
        let verified = self
            .timed(Step::Verify, self.verify(worker, order.means))
            .await;
        match verified {
            Ok(()) => self.apply(worker, WorkerEvent::Passed),
            // It was removed, or its process died and its owner starts it anew: it is somebody else's now.
            Err(MoveError::NotServing) => Err(MoveError::NotServing),
            Err(error) => {
                self.give_up(worker, role).await;
                Err(error)
            }
        }
    }

    /// Looks at the worker until it is ready in the role that it is to have, and sends a request through it.
    async fn verify(&self, worker: &Worker, means: Means) -> Result<(), MoveError> {
        let deadline = Instant::now()
            + match means {
                Means::InPlace => self.settings.switch_timeout,
                Means::Restart => self.settings.start_timeout,
            };
        let mut trouble = "it did not answer".to_owned();
        loop {
            let member = self.verifying(worker).ok_or(MoveError::NotServing)?;
            let look = async {
                probe::probe(&self.fleet, &member, &self.health)
                    .await
                    .map_err(|failure| failure.to_string())?;
                // The probe may have learned where the bootstrap server listens.
                let member = self.verifying(worker).unwrap_or(member);
                canary::run(&self.fleet, &member).await
            };
            match timeout_at(deadline, look).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(reason)) => trouble = reason,
                Err(_) => return Err(MoveError::NotVerified(trouble)),
            }
            if Instant::now() + LOOK >= deadline {
                return Err(MoveError::NotVerified(trouble));
            }
            sleep(LOOK).await;
        }
    }

    /// The worker, while it is still to be verified: its process may have died, and somebody may have removed it.
    fn verifying(&self, worker: &Worker) -> Option<Member> {
        let set = self.fleet.registry.snapshot();
        let member = set.by_id(worker.id)?;
        (member.state == WorkerState::Verifying).then(|| member.clone())
    }

    /// The worker is `Failed`, until it is started anew: at once, where somebody here can.
    async fn give_up(&self, worker: &Worker, role: Role) {
        self.fleet.registry.apply(worker.id, WorkerEvent::GaveUp);
        let Some(processes) = self.owner(worker) else {
            return;
        };
        match processes.restart(worker.id, role).await {
            Ok(()) => {
                self.fleet.registry.renew_bootstrap(worker.id);
                self.fleet
                    .registry
                    .apply(worker.id, WorkerEvent::Relaunched);
            }
            Err(error) => {
                tracing::error!(worker = %worker.url, %error, "the worker could not be started anew");
            }
        }
    }

    fn apply(&self, worker: &Worker, event: WorkerEvent) -> Result<(), MoveError> {
        let change = self.fleet.registry.apply(worker.id, event);
        change.map(|_| ()).ok_or(MoveError::NotServing)
    }

    async fn timed<T>(&self, step: Step, what: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let result = what.await;
        self.fleet
            .metrics
            .ratio
            .stepped(step.as_str(), begun.elapsed());
        result
    }
}

#[cfg(test)]
mod tests;
