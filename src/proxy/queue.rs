//! Late binding: a request waits in the router until a prefill worker has room (and, if asked for, a decode worker a
//! place), and only then is paired with workers.
//!
//! What waits in a worker's own queue has chosen its worker and its turn. What waits here has chosen neither: it goes to
//! whoever has room first, a worker that is drained takes nobody with it, and under overload the requests that can still
//! have their first token in time go before those that can't.
//!
//! Who is late gives way to those that aren't for three quarters of the time that a request waits at most; then it has
//! its share of turns, so that fresh requests alone can't keep anybody waiting until that limit.
//!
//! Where tenants have shares, a full queue makes room for a tenant that has few places in it: the last one of whoever has
//! the most is refused in its stead ([`Seat::join`]).
//!
//! The line is [`WaitQueue`] behind a short lock. Only its first may go. It is woken when something may have made room
//! for it ([`PrefillQueue::room_may_be`]), picks its workers under the lock, so that no two take the same room, and
//! wakes the one behind it; whoever is woken and is not the first passes it on. A request that leaves the line for any
//! reason does the same as it drops its seat, so that no wake-up is lost and none wakes everybody.

mod lead;
mod standing;
#[cfg(test)]
mod tests;

pub use standing::Standings;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use policies::model::PrefillModel;
use policies::queue::{Claim, Place, Standing, WaitQueue, gives_way};
use policies::time::Timestamp;
use policies::worker::Role;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::admission::Refused;
use super::error::RouteError;
use super::pick::{NoWorker, PairRoom};
use super::waiting_room::{Waiting, WaitingRoom};
use crate::clock::Clock;
use crate::config::Config;
use crate::workers::{Watching, Worker, WorkerRegistry};
use lead::Lead;

/// How often the first in line looks by itself. All that makes room wakes it, but for the time alone that turns an open
/// breaker half open; a second is short beside the minute that breakers are open.
const LOOK: Duration = Duration::from_secs(1);

/// The line in front of the prefill workers.
#[derive(Debug)]
pub struct PrefillQueue {
    /// A prefill worker has room while fewer prompt tokens than this are before it. It is more than zero, so a worker
    /// with nothing has room for a prompt of any length.
    bound: NonZeroU64,
    for_decode: bool,
    pub standings: Standings,
    room: Arc<WaitingRoom>,
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    waiting: WaitQueue<Arc<Call>>,
    lead: Lead,
}

/// How one that waits is told.
#[derive(Debug, Default)]
struct Call {
    notify: Notify,
    /// Its place is another's.
    crowded_out: AtomicBool,
}

/// A request that wants to be dispatched.
#[derive(Debug, Clone, Copy)]
pub struct Wanting<'a> {
    pub registry: &'a WorkerRegistry,
    pub clock: Clock,
    /// Of the request, not of this attempt.
    pub arrived: Timestamp,
    pub standing: Standing,
    pub prompt_tokens: u32,
    /// How long it may still wait.
    pub patience: Duration,
}

impl PrefillQueue {
    /// `None` where the settings bind requests to workers as they come. `model` is how long prefill is thought to take
    /// before anything was measured; with `seed` keys of tenants become numbers.
    pub fn new(
        config: &Config,
        model: PrefillModel,
        seed: u64,
        room: Arc<WaitingRoom>,
    ) -> Option<Arc<Self>> {
        let Config {
            queue: settings,
            slo,
            auth,
            ..
        } = config;
        let standings = Standings::new(
            settings.sharing,
            auth.api_key.is_some(),
            settings.priorities,
            seed,
        );
        let waiting = WaitQueue::new(settings.order, slo.ttft, gives_way(settings.timeout));
        Some(Arc::new(Self {
            bound: settings.prefill_tokens?,
            for_decode: settings.wait_for_decode,
            standings,
            room,
            line: Mutex::new(Line {
                waiting: waiting.sharing(settings.sharing),
                lead: Lead::new(model),
            }),
        }))
    }

    /// Waits until `take` can take workers with such room. It answers `None` where there are workers and none has it, and is
    /// called under the line's lock.
    pub async fn dispatch<T>(
        &self,
        wanting: &Wanting<'_>,
        take: impl Fn(PairRoom) -> Result<Option<T>, NoWorker>,
    ) -> Result<T, RouteError> {
        let deadline = Instant::now() + wanting.patience;
        let mut seat = {
            let mut line = self.line.lock();
            line.lead.asked_for(wanting.prompt_tokens);
            if line.waiting.is_empty() {
                let lead = line.lead.with_before(least_pending(wanting.registry));
                let now = wanting.clock.now();
                let claim = line.waiting.claim(wanting.arrived, now, lead);
                if let Some(taken) = take(self.room_for(claim)).map_err(RouteError::NoWorker)? {
                    return Ok(taken);
                }
            }
            Seat::join(self, &mut line, wanting).map_err(RouteError::Refused)?
        };
        let mut called = false;
        loop {
            if let Some(done) = self.try_first(&mut seat, wanting, &take, called) {
                return done.map_err(RouteError::NoWorker);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(RouteError::Refused(Refused::TimedOut));
            }
            let look = deadline.min(now + LOOK);
            called = tokio::time::timeout_at(look, seat.call.notify.notified())
                .await
                .is_ok();
            if seat.call.crowded_out.load(Ordering::Acquire) {
                return Err(RouteError::Refused(Refused::QueueFull));
            }
        }
    }

    /// Takes, where the seat is the first. Where it isn't and was called, the call goes to whoever is.
    fn try_first<T>(
        &self,
        seat: &mut Seat<'_>,
        wanting: &Wanting<'_>,
        take: impl Fn(PairRoom) -> Result<Option<T>, NoWorker>,
        called: bool,
    ) -> Option<Result<T, NoWorker>> {
        let mut line = self.line.lock();
        let lead = line.lead.with_before(least_pending(wanting.registry));
        let now = wanting.clock.now();
        let may_be_owed = || !self.for_decode || has_decode_place(wanting.registry, Claim::Owed);
        let late = line.waiting.turned_late();
        let next = line.waiting.peek(now, lead, may_be_owed);
        let next = next.map(|next| {
            let is_this = Some(next.place) == seat.place;
            if called && !is_this {
                next.request.notify.notify_one();
            }
            is_this.then_some(next.claim)
        });
        self.room.became_late(line.waiting.turned_late() - late);
        let claim = next.flatten()?;
        let done = take(self.room_for(claim)).transpose()?;
        // The seat is what is next, so it takes its turn; one that leaves otherwise takes none.
        line.waiting.pop(now);
        seat.place = None;
        line.call_first();
        Some(done)
    }

    const fn room_for(&self, claim: Claim) -> PairRoom {
        PairRoom {
            prompts: self.bound,
            place: if self.for_decode { Some(claim) } else { None },
        }
    }

    /// Whether requests wait for a place on a decode worker, too.
    pub const fn is_for_decode(&self) -> bool {
        self.for_decode
    }

    /// Something happened that may let the first in line go: a prompt was computed or given up, a worker began or ceased
    /// to serve, a breaker changed, an answer ended that others wait for.
    pub fn room_may_be(&self) {
        self.line.lock().call_first();
    }

    /// What a prefill leg on `worker` holds. Its own prompt is among those that are before the worker.
    pub fn turn(self: &Arc<Self>, worker: &Worker, prompt_tokens: u32) -> Turn {
        let before = worker.stats.pending_prompt_tokens();
        let line = self.line.lock();
        Turn {
            modelled: line.lead.modelled(before, u64::from(prompt_tokens)),
            sent: Instant::now(),
            prefilled: None,
            queue: Arc::clone(self),
        }
    }
}

/// A place on a decode worker may be the one that the first in line waits for.
impl Watching for PrefillQueue {
    fn left(&self) {
        self.room_may_be();
    }
}

impl Line {
    fn call_first(&self) {
        if let Some(next) = self.waiting.first() {
            next.request.notify.notify_one();
        }
    }

    /// In a queue that is full: makes a place for a request of such standing, where its tenant is to have one. Whether
    /// it did.
    fn make_place(&mut self, standing: Standing) -> bool {
        let yields = self.waiting.yields_to(standing.tenant);
        let Some(crowded_out) = yields.and_then(|place| self.waiting.remove(place)) else {
            return false;
        };
        crowded_out.crowded_out.store(true, Ordering::Release);
        crowded_out.notify.notify_one();
        // It may have had the call of the first.
        self.call_first();
        true
    }
}

/// Prompt tokens before the prefill worker that has the fewest.
fn least_pending(registry: &WorkerRegistry) -> u64 {
    let set = registry.snapshot();
    let serving = set.serving(Role::Prefill);
    let pending = serving
        .iter()
        .map(|member| member.worker.stats.pending_prompt_tokens());
    pending.min().unwrap_or(0)
}

fn has_decode_place(registry: &WorkerRegistry, claim: Claim) -> bool {
    let set = registry.snapshot();
    let serving = set.serving(Role::Decode);
    serving.iter().any(|member| member.worker.has_place(claim))
}

/// A place in the line, left on drop: also when the client leaves.
struct Seat<'a> {
    queue: &'a PrefillQueue,
    call: Arc<Call>,
    /// `None` once left.
    place: Option<Place>,
    _waiting: Waiting<'a>,
}

impl<'a> Seat<'a> {
    fn join(
        queue: &'a PrefillQueue,
        line: &mut Line,
        wanting: &Wanting<'_>,
    ) -> Result<Self, Refused> {
        let Wanting {
            arrived,
            prompt_tokens,
            standing,
            ..
        } = *wanting;
        let waiting = match queue.room.join(prompt_tokens) {
            Some(waiting) => waiting,
            None if line.make_place(standing) => queue.room.join_for_another(prompt_tokens),
            None => return Err(Refused::QueueFull),
        };
        let call = Arc::new(Call::default());
        let waits = Arc::clone(&call);
        let place = line
            .waiting
            .push_as(standing, arrived, prompt_tokens, waits);
        Ok(Self {
            queue,
            call,
            place: Some(place),
            _waiting: waiting,
        })
    }

    /// There may be room for another one yet, or it held the call that was meant for another.
    fn leave(&mut self, line: &mut Line) {
        if let Some(place) = self.place.take() {
            line.waiting.remove(place);
            line.call_first();
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if self.place.is_some() {
            let queue = self.queue;
            self.leave(&mut queue.line.lock());
        }
    }
}

/// A prefill leg's part in the queue: its end, whichever, may make room for the next. To be dropped after the leg's
/// ticket.
#[derive(Debug)]
pub struct Turn {
    queue: Arc<PrefillQueue>,
    /// Seconds that the model gives it.
    modelled: f64,
    sent: Instant,
    prefilled: Option<Instant>,
}

impl Turn {
    /// The prompt was computed and its KV sent.
    pub fn prefilled(&mut self) {
        self.prefilled = Some(Instant::now());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut line = self.queue.line.lock();
        if let Some(ended) = self.prefilled {
            line.lead.took(self.modelled, ended - self.sent);
        }
        line.call_first();
    }
}
