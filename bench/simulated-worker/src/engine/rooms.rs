//! Where prefill and decode of one request find each other.
//!
//! Both halves of a request name the same room. Whoever comes first waits; when both are there the prompt may be
//! computed. A room that two live requests share gives both the KV of the first, which is the cross-talk that the
//! real worker shows, and is counted.

use super::{
    Engine,
    job::{Parcel, Partner, Queued},
    queues::{Left, transfer_error},
};
use crate::{answer::Answer, config::Role, counters::Transfer, ticket::Abort};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};
use tokio::{sync::oneshot, time::Instant};

/// The rooms of one prefill worker.
#[derive(Default)]
pub(super) struct Rooms {
    rooms: HashMap<u64, Room>,
    /// Jobs that wait for their decode: the oldest has the earliest deadline.
    deadlines: BTreeMap<u64, (Instant, u64)>,
    arrivals: u64,
}

#[derive(Default)]
struct Room {
    /// Every job of this room from admission to its end.
    live: Vec<(u64, Answer)>,
    jobs: VecDeque<Queued>,
    partners: VecDeque<Partner>,
}

impl Room {
    fn is_empty(&self) -> bool {
        self.live.is_empty() && self.partners.is_empty()
    }
}

impl Rooms {
    /// A prefill request enters. Returns whether the room was taken, and the request itself if its decode is there.
    pub(super) fn enter(
        &mut self,
        number: u64,
        mut queued: Queued,
        deadline: Instant,
    ) -> (bool, Option<Queued>) {
        let room = self.rooms.entry(number).or_default();
        let taken = room.live.first().map(|(_, answer)| *answer);
        if let Some(answer) = taken {
            queued.carried = answer;
        }
        room.live.push((queued.id, queued.job.plan.answer));
        queued.partner = room.partners.pop_front();
        if queued.partner.is_some() {
            return (taken.is_some(), Some(queued));
        }
        self.deadlines.insert(queued.id, (deadline, number));
        room.jobs.push_back(queued);
        (taken.is_some(), None)
    }

    /// A decode worker arrives. Returns the request that waited for it.
    fn arrive(&mut self, number: u64, partner: Partner) -> Option<Queued> {
        let room = self.rooms.entry(number).or_default();
        let Some(mut queued) = room.jobs.pop_front() else {
            room.partners.push_back(partner);
            return None;
        };
        self.deadlines.remove(&queued.id);
        queued.partner = Some(partner);
        Some(queued)
    }

    /// A decode worker that still waited goes. Returns whether it did.
    fn unarrive(&mut self, number: u64, arrival: u64) -> bool {
        let Some(room) = self.rooms.get_mut(&number) else {
            return false;
        };
        let before = room.partners.len();
        room.partners.retain(|partner| partner.arrival != arrival);
        let waited = room.partners.len() < before;
        if room.is_empty() {
            self.rooms.remove(&number);
        }
        waited
    }

    pub(super) fn forget(&mut self, number: u64, id: u64) {
        if let Some(room) = self.rooms.get_mut(&number) {
            room.live.retain(|(live, _)| *live != id);
            if room.is_empty() {
                self.rooms.remove(&number);
            }
        }
    }

    pub(super) fn take(&mut self, id: u64) -> Option<Queued> {
        let (_, number) = self.deadlines.remove(&id)?;
        let jobs = &mut self.rooms.get_mut(&number)?.jobs;
        let at = jobs.iter().position(|queued| queued.id == id)?;
        jobs.remove(at)
    }

    pub(super) fn next_deadline(&self) -> Option<(u64, Instant)> {
        self.deadlines
            .first_key_value()
            .map(|(&id, &(deadline, _))| (id, deadline))
    }

    pub(super) fn waiting(&self) -> usize {
        self.deadlines.len()
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Queued> {
        self.rooms.values().flat_map(|room| &room.jobs)
    }
}

/// A decode worker's visit; dropped before [`Arrival::delivered`], the transfer has failed.
pub(crate) struct Arrival {
    engine: Arc<Engine>,
    room: u64,
    number: u64,
    kv: oneshot::Receiver<Parcel>,
    parcel: Option<Parcel>,
    delivered: bool,
}

impl Engine {
    /// A decode worker asks for the KV of a room. None where this worker is no prefill, or no longer the one that the
    /// decode remembers: its message then reaches nobody, as with the real transfer engine.
    pub(crate) fn arrive(self: &Arc<Self>, room: u64, rank_port: u16) -> Option<Arrival> {
        let (sender, kv) = oneshot::channel();
        let number = {
            let mut state = self.state.lock();
            if state.role != Role::Prefill || state.switch.rank_port() != Some(rank_port) {
                return None;
            }
            state.rooms.arrivals += 1;
            let arrival = state.rooms.arrivals;
            let partner = Partner {
                arrival,
                kv: sender,
            };
            let met = state.rooms.arrive(room, partner);
            state.waiting.extend(met);
            arrival
        };
        self.wake.notify_one();
        Some(Arrival {
            engine: Arc::clone(self),
            room,
            number,
            kv,
            parcel: None,
            delivered: false,
        })
    }

    /// The port of the prefill rank, which a bootstrap server hands out; none before the first prefill role.
    pub(crate) fn rank_port(&self) -> Option<u16> {
        self.state.lock().switch.rank_port()
    }

    fn decode_left(&self, arrival: &Arrival) {
        let mut state = self.state.lock();
        if state.rooms.unarrive(arrival.room, arrival.number) {
            return;
        }
        let computed = arrival.parcel.map(|parcel| parcel.job);
        let id = computed.or_else(|| {
            let jobs = state.waiting.iter().chain(&state.prefilling);
            jobs.filter_map(|queued| Some((queued.id, queued.partner.as_ref()?)))
                .find_map(|(id, partner)| (partner.arrival == arrival.number).then_some(id))
        });
        if let Some(queued) = id.and_then(|id| state.take(id)) {
            let why = "Aborted by AbortReq.";
            let message = transfer_error(
                "Prefill transfer failed",
                &queued.job.rid,
                arrival.room,
                why,
            );
            state.leave(queued, Left::TransferFailed, Abort::new(500, message));
        }
        drop(state);
        self.wake.notify_one();
    }
}

impl Arrival {
    /// The KV once it is computed, and when it arrives. Waits for ever where the prefill request goes away: a decode
    /// isn't told, and gives up by its own timeout.
    pub(crate) async fn kv(&mut self) -> Parcel {
        let Ok(parcel) = (&mut self.kv).await else {
            return std::future::pending().await;
        };
        self.parcel = Some(parcel);
        parcel
    }

    /// The decode has the KV: the prefill request is done. False where it was aborted meanwhile.
    pub(crate) fn delivered(mut self) -> bool {
        self.delivered = true;
        let mut state = self.engine.state.lock();
        let Some(parcel) = self.parcel else {
            return false;
        };
        let Some(queued) = state.inflight.remove(&parcel.job) else {
            return false;
        };
        state.counters.transfer = Transfer {
            tokens: parcel.tokens,
            took: parcel.arrives - parcel.computed,
        };
        state.complete(queued);
        true
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if !self.delivered {
            self.engine.decode_left(self);
        }
    }
}
