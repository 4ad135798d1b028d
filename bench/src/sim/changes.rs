//! Roles change, and workers die and come back.

use std::time::Duration;

use policies::lifecycle::{WorkerEvent, WorkerState};
use policies::worker::{Role, WorkerId};

use super::RoleChange;
use super::events::Event;
use super::outcome::End;
use super::world::World;

impl World<'_> {
    pub(super) fn begin_change(&mut self, change: usize) {
        let RoleChange { from, dark, .. } = self.setup.changes[change];
        self.move_one(from, dark);
    }

    /// Takes the worker of `from` that has the least to finish out of service, to come back in the other role. Not the
    /// last one.
    pub(super) fn move_one(&mut self, from: Role, dark: Duration) {
        if self.serving(from).count() < 2 {
            return;
        }
        let least = self
            .workers
            .iter()
            .enumerate()
            .filter(|(_, worker)| worker.serves(from))
            .min_by_key(|(position, worker)| (worker.to_finish(), *position));
        let Some((position, _)) = least else { return };
        let worker = &mut self.workers[position];
        worker.dark = dark;
        worker.apply(WorkerEvent::DrainRequested);
        self.switch_if_empty(position);
    }

    pub(super) fn switch_if_empty(&mut self, position: usize) {
        let worker = &mut self.workers[position];
        if worker.state != WorkerState::Draining || worker.in_flight > 0 {
            return;
        }
        worker.apply(WorkerEvent::Emptied);
        worker.away_since = self.now;
        worker.epoch += 1;
        worker.role = match worker.role {
            Role::Prefill => Role::Decode,
            Role::Decode | Role::Regular => Role::Prefill,
        };
        worker.used.role_changes += 1;
        // A worker in a new role begins cold, as one that was started anew.
        worker.prefill.warm = false;
        let back = Event::Back {
            worker: position,
            epoch: worker.epoch,
        };
        self.agenda.add(self.now.after(worker.dark), back);
        let id = WorkerId(position as u64);
        self.policies.iter().for_each(|policy| policy.forget(id));
    }

    /// It runs in its role and is found good.
    pub(super) fn back(&mut self, position: usize) {
        let worker = &mut self.workers[position];
        worker.used.away += self.now.since(worker.away_since);
        if worker.state == WorkerState::Switching {
            worker.apply(WorkerEvent::Switched);
        } else {
            worker.apply(WorkerEvent::Relaunched);
        }
        worker.apply(WorkerEvent::Passed);
    }

    pub(super) fn fail(&mut self, failure: usize) {
        let failure = self.setup.failures[failure];
        let Some(worker) = self.workers.get_mut(failure.worker) else {
            return;
        };
        if !matches!(worker.state, WorkerState::Serving) {
            return;
        }
        worker.apply(WorkerEvent::GaveUp);
        worker.away_since = self.now;
        worker.epoch += 1;
        let back = Event::Back {
            worker: failure.worker,
            epoch: worker.epoch,
        };
        self.agenda.add(self.now.after(failure.down), back);
        self.policies
            .iter()
            .for_each(|policy| policy.forget(WorkerId(failure.worker as u64)));
        for request in 0..self.requests.len() {
            self.lose(request, failure.worker);
        }
        let worker = &mut self.workers[failure.worker];
        worker.prefill.die();
        worker.decode.die();
    }

    /// What becomes of a request when `worker` dies: one that has its first token from it fails, one that has none runs
    /// again, and one that is on no part of it goes on.
    pub(super) fn lose(&mut self, request: usize, worker: usize) {
        let lost = &mut self.requests[request];
        let dispatched = lost.prefilling || lost.first_token.is_some();
        if lost.ended.is_some() || !dispatched {
            return;
        }
        if lost.first_token.is_some() {
            if lost.decode == worker {
                self.end(request, End::Failed);
            }
        } else if lost.prefill == worker || lost.decode == worker {
            lost.attempt += 1;
            let (prefill, decode, job, arrived) =
                (lost.prefill, lost.decode, lost.job, lost.arrived);
            let asking = self.workers[decode].decode.release(request);
            if asking && prefill != worker {
                self.workers[prefill].prefill.expect_no_more(&job);
            }
            self.workers[prefill].prefill.cancel(request);
            self.touched.push(decode);
            self.leave_prefill(request);
            self.leave(decode);
            self.retries += 1;
            // It keeps the moment of its arrival, as the router's queue has it.
            self.queue.push(arrived, request);
        }
    }
}
