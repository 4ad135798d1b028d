//! Picking the workers of an attempt: what the policies see of the snapshot, and the places taken on who they pick.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use policies::route::{self, Candidate, Candidates, Draw, PolicyKind, RoutePolicy, RouteRequest};
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};
use smallvec::SmallVec;

use crate::config::RoutingSettings;
use crate::workers::{Bootstrap, RoleView, Ticket, Worker, WorkerRegistry};

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
        self.with_decode(prefill, request, tried)
    }

    /// The same where the prefill worker has fewer than `bound` prompt tokens before it; `None` where none has.
    pub fn pair_with_room(
        &self,
        request: RouteRequest<'_>,
        tried: &Tried,
        bound: NonZeroU64,
    ) -> Result<Option<(Picked, Picked)>, NoWorker> {
        match self.find(Role::Prefill, request, tried, Some(bound))? {
            Some(prefill) => self.with_decode(prefill, request, tried).map(Some),
            None => Ok(None),
        }
    }

    fn with_decode(
        &self,
        prefill: Picked,
        request: RouteRequest<'_>,
        tried: &Tried,
    ) -> Result<(Picked, Picked), NoWorker> {
        let partners = self.registry.snapshot().serving(Role::Prefill).len();
        let decode = self.one(
            Role::Decode,
            RouteRequest {
                partners,
                ..request
            },
            tried,
        )?;
        Ok((prefill, decode))
    }

    pub fn one(
        &self,
        role: Role,
        request: RouteRequest<'_>,
        tried: &Tried,
    ) -> Result<Picked, NoWorker> {
        let found = self.find(role, request, tried, None)?;
        Ok(found.expect("without a bound there is room on every worker"))
    }

    /// `None` where the workers that the request may go to have `bound` prompt tokens before them, or more.
    fn find(
        &self,
        role: Role,
        request: RouteRequest<'_>,
        tried: &Tried,
        bound: Option<NonZeroU64>,
    ) -> Result<Option<Picked>, NoWorker> {
        for _ in 0..STALE_PICKS {
            let set = self.registry.snapshot();
            let view = set.serving(role);
            let mut live = self.candidates(view, tried, bound);
            let mut index = self.choose(role, &request, &live);
            if index.is_none() && !live.are_full() {
                // All were tried: another try on one of them is better than none.
                live = self.candidates(view, &[], bound);
                index = self.choose(role, &request, &live);
            }
            if index.is_none() && live.are_full() {
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

    fn candidates<'a>(
        &self,
        view: RoleView<'a>,
        tried: &'a [WorkerId],
        bound: Option<NonZeroU64>,
    ) -> Live<'a> {
        Live {
            view,
            tried,
            bound,
            now: self.now,
            load_interval: self.load_interval,
        }
    }
}

/// The serving workers of a role as policies see them, read as they look.
struct Live<'a> {
    view: RoleView<'a>,
    tried: &'a [WorkerId],
    /// Prompt tokens from which on a worker has no room.
    bound: Option<NonZeroU64>,
    now: Timestamp,
    load_interval: Duration,
}

impl Live<'_> {
    /// Whether there are workers that would be candidates if they had room.
    fn are_full(&self) -> bool {
        let mut members = self.view.iter();
        self.bound.is_some() && members.any(|member| self.is_available(&member.worker))
    }

    fn is_available(&self, worker: &Worker) -> bool {
        worker.breaker.allows(self.now) && !self.tried.contains(&worker.id)
    }

    fn has_room(&self, worker: &Worker) -> bool {
        let pending = || worker.stats.pending_prompt_tokens();
        self.bound.is_none_or(|bound| pending() < bound.get())
    }
}

impl Candidates for Live<'_> {
    fn len(&self) -> usize {
        self.view.len()
    }

    fn get(&self, index: usize) -> Option<Candidate> {
        let worker: &Arc<_> = &self.view.get(index)?.worker;
        (self.is_available(worker) && self.has_room(worker)).then(|| Candidate {
            id: worker.id,
            key: worker.key,
            in_flight: worker.in_flight(),
            reported_tokens: worker.reported_tokens(self.now, self.load_interval),
        })
    }
}
