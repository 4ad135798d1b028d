//! The queues of a worker, and how a request enters and leaves them.
//!
//! A prefill request waits in its room until a decode has come (bootstrap queue), then for its batch (waiting), then
//! for its KV to be fetched (in flight). A decode request waits for KV space (pre-allocation), then for the KV
//! (transfer), then for a place in the batch (waiting), then runs, and is put back (retracted) where the KV of all
//! outgrows the memory. A worker of role null skips the rooms. The moves in between are in [`super::prefill`] and
//! [`super::decode`].

use super::{
    job::{Job, Meeting, Queued},
    prefill::PrefillSide,
    rooms::Rooms,
};
use crate::{
    config::{Config, Role},
    counters::{Counters, Queues},
    ticket::{Abort, End},
};
use policies::model::WorkerModel;
use std::collections::{HashMap, VecDeque};
use tokio::{sync::oneshot, time::Instant};

pub(super) struct State {
    pub(super) model: WorkerModel,
    pub(super) role: Role,
    pub(super) switch: super::switch::SwitchState,
    next_id: u64,
    pub(super) rooms: Rooms,
    pub(super) waiting: VecDeque<Queued>,
    pub(super) prefilling: Vec<Queued>,
    pub(super) prefill: PrefillSide,
    pub(super) inflight: HashMap<u64, Queued>,
    /// Decode requests without space for their KV, and whom to tell when there is.
    pub(super) preallocating: VecDeque<(Queued, oneshot::Sender<()>)>,
    pub(super) transferring: HashMap<u64, Queued>,
    pub(super) landed: VecDeque<Queued>,
    /// As they joined, the newest last.
    pub(super) running: Vec<Queued>,
    pub(super) retracted: VecDeque<Queued>,
    pub(super) counters: Counters,
}

/// What becomes of a job that left before its end.
#[derive(Clone, Copy)]
pub(super) enum Left {
    Aborted,
    Disconnected,
    BootstrapFailed,
    TransferFailed,
}

impl State {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            model: config.timing.model,
            role: config.role,
            switch: super::switch::SwitchState::at_launch(config.role),
            next_id: 0,
            rooms: Rooms::default(),
            waiting: VecDeque::new(),
            prefilling: Vec::new(),
            prefill: PrefillSide::new(config),
            inflight: HashMap::new(),
            preallocating: VecDeque::new(),
            transferring: HashMap::new(),
            landed: VecDeque::new(),
            running: Vec::new(),
            retracted: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Queues a job where its role and its room say. Answers its number and, on a decode worker, what becomes ready
    /// once there is space for its KV.
    pub(super) fn admit(
        &mut self,
        job: Job,
        bootstrap_deadline: Instant,
    ) -> (u64, Option<oneshot::Receiver<()>>) {
        let id = self.next_id;
        self.next_id += 1;
        if !job.probe {
            self.counters.requests += 1;
            self.counters.prompt_tokens += job.prompt_tokens;
        }
        let meeting = job.meeting;
        let queued = Queued::new(id, job);
        match (self.role, meeting) {
            (Role::Null, _) | (_, Meeting::Nobody) => self.waiting.push_back(queued),
            (Role::Prefill, Meeting::Room(room)) => {
                let (collided, met) = self.rooms.enter(room, queued, bootstrap_deadline);
                self.counters.room_collisions += u64::from(collided);
                self.waiting.extend(met);
            }
            (Role::Decode, Meeting::Room(_)) => {
                let (space, granted) = oneshot::channel();
                self.preallocating.push_back((queued, space));
                self.preallocate();
                return (id, Some(granted));
            }
        }
        (id, None)
    }

    /// The first token is there: it came with the KV, or out of this worker's own prefill.
    pub(super) fn start_answer(&mut self, mut queued: Queued) {
        queued.tokens = queued.job.plan.tokens.min(1);
        self.count_generated(&queued, queued.tokens);
        if queued.tokens == queued.job.plan.tokens {
            self.complete(queued);
        } else {
            queued.job.ticket.advance(queued.tokens);
            self.landed.push_back(queued);
        }
    }

    pub(super) fn count_generated(&mut self, queued: &Queued, tokens: u32) {
        if !queued.job.probe {
            self.counters.generated_tokens += u64::from(tokens);
        }
    }

    pub(super) fn complete(&mut self, queued: Queued) {
        self.forget_room(&queued);
        self.counters.completed += u64::from(!queued.job.probe);
        let Queued { job, tokens, .. } = queued;
        job.ticket.end(tokens, End::Finished);
    }

    /// A decode request that gave up on its KV.
    pub(super) fn fail(&mut self, id: u64, abort: Abort) {
        if let Some(queued) = self.take(id) {
            self.leave(queued, Left::BootstrapFailed, abort);
        }
    }

    /// The client is gone.
    pub(super) fn abandon(&mut self, id: u64) {
        if let Some(queued) = self.take(id) {
            self.leave(queued, Left::Disconnected, Abort::quiet("Aborted"));
        }
    }

    pub(super) fn leave(&mut self, queued: Queued, why: Left, abort: Abort) {
        self.forget_room(&queued);
        if !queued.job.probe {
            let counters = &mut self.counters;
            match why {
                Left::Aborted => counters.aborted += 1,
                Left::Disconnected => {
                    counters.aborted += 1;
                    counters.disconnected += 1;
                }
                Left::BootstrapFailed => {
                    counters.failed += 1;
                    counters.bootstrap_failed += 1;
                }
                Left::TransferFailed => {
                    counters.aborted += 1;
                    counters.transfer_failed += 1;
                }
            }
        }
        let Queued { job, tokens, .. } = queued;
        job.ticket.end(tokens, End::Aborted(abort));
    }

    pub(super) fn abort_matching(&mut self, rid: Option<&str>) {
        for id in self.ids_matching(rid) {
            let Some(queued) = self.take(id) else {
                continue;
            };
            let abort = abort_of(&queued, self.role);
            self.leave(queued, Left::Aborted, abort);
        }
    }

    fn ids_matching(&self, rid: Option<&str>) -> Vec<u64> {
        self.jobs()
            .filter(|queued| rid.is_none_or(|rid| queued.job.rid.starts_with(rid)))
            .map(|queued| queued.id)
            .collect()
    }

    fn jobs(&self) -> impl Iterator<Item = &Queued> {
        self.rooms
            .jobs()
            .chain(&self.waiting)
            .chain(&self.prefilling)
            .chain(self.inflight.values())
            .chain(self.preallocating.iter().map(|(queued, _)| queued))
            .chain(self.transferring.values())
            .chain(&self.landed)
            .chain(&self.running)
            .chain(&self.retracted)
    }

    /// Takes a job out of whatever queue it is in. Only the unhappy paths come here, so looking everywhere is fine.
    pub(super) fn take(&mut self, id: u64) -> Option<Queued> {
        self.rooms
            .take(id)
            .or_else(|| self.inflight.remove(&id))
            .or_else(|| self.transferring.remove(&id))
            .or_else(|| self.take_preallocating(id))
            .or_else(|| take_from_queue(&mut self.waiting, id))
            .or_else(|| take_from_queue(&mut self.landed, id))
            .or_else(|| take_from_queue(&mut self.retracted, id))
            .or_else(|| take_from_batch(&mut self.prefilling, id))
            .or_else(|| take_from_batch(&mut self.running, id))
    }

    fn take_preallocating(&mut self, id: u64) -> Option<Queued> {
        let mut waiting = self.preallocating.iter();
        let at = waiting.position(|(queued, _)| queued.id == id)?;
        self.preallocating.remove(at).map(|(queued, _)| queued)
    }

    fn forget_room(&mut self, queued: &Queued) {
        if let (Role::Prefill, Meeting::Room(room)) = (self.role, queued.job.meeting) {
            self.rooms.forget(room, queued.id);
        }
    }

    pub(super) fn count(&self) -> Queues {
        let preallocating = self.preallocating.iter().map(|(queued, _)| queued);
        Queues {
            prefill_bootstrap: self.rooms.waiting(),
            waiting: self.waiting.len() + self.landed.len(),
            prefill_inflight: self.inflight.len(),
            decode_transfer: self.transferring.len(),
            decode_prealloc: self.preallocating.len(),
            decode_retracted: self.retracted.len(),
            running: self.running.len() + self.prefilling.len(),
            waiting_uncached_tokens: self.waiting.iter().map(Queued::uncached_tokens).sum(),
            used_tokens: kv_tokens(self.prefilling.iter().chain(self.inflight.values()))
                + self.allocated_tokens(),
            awaiting_kv_tokens: kv_tokens(preallocating.clone().chain(self.transferring.values())),
            // Those in transfer and those that have landed hold their space already.
            pending_tokens: kv_tokens(
                self.rooms
                    .jobs()
                    .chain(&self.waiting)
                    .chain(preallocating)
                    .chain(&self.retracted),
            ),
        }
    }

    /// Tokens of KV for which a decode worker has space set aside.
    pub(super) fn allocated_tokens(&self) -> u64 {
        let queued = self.running.iter().chain(&self.landed);
        kv_tokens(queued.chain(self.transferring.values()))
    }
}

fn kv_tokens<'a>(queued: impl Iterator<Item = &'a Queued>) -> u64 {
    queued.map(Queued::kv_tokens).sum()
}

/// SGLang ends a request quietly where it ran, and with a 500 where its KV had not been handed over.
fn abort_of(queued: &Queued, role: Role) -> Abort {
    let Meeting::Room(room) = queued.job.meeting else {
        return Abort::quiet("Aborted");
    };
    let rid = &queued.job.rid;
    let what = match role {
        Role::Decode if queued.tokens == 0 => "Decode handshake failed",
        Role::Prefill => "Prefill transfer failed",
        Role::Decode | Role::Null => return Abort::quiet("Aborted"),
    };
    Abort::new(500, transfer_error(what, rid, room, "Aborted by AbortReq."))
}

/// The form in which SGLang words a failed handover.
pub(crate) fn transfer_error(what: &str, rid: &str, room: u64, why: &str) -> String {
    format!(
        "{what} for request rank=0 req.rid='{rid}' req.bootstrap_room={room} with exception \
         KVTransferError(bootstrap_room={room}): {why}"
    )
}

fn take_from_queue(queue: &mut VecDeque<Queued>, id: u64) -> Option<Queued> {
    let at = queue.iter().position(|queued| queued.id == id)?;
    queue.remove(at)
}

fn take_from_batch(batch: &mut Vec<Queued>, id: u64) -> Option<Queued> {
    let at = batch.iter().position(|queued| queued.id == id)?;
    Some(batch.remove(at))
}
