//! The one writer of the worker set.
//!
//! Every change goes through a short lock, asks the lifecycle table, publishes a new snapshot and moves the worker's
//! gate to match. Readers never wait.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use policies::lifecycle::{self, WorkerEvent, WorkerState};
use policies::worker::{Role, WorkerId};

use super::bootstrap::{self, Bootstrap};
use super::gates::Gates;
use super::set::{Member, WorkerSet};
use super::worker::{Worker, WorkerSpec};
use crate::config::BreakerSettings;

/// Somebody registered a URL twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddError {
    pub url: String,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} already exists", self.url)
    }
}

impl std::error::Error for AddError {}

/// A state change that took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub from: WorkerState,
    pub to: WorkerState,
}

/// What became of a worker, for whoever keeps something about it or shows it.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    Added {
        worker: &'a Worker,
        role: Role,
    },
    State {
        worker: &'a Worker,
        role: Role,
        change: Change,
    },
    Role {
        worker: &'a Worker,
        from: Role,
        to: Role,
    },
}

impl Notice<'_> {
    /// The worker whose past is void: it left the set or changed its role.
    pub fn retires(&self) -> Option<WorkerId> {
        match self {
            Self::State { worker, change, .. } if change.to == WorkerState::Removed => {
                Some(worker.id)
            }
            Self::Role { worker, .. } => Some(worker.id),
            Self::Added { .. } | Self::State { .. } => None,
        }
    }
}

/// Called after each change, in their order. It must not change the registry.
type Watcher = dyn Fn(Notice<'_>) + Send + Sync;

pub struct WorkerRegistry {
    set: ArcSwap<WorkerSet>,
    write: Mutex<()>,
    next_id: AtomicU64,
    gates: Gates,
    breaker: BreakerSettings,
    /// Between tokens, where requests wait for workers that keep it.
    itl_target: Option<Duration>,
    watcher: Box<Watcher>,
    first_epoch: u32,
}

impl fmt::Debug for WorkerRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerRegistry")
            .field("set", &self.set)
            .finish_non_exhaustive()
    }
}

impl WorkerRegistry {
    pub fn new(
        breaker: BreakerSettings,
        watcher: impl Fn(Notice<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            set: ArcSwap::default(),
            write: Mutex::new(()),
            next_id: AtomicU64::new(1),
            gates: Gates::default(),
            breaker,
            itl_target: None,
            watcher: Box::new(watcher),
            first_epoch: 0,
        }
    }

    /// Bounds what a decode worker may have by this time between its tokens.
    #[must_use]
    pub fn keeping(self, itl_target: Option<Duration>) -> Self {
        Self { itl_target, ..self }
    }

    /// Spells the hosts of workers in that epoch at first. A router that changes roles begins with one that no router
    /// before it is likely to have used: decode workers outlive routers, and remember.
    #[must_use]
    pub fn beginning_in(self, first_epoch: u32) -> Self {
        Self {
            first_epoch,
            ..self
        }
    }

    /// The current snapshot. Load it once per request.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<WorkerSet>> {
        self.set.load()
    }

    /// Registers a worker, `Starting`.
    pub fn add(&self, spec: &WorkerSpec) -> Result<Arc<Worker>, AddError> {
        let _writing = self.write.lock();
        let old = self.set.load();
        if old.by_url(spec.url.as_str()).is_some() {
            return Err(AddError {
                url: spec.url.to_string(),
            });
        }
        let id = WorkerId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let gate = self.gates.take();
        let worker = Arc::new(Worker::new(id, spec, &self.breaker, self.itl_target, gate));
        let mut members = old.members().to_vec();
        members.push(Member {
            worker: Arc::clone(&worker),
            role: spec.role,
            state: WorkerState::Starting,
            bootstrap: Bootstrap {
                host: bootstrap::spelling(spec.url.host(), self.first_epoch).into(),
                port: spec.bootstrap_port,
            },
            epoch: self.first_epoch,
        });
        self.set.store(Arc::new(WorkerSet::new(members)));
        (self.watcher)(Notice::Added {
            worker: &worker,
            role: spec.role,
        });
        Ok(worker)
    }

    /// Tells the lifecycle of `id` that `event` happened. `None` where the worker is gone or the event means nothing
    /// in its state.
    pub fn apply(&self, id: WorkerId, event: WorkerEvent) -> Option<Change> {
        let _writing = self.write.lock();
        let old = self.set.load();
        let member = old.by_id(id)?;
        let (worker, role, from) = (Arc::clone(&member.worker), member.role, member.state);
        let to = lifecycle::next(from, event)?;
        let members = match to {
            WorkerState::Removed => old
                .members()
                .iter()
                .filter(|member| member.worker.id != id)
                .cloned()
                .collect(),
            _ => with_member(&old, id, |member| member.state = to),
        };
        self.set.store(Arc::new(WorkerSet::new(members)));
        if to.admits_requests() {
            if matches!(from, WorkerState::Starting | WorkerState::Verifying) {
                worker.breaker.reset();
            }
            worker.open();
        } else {
            worker.close();
        }
        let change = Change { from, to };
        (self.watcher)(Notice::State {
            worker: &worker,
            role,
            change,
        });
        tracing::info!(worker = %worker.url, from = from.as_str(), to = to.as_str(), "worker changed state");
        Some(change)
    }

    /// Gives an empty worker its new role. The lifecycle has to be in `Switching`.
    pub fn set_role(&self, id: WorkerId, role: Role) -> bool {
        let _writing = self.write.lock();
        let old = self.set.load();
        let Some(member) = old
            .by_id(id)
            .filter(|member| member.state == WorkerState::Switching)
        else {
            return false;
        };
        let (worker, from) = (Arc::clone(&member.worker), member.role);
        let members = with_member(&old, id, |member| {
            member.role = role;
            begin_epoch(member);
        });
        self.set.store(Arc::new(WorkerSet::new(members)));
        worker.forget_measurements();
        (self.watcher)(Notice::Role {
            worker: &worker,
            from,
            to: role,
        });
        tracing::info!(worker = %worker.url, from = from.as_str(), to = role.as_str(), "worker changed its role");
        true
    }

    /// Spells the worker's host in a new way: it was started anew, and decode workers remember what it was.
    pub fn renew_bootstrap(&self, id: WorkerId) {
        let _writing = self.write.lock();
        let old = self.set.load();
        let members = with_member(&old, id, begin_epoch);
        self.set.store(Arc::new(WorkerSet::new(members)));
    }

    /// Spells the worker's host as in `epoch`: under the router before this one decode workers have come to know it so.
    pub fn resume_epoch(&self, id: WorkerId, epoch: u32) {
        let _writing = self.write.lock();
        let old = self.set.load();
        let members = with_member(&old, id, |member| enter_epoch(member, epoch));
        self.set.store(Arc::new(WorkerSet::new(members)));
    }

    /// Records the bootstrap port that a prefill worker told about itself.
    pub fn set_bootstrap_port(&self, id: WorkerId, port: u16) {
        let _writing = self.write.lock();
        let old = self.set.load();
        let members = with_member(&old, id, |member| member.bootstrap.port = Some(port));
        self.set.store(Arc::new(WorkerSet::new(members)));
    }
}

fn begin_epoch(member: &mut Member) {
    enter_epoch(member, member.epoch.wrapping_add(1));
}

fn enter_epoch(member: &mut Member, epoch: u32) {
    member.epoch = epoch;
    member.bootstrap.host = bootstrap::spelling(member.worker.url.host(), epoch).into();
}

fn with_member(set: &WorkerSet, id: WorkerId, change: impl Fn(&mut Member)) -> Vec<Member> {
    let mut members = set.members().to_vec();
    for member in members.iter_mut().filter(|member| member.worker.id == id) {
        change(member);
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::WorkerUrl;

    fn registry() -> WorkerRegistry {
        WorkerRegistry::new(crate::config::Config::default().breaker, |_| {})
    }

    fn spec(url: &str, role: Role) -> WorkerSpec {
        WorkerSpec::new(WorkerUrl::parse(url).unwrap(), role)
    }

    #[test]
    fn a_worker_serves_only_after_it_passed() {
        let registry = registry();
        let worker = registry.add(&spec("http://a:1", Role::Prefill)).unwrap();
        assert!(worker.enter().is_none());
        assert!(registry.snapshot().serving(Role::Prefill).is_empty());
        registry.apply(worker.id, WorkerEvent::Passed).unwrap();
        assert_eq!(registry.snapshot().serving(Role::Prefill).len(), 1);
        assert!(registry.snapshot().serving(Role::Decode).is_empty());
        assert!(worker.enter().is_some());
    }

    #[test]
    fn a_worker_that_began_anew_has_a_closed_breaker() {
        let registry = registry();
        let worker = registry.add(&spec("http://a:1", Role::Decode)).unwrap();
        let now = policies::time::Timestamp::ZERO;
        let break_it = || while worker.breaker.failed(now).is_none() {};
        registry.apply(worker.id, WorkerEvent::Passed).unwrap();
        break_it();
        for event in [WorkerEvent::GaveUp, WorkerEvent::Relaunched] {
            registry.apply(worker.id, event).unwrap();
        }
        assert!(!worker.breaker.allows(now));
        registry.apply(worker.id, WorkerEvent::Passed).unwrap();
        assert!(worker.breaker.allows(now));
        break_it();
        for event in [WorkerEvent::GaveUp, WorkerEvent::Passed] {
            registry.apply(worker.id, event).unwrap();
        }
        assert!(!worker.breaker.allows(now), "the same worker as before");
    }

    #[test]
    fn a_url_is_registered_once() {
        let registry = registry();
        registry.add(&spec("http://a:1", Role::Prefill)).unwrap();
        let error = registry
            .add(&spec("http://a:1/", Role::Decode))
            .unwrap_err();
        assert_eq!(error.to_string(), "worker http://a:1 already exists");
    }

    #[test]
    fn counters_survive_every_snapshot() {
        let registry = registry();
        let worker = registry.add(&spec("http://a:1", Role::Decode)).unwrap();
        registry.apply(worker.id, WorkerEvent::Passed).unwrap();
        let ticket = worker.enter().unwrap();
        registry
            .apply(worker.id, WorkerEvent::DrainRequested)
            .unwrap();
        registry.add(&spec("http://b:1", Role::Decode)).unwrap();
        assert_eq!(
            registry
                .snapshot()
                .by_id(worker.id)
                .unwrap()
                .worker
                .in_flight(),
            1
        );
        assert!(worker.enter().is_none());
        drop(ticket);
        assert_eq!(worker.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn drained_returns_when_the_last_request_leaves() {
        let registry = registry();
        let worker = registry.add(&spec("http://a:1", Role::Decode)).unwrap();
        registry.apply(worker.id, WorkerEvent::Passed).unwrap();
        let ticket = worker.enter().unwrap();
        registry
            .apply(worker.id, WorkerEvent::DrainRequested)
            .unwrap();
        let mut drained = std::pin::pin!(worker.drained());
        assert!(futures_poll(drained.as_mut()).is_none());
        drop(ticket);
        drained.await;
    }

    #[test]
    fn a_role_change_needs_an_empty_worker_and_retires_its_past() {
        let retired = Arc::new(Mutex::new(Vec::new()));
        let registry = WorkerRegistry::new(crate::config::Config::default().breaker, {
            let retired = Arc::clone(&retired);
            move |notice| retired.lock().extend(notice.retires())
        });
        let worker = registry.add(&spec("http://a:1", Role::Prefill)).unwrap();
        let host = || {
            registry
                .snapshot()
                .by_id(worker.id)
                .unwrap()
                .bootstrap
                .host
                .to_string()
        };
        assert_eq!(host(), "a");
        assert!(!registry.set_role(worker.id, Role::Decode));
        for event in [
            WorkerEvent::Passed,
            WorkerEvent::DrainRequested,
            WorkerEvent::Emptied,
        ] {
            registry.apply(worker.id, event).unwrap();
        }
        assert!(registry.set_role(worker.id, Role::Decode));
        assert_eq!(host(), "A");
        for event in [WorkerEvent::Switched, WorkerEvent::Passed] {
            registry.apply(worker.id, event).unwrap();
        }
        assert_eq!(registry.snapshot().serving(Role::Decode).len(), 1);
        registry.apply(worker.id, WorkerEvent::Removed).unwrap();
        assert!(registry.snapshot().members().is_empty());
        assert_eq!(*retired.lock(), vec![worker.id, worker.id]);
    }

    /// One poll of a future.
    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
