//! Routing: which worker of one role takes a request.
//!
//! A policy sees the candidates of one role and the few facts of a request that matter, and answers with an index. It
//! is asked once for the prefill leg and once for the decode leg of a request, each time an instance of its own.
//!
//! One file per policy; `kind` knows them by name. What they share: `select` looks through candidates, `survey` compares
//! their loads alone, `dice` stretches the entropy of a decision, `rendezvous` ranks workers for a key.

mod bucket;
mod cache_aware;
mod consistent_hashing;
mod dice;
mod kind;
mod manual;
mod power_of_two;
mod prefix_hash;
mod random;
mod rendezvous;
mod round_robin;
mod select;
mod settings;
mod survey;
#[cfg(test)]
mod testing;

pub use self::kind::{PolicyKind, UnknownPolicy, build};
pub use self::settings::{AssignmentMode, RouteSettings, UnknownAssignmentMode};

use crate::time::Timestamp;
use crate::worker::WorkerId;

/// What a policy sees of a worker that may be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub id: WorkerId,
    /// Stable hash of the worker's URL: the same in every router and after every restart, so that hashing policies
    /// agree across them.
    pub key: u64,
    /// Requests that this router has in flight on the worker in this role.
    pub in_flight: u32,
    /// Tokens that the worker itself reported as held (running and waiting), `None` where it reported nothing fresh.
    pub reported_tokens: Option<u64>,
}

/// The workers of one role in a fixed order.
///
/// `get` answers `None` for a worker that must not be picked now (not serving, breaker open, already tried by this
/// request), so that a policy which needs only one or two looks does not pay for all of them.
pub trait Candidates {
    fn len(&self) -> usize;

    fn get(&self, index: usize) -> Option<Candidate>;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills two columns of the same length with the candidates from `from` on: who they are, and their requests in
    /// flight, [`UNAVAILABLE`] of those for whom `get` answers `None` (then the id says nothing).
    ///
    /// One call for many, so that a policy which compares everybody's load doesn't pay for all that is known of each.
    fn survey(&self, from: usize, ids: &mut [WorkerId], in_flight: &mut [u32]) {
        for (index, (id, in_flight)) in (from..).zip(ids.iter_mut().zip(in_flight)) {
            *in_flight = UNAVAILABLE;
            if let Some(candidate) = self.get(index) {
                *id = candidate.id;
                *in_flight = candidate.in_flight.min(UNAVAILABLE - 1);
            }
        }
    }
}

/// In a column of requests in flight: the worker must not be picked now.
pub const UNAVAILABLE: u32 = u32::MAX;

impl Candidates for [Candidate] {
    fn len(&self) -> usize {
        <[Candidate]>::len(self)
    }

    fn get(&self, index: usize) -> Option<Candidate> {
        <[Candidate]>::get(self, index).copied()
    }
}

/// So that a slice can be passed as `&dyn Candidates`: `&slice`.
impl<C: Candidates + ?Sized> Candidates for &C {
    fn len(&self) -> usize {
        C::len(self)
    }

    fn get(&self, index: usize) -> Option<Candidate> {
        C::get(self, index)
    }

    fn survey(&self, from: usize, ids: &mut [WorkerId], in_flight: &mut [u32]) {
        C::survey(self, from, ids, in_flight);
    }
}

impl Candidates for [Option<Candidate>] {
    fn len(&self) -> usize {
        <[Option<Candidate>]>::len(self)
    }

    fn get(&self, index: usize) -> Option<Candidate> {
        <[Option<Candidate>]>::get(self, index).copied().flatten()
    }
}

/// What a policy may know of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteRequest<'a> {
    /// The prompt as it stands in the request's JSON (a string with its escapes, a list of token ids, a list of
    /// messages): never decoded, good for comparing prefixes and for its length.
    pub prompt: &'a str,
    /// `x-smg-routing-key`: requests with the same key want the same worker.
    pub routing_key: Option<&'a str>,
    /// What identifies the client where there is no routing key (authorization, forwarded-for, cookie).
    pub client_key: Option<&'a str>,
    /// `x-smg-target-worker`: the index of a worker that the client insists on.
    pub target_index: Option<usize>,
    /// How many workers of the *other* role the pair's other half was chosen from; 1 where there is no other half.
    /// Lets round robin visit all pairs instead of locking step.
    pub partners: usize,
}

/// Time and entropy of one decision.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    pub now: Timestamp,
    /// 64 uniform random bits.
    pub entropy: u64,
}

/// Picks a worker.
///
/// `pick` answers the index of a candidate for which `candidates.get(index)` is `Some`, or `None` where there is none
/// (or the client insists on one that can't be had). Implementations keep their state behind `&self` and hold no lock
/// longer than a bounded piece of work.
pub trait RoutePolicy: Send + Sync {
    fn pick(
        &self,
        request: &RouteRequest<'_>,
        candidates: &dyn Candidates,
        draw: Draw,
    ) -> Option<usize>;

    /// The worker left the set or changed its role: what the policy remembers of it is void.
    fn forget(&self, worker: WorkerId) {
        let _ = worker;
    }
}
