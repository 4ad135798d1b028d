//! Which workers can change their role, and how.
//!
//! Who owns a worker's process says how it is to be done. A worker that was given by its URL alone is asked whether it
//! can be switched in place; one that can't is never moved.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use policies::lifecycle::WorkerState;
use policies::ratio::Movable;
use policies::worker::{Role, WorkerId};
use tokio::task::JoinSet;

use crate::launch::{Means, Processes, in_place};
use crate::upstream::Upstream;
use crate::workers::{Member, Worker, WorkerSet, spellings};

#[derive(Debug)]
pub(super) struct MeansTable {
    upstream: Upstream,
    processes: Option<Arc<dyn Processes>>,
    known: HashMap<WorkerId, Option<Means>>,
    /// Questions under way: one a worker.
    asking: JoinSet<(WorkerId, Option<bool>)>,
    asked: HashSet<WorkerId>,
}

impl MeansTable {
    pub(super) fn new(upstream: Upstream, processes: Option<Arc<dyn Processes>>) -> Self {
        Self {
            upstream,
            processes,
            known: HashMap::new(),
            asking: JoinSet::new(),
            asked: HashSet::new(),
        }
    }

    /// Takes up the answers that came, and asks the workers that nobody asked yet.
    pub(super) fn look(&mut self, set: &WorkerSet) {
        while let Some(answer) = self.asking.try_join_next() {
            let Ok((id, offered)) = answer else { continue };
            self.asked.remove(&id);
            // No answer is asked for again.
            if let Some(offered) = offered {
                let means = offered.then_some(Means::InPlace);
                self.known.insert(id, means);
                if let Some(member) = set.by_id(id) {
                    log(&member.worker, means);
                }
            }
        }
        // A worker that begins anew may have been launched in another way.
        let stays = |member: &Member| {
            !matches!(
                member.state,
                WorkerState::Starting | WorkerState::Unhealthy | WorkerState::Failed
            )
        };
        self.known.retain(|id, _| set.by_id(*id).is_some_and(stays));
        for member in set.members() {
            self.look_at(member);
        }
    }

    fn look_at(&mut self, member: &Member) {
        let worker = &member.worker;
        let known = self.known.contains_key(&worker.id) || self.asked.contains(&worker.id);
        if known || member.role == Role::Regular || !member.state.admits_requests() {
            return;
        }
        let own = self.processes.as_ref().filter(|own| own.owns(worker.id));
        if let Some(processes) = own {
            self.known
                .insert(worker.id, Some(processes.means(worker.id)));
        } else if spellings(worker.url.host()) < 2 {
            tracing::warn!(worker = %worker.url, "the worker is registered by an address, and decode workers would take it for what it was before; register it by a name to have its role changed in place");
            self.known.insert(worker.id, None);
        } else {
            self.asked.insert(worker.id);
            let (upstream, worker) = (self.upstream.clone(), Arc::clone(worker));
            self.asking.spawn(async move {
                let offered = in_place::is_offered(&upstream, &worker).await;
                (worker.id, offered)
            });
        }
    }

    pub(super) fn of(&self, id: WorkerId) -> Option<Means> {
        self.known.get(&id).copied().flatten()
    }

    /// How long a worker is away, before any was: as long as the slowest means takes.
    pub(super) fn usual(&self) -> Option<Duration> {
        self.known
            .values()
            .flatten()
            .map(|means| means.usual())
            .max()
    }

    /// Whether there is a serving worker of each role that can be moved.
    pub(super) fn movable(&self, set: &WorkerSet) -> Movable {
        let can = |role| {
            let mut serving = set.serving(role).iter();
            serving.any(|member| self.of(member.worker.id).is_some())
        };
        Movable {
            prefill: can(Role::Prefill),
            decode: can(Role::Decode),
        }
    }
}

fn log(worker: &Worker, means: Option<Means>) {
    match means {
        Some(_) => {
            tracing::info!(worker = %worker.url, "the worker can change its role in place");
        }
        None => {
            tracing::warn!(worker = %worker.url, "the worker can't change its role: it was given by its URL, and was not launched with --enable-pd-role-switch, --disable-radix-cache and the mooncake or mori backend; moves are advised and not made");
        }
    }
}
