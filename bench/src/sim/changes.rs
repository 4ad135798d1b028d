//! Roles change, and workers die and come back.

use std::time::Duration;

use policies::lifecycle::{WorkerEvent, WorkerState};
use policies::queue::Pace;
use policies::ratio::Drain;
use policies::worker::{Role, WorkerId};

use super::RoleChange;
use super::events::Event;
use super::outcome::{Absence, End};
use super::world::World;

impl World<'_> {
    fn note_absence(&mut self, position: usize, to: Role) {
        let worker = &mut self.workers[position];
        worker.absence = self.absences.len();
        self.absences.push(Absence {
            from: worker.role,
            to,
            closed: self.now,
            back: None,
        });
    }

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
        let to = other(worker.role);
        self.note_absence(position, to);
        match self.setup.drain {
            Drain::Wait => {}
            Drain::Migrate => self.evacuate(position),
        }
        self.switch_if_empty(position);
    }

    /// Sends elsewhere what a draining worker has: what it decodes, and what nobody computes yet. What is being computed
    /// or sent comes out of it with its first token, and goes then.
    fn evacuate(&mut self, position: usize) {
        for sequence in self.workers[position].decode.evacuate() {
            let leaving = &mut self.requests[sequence.request];
            leaving.written = leaving.job.output_tokens - sequence.remaining as u32;
            leaving.last_token = sequence.last_token;
            self.resubmit(sequence.request);
        }
        for request in 0..self.requests.len() {
            let waiting = &self.requests[request];
            if waiting.prefilling && (waiting.prefill == position || waiting.decode == position) {
                self.take_back(request);
            }
        }
    }

    /// Whether what comes to the worker is to go on elsewhere.
    pub(super) fn is_evacuated(&self, position: usize) -> bool {
        self.setup.drain == Drain::Migrate && self.workers[position].state == WorkerState::Draining
    }

    /// An answer that was begun waits in the router, to go on elsewhere.
    pub(super) fn resubmit(&mut self, request: usize) {
        let leaving = &mut self.requests[request];
        leaving.decoding = false;
        self.migrations += 1;
        self.wait(self.now, request);
        self.leave_decode(request);
    }

    /// A prompt that waits at a worker waits in the router again.
    fn take_back(&mut self, request: usize) {
        let waiting = &self.requests[request];
        let (prefill, decode, job) = (waiting.prefill, waiting.decode, waiting.to_compute());
        // One that has no token yet keeps the moment of its arrival, as the router's queue has it.
        let since = match waiting.first_token {
            None => waiting.arrived,
            Some(_) => self.now,
        };
        if self.workers[decode].decode.is_asking(request) {
            self.workers[prefill].prefill.expect_no_more(&job);
        } else if !self.workers[prefill].prefill.cancel(request) {
            return;
        }
        self.workers[decode].decode.release(request);
        self.touched.push(decode);
        self.wait(since, request);
        self.leave_prefill(request);
        self.leave_decode(request);
    }

    pub(super) fn switch_if_empty(&mut self, position: usize) {
        let worker = &mut self.workers[position];
        if worker.state != WorkerState::Draining || worker.in_flight > 0 {
            return;
        }
        worker.apply(WorkerEvent::Emptied);
        worker.away_since = self.now;
        worker.epoch += 1;
        worker.role = other(worker.role);
        worker.pace = Pace::new(self.setup.slo.itl);
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
        let absence = worker.absence;
        self.absences[absence].back = Some(self.now);
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
        let role = self.workers[failure.worker].role;
        self.note_absence(failure.worker, role);
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

    /// What becomes of a request when `worker` dies: one that has tokens from it fails, one that has none runs
    /// again, and one that is on no part of it goes on.
    pub(super) fn lose(&mut self, request: usize, worker: usize) {
        let lost = &mut self.requests[request];
        if lost.decoding {
            if lost.decode == worker {
                self.end(request, End::Failed);
            }
        } else if lost.prefilling && (lost.prefill == worker || lost.decode == worker) {
            lost.attempt += 1;
            let (prefill, decode, job, arrived) =
                (lost.prefill, lost.decode, lost.to_compute(), lost.arrived);
            let asking = self.workers[decode].decode.release(request);
            if asking && prefill != worker {
                self.workers[prefill].prefill.expect_no_more(&job);
            }
            self.workers[prefill].prefill.cancel(request);
            self.touched.push(decode);
            self.leave_prefill(request);
            self.leave_decode(request);
            self.retries += 1;
            self.wait(arrived, request);
        }
    }
}

const fn other(role: Role) -> Role {
    match role {
        Role::Prefill => Role::Decode,
        Role::Decode | Role::Regular => Role::Prefill,
    }
}
