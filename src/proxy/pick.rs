//! Picking the workers of an attempt: what the policies see of the snapshot, and the places taken on who they pick.

use std::sync::Arc;
use std::time::Duration;

use policies::route::{self, Candidate, Candidates, Draw, PolicyKind, RoutePolicy, RouteRequest};
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};
use smallvec::SmallVec;

use crate::config::RoutingSettings;
use crate::workers::{Bootstrap, RoleView, Ticket, WorkerRegistry};

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
}

impl Picker<'_> {
    /// A prefill and a decode worker for `request`.
    pub fn pair(
        &self,
        request: RouteRequest<'_>,
        tried: &Tried,
    ) -> Result<(Picked, Picked), NoWorker> {
        let prefill = self.one(
            Role::Prefill,
            RouteRequest {
                partners: 1,
                ..request
            },
            tried,
        )?;
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
        for _ in 0..STALE_PICKS {
            let set = self.registry.snapshot();
            let view = set.serving(role);
            let untried = self.candidates(view, tried);
            let index = self.choose(role, &request, &untried).or_else(|| {
                // All were tried: another try on one of them is better than none.
                self.choose(role, &request, &self.candidates(view, &[]))
            });
            let Some(member) = index.and_then(|index| view.get(index)) else {
                return Err(NoWorker {
                    role,
                    circuits_open: !view.is_empty(),
                });
            };
            if let Some(ticket) = member.worker.enter() {
                return Ok(Picked {
                    ticket,
                    bootstrap: member.bootstrap.clone(),
                });
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

    fn candidates<'a>(&self, view: RoleView<'a>, tried: &'a [WorkerId]) -> Live<'a> {
        Live {
            view,
            tried,
            now: self.now,
            load_interval: self.load_interval,
        }
    }
}

/// The serving workers of a role as policies see them, read as they look.
struct Live<'a> {
    view: RoleView<'a>,
    tried: &'a [WorkerId],
    now: Timestamp,
    load_interval: Duration,
}

impl Candidates for Live<'_> {
    fn len(&self) -> usize {
        self.view.len()
    }

    fn get(&self, index: usize) -> Option<Candidate> {
        let worker: &Arc<_> = &self.view.get(index)?.worker;
        let available = worker.breaker.allows(self.now) && !self.tried.contains(&worker.id);
        available.then(|| Candidate {
            id: worker.id,
            key: worker.key,
            in_flight: worker.in_flight(),
            reported_tokens: worker.reported_tokens(self.now, self.load_interval),
        })
    }
}
