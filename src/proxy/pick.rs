//! Picking the workers of an attempt: what the policies see of the snapshot, and the places taken on who they pick.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use policies::queue::Claim;
use policies::route::{
    self, Candidate, Candidates, Draw, PolicyKind, RoutePolicy, RouteRequest, UNAVAILABLE,
};
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};
use smallvec::SmallVec;

use crate::config::RoutingSettings;
use crate::workers::{Bootstrap, RoleView, Ticket, Watching, Worker, WorkerRegistry};

/// How often a pick is repeated because the gate of the worker closed after the snapshot was taken. Each repeat has a
/// newer snapshot without that worker, so this many closing in a row means that the fleet is going away.
const STALE_PICKS: usize = 8;

/// Workers that a request has tried already.
pub type Tried = SmallVec<[WorkerId; 8]>;

/// The policies of the roles. Regular workers are picked by the prefill policy: they run the prefill too.
pub struct Policies {
    prefill: (PolicyKind, Box<dyn RoutePolicy>),
    decode: (PolicyKind, Box<dyn RoutePolicy>),
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies")
            .field("prefill", &self.prefill.0)
            .field("decode", &self.decode.0)
            .finish()
    }
}

impl Policies {
    pub fn new(settings: &RoutingSettings) -> Self {
        let build = |kind| (kind, route::build(kind, &settings.route));
        Self {
            prefill: build(settings.prefill),
            decode: build(settings.decode),
        }
    }

    pub fn name(&self, role: Role) -> &'static str {
        self.of(role).0.as_str()
    }

    /// The worker left, or changed its role.
    pub fn forget(&self, id: WorkerId) {
        self.prefill.1.forget(id);
        self.decode.1.forget(id);
    }

    fn of(&self, role: Role) -> &(PolicyKind, Box<dyn RoutePolicy>) {
        match role {
            Role::Prefill | Role::Regular => &self.prefill,
            Role::Decode => &self.decode,
        }
    }
}

/// A worker picked for a leg, with a place taken on it.
#[derive(Debug)]
pub struct Picked {
    pub ticket: Ticket,
    pub bootstrap: Bootstrap,
}

impl Picked {
    /// Counts the request among those that were late when they got their place.
    fn late(self) -> Self {
        Self {
            ticket: self.ticket.late(),
            ..self
        }
    }

    /// Tells `watching` once the request has left the worker.
    #[must_use]
    pub fn telling(self, watching: Arc<dyn Watching>) -> Self {
        Self {
            ticket: self.ticket.telling(watching),
            ..self
        }
    }
}

/// What a pair that a request waits for has.
#[derive(Debug, Clone, Copy)]
pub struct PairRoom {
    /// The prefill worker has fewer prompt tokens than this before it.
    pub prompts: NonZeroU64,
    /// The decode worker has a place for who claims it so; `None` where it needn't have one.
    pub place: Option<Claim>,
}

/// No worker of a role can take the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoWorker {
    pub role: Role,
    /// Workers of the role that serve but were passed over: their breakers are open.
    pub circuits_open: bool,
}

/// Everything that a pick depends on.
#[derive(Debug, Clone, Copy)]
pub struct Picker<'a> {
    pub registry: &'a WorkerRegistry,
    pub policies: &'a Policies,
    pub now: Timestamp,
    pub load_interval: Duration,
    /// Of the request, estimated: they are pending on the workers that are picked for it.
    pub prompt_tokens: u32,
}

impl Picker<'_> {
    /// A prefill and a decode worker for `request`.
    pub fn pair(
        &self,
        request: RouteRequest<'_>,
        tried: &Tried,
    ) -> Result<(Picked, Picked), NoWorker> {
        let prefill = self.one(Role::Prefill, request, tried)?;
        let decode = self.one(Role::Decode, self.of_pair(request), tried)?;
        Ok((prefill, decode))
    }

    /// The same of workers with room; `None` where there are none such.
    pub fn pair_with_room(
        &self,
        request: RouteRequest<'_>,
        tried: &Tried,
        room: PairRoom,
    ) -> Result<Option<(Picked, Picked)>, NoWorker> {
        // First, since a policy takes note of whom it picks.
        if room
            .place
            .is_some_and(|claim| !self.decode_has_place(claim))
        {
            return Ok(None);
        }
        let prompts = Room::Prompts(room.prompts);
        let Some(prefill) = self.find(Role::Prefill, request, tried, prompts)? else {
            return Ok(None);
        };
        let request = self.of_pair(request);
        let place = room.place.map_or(Room::Any, Room::Place);
        let decode = self.find(Role::Decode, request, tried, place)?;
        let was_late = room.place.is_some_and(|claim| claim != Claim::Fresh);
        Ok(decode.map(|decode| (prefill, if was_late { decode.late() } else { decode })))
    }

    /// Whether a decode worker has a place for `claim`, or there is none that could.
    fn decode_has_place(&self, claim: Claim) -> bool {
        let set = self.registry.snapshot();
        let decode = self.candidates(set.serving(Role::Decode), &[], Room::Place(claim));
        let mut available = decode.available().peekable();
        available.peek().is_none() || available.any(|worker| decode.room.is_on(worker))
    }

    /// As decode's policy sees it.
    fn of_pair<'a>(&self, request: RouteRequest<'a>) -> RouteRequest<'a> {
        RouteRequest {
            partners: self.registry.snapshot().serving(Role::Prefill).len(),
            ..request
        }
    }

    pub fn one(
        &self,
        role: Role,
        request: RouteRequest<'_>,
        tried: &Tried,
    ) -> Result<Picked, NoWorker> {
        let found = self.find(role, request, tried, Room::Any)?;
        Ok(found.expect("every worker has such room"))
    }

    /// `None` where the workers that the request may go to have no such room.
    fn find(
        &self,
        role: Role,
        request: RouteRequest<'_>,
        tried: &Tried,
        room: Room,
    ) -> Result<Option<Picked>, NoWorker> {
        for _ in 0..STALE_PICKS {
            let set = self.registry.snapshot();
            let view = set.serving(role);
            let mut live = self.candidates(view, tried, room);
            let mut index = self.choose(role, &request, &live);
            if index.is_none() && !live.may_be_full() {
                // All were tried: another try on one of them is better than none.
                live = self.candidates(view, &[], room);
                index = self.choose(role, &request, &live);
            }
            if index.is_none() && live.may_be_full() {
                return Ok(None);
            }
            let Some(member) = index.and_then(|index| view.get(index)) else {
                return Err(NoWorker {
                    role,
                    circuits_open: !view.is_empty(),
                });
            };
            if let Some(ticket) = member.worker.enter() {
                return Ok(Some(Picked {
                    ticket: ticket.carrying(self.prompt_tokens),
                    bootstrap: member.bootstrap.clone(),
                }));
            }
        }
        Err(NoWorker {
            role,
            circuits_open: false,
        })
    }

    fn choose(
        &self,
        role: Role,
        request: &RouteRequest<'_>,
        candidates: &Live<'_>,
    ) -> Option<usize> {
        let draw = Draw {
            now: self.now,
            entropy: fastrand::u64(..),
        };
        self.policies.of(role).1.pick(request, candidates, draw)
    }

    fn candidates<'a>(&self, view: RoleView<'a>, tried: &'a [WorkerId], room: Room) -> Live<'a> {
        Live {
            view,
            tried,
            room,
            now: self.now,
            load_interval: self.load_interval,
        }
    }
}

/// What a worker has to have for one more request.
#[derive(Debug, Clone, Copy)]
enum Room {
    Any,
    /// Fewer prompt tokens than this before it.
    Prompts(NonZeroU64),
    /// A place among those that it decodes, for who claims it so.
    Place(Claim),
}

impl Room {
    fn is_on(self, worker: &Worker) -> bool {
        match self {
            Self::Any => true,
            Self::Prompts(bound) => worker.stats.pending_prompt_tokens() < bound.get(),
            Self::Place(claim) => worker.has_place(claim),
        }
    }
}

/// The serving workers of a role as policies see them, read as they look.
struct Live<'a> {
    view: RoleView<'a>,
    tried: &'a [WorkerId],
    room: Room,
    now: Timestamp,
    load_interval: Duration,
}

impl Live<'_> {
    /// Whether there are workers that would be candidates if they had room: where nobody was picked, they have none.
    fn may_be_full(&self) -> bool {
        !matches!(self.room, Room::Any) && self.available().next().is_some()
    }

    fn available(&self) -> impl Iterator<Item = &Arc<Worker>> {
        let workers = self.view.iter().map(|member| &member.worker);
        workers.filter(|worker| self.is_available(worker))
    }

    fn is_available(&self, worker: &Worker) -> bool {
        worker.breaker.allows(self.now) && !self.tried.contains(&worker.id)
    }
}

impl Candidates for Live<'_> {
    fn len(&self) -> usize {
        self.view.len()
    }

    fn get(&self, index: usize) -> Option<Candidate> {
        let worker: &Arc<_> = &self.view.get(index)?.worker;
        (self.is_available(worker) && self.room.is_on(worker)).then(|| Candidate {
            id: worker.id,
            key: worker.key,
            in_flight: worker.in_flight(),
            reported_tokens: worker.reported_tokens(self.now, self.load_interval),
        })
    }

    fn survey(&self, from: usize, ids: &mut [WorkerId], in_flight: &mut [u32]) {
        let any = matches!(self.room, Room::Any) && self.tried.is_empty();
        self.view.copy_ids(from, ids);
        for (index, (load, in_flight)) in self.view.loads(from).zip(in_flight).enumerate() {
            *in_flight = match load {
                Some(load) if any => load,
                _ => {
                    let candidate = self.get(from + index);
                    candidate.map_or(UNAVAILABLE, |candidate| candidate.in_flight)
                }
            };
        }
    }
}
