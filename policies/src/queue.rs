//! The order in which waiting requests are taken.
//!
//! Under overload a queue that is taken in order serves everybody late: by the time a request comes to its turn, its
//! target has passed. Fresh-first takes those that can still meet their target before those that can't, so that the
//! overload is borne by the requests that it has cost their target already, and not by all that follow.
//!
//! Left at that, those that are late would wait for as long as fresh ones keep the workers busy, which clients that only
//! ask again once they are answered can do for ever. So who is late gives way for so long and no longer: from then on
//! those who have waited longest get a ninth of the prompt tokens that are taken. A larger share would serve the late
//! sooner, and make more of the others late under overload; this one leaves fresh requests all that they need up to a
//! load of 0.88. Tokens and not requests are shared, since after a change of traffic the late may be long prompts among
//! short ones.
//!
//! Where requests wait for decode, too, a place there is held for as long as an answer takes, which may be fifty times as
//! long as its prefill. Late requests that took every free place would leave none to the fresh ones of the next minute. So
//! they leave a third of the places free, and those that are owed a turn may hold a ninth of them besides ([`has_place`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueOrder {
    /// As they came.
    #[default]
    Fifo,
    /// Those that can still meet their target, as they came; then the others, as they came. Those that have given way
    /// for long enough get a share of the turns.
    FreshFirst,
}

impl QueueOrder {
    pub const ALL: [Self; 2] = [Self::FreshFirst, Self::Fifo];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::FreshFirst => "fresh_first",
        }
    }
}

/// By what a request is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It can still meet its target, or the order is that of arrival.
    Fresh,
    /// It has waited so long that it is owed a turn.
    Owed,
    /// It is late, and nobody waits who isn't.
    Late,
}

/// What a decode worker has in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodePlaces {
    /// Requests that it runs at a time.
    pub most: u64,
    pub in_flight: u64,
    /// Of those in flight, the ones that got their place when they were late.
    pub late: u64,
}

/// Whether a decode worker has a place for a request that is next by `claim`.
pub const fn has_place(places: DecodePlaces, claim: Claim) -> bool {
    let DecodePlaces {
        most,
        in_flight,
        late,
    } = places;
    in_flight < most
        && match claim {
            Claim::Fresh => true,
            Claim::Owed => late * (FRESH_SHARE + 1) < most,
            Claim::Late => in_flight * 3 < most * 2,
        }
}

/// Where a request stands: those that arrived earlier come first, and of those that arrived together the one that was
/// added first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    arrived: Timestamp,
    number: u64,
}

/// Requests that wait, each with the same target for its time to first token. No operation costs more than the
/// logarithm of their number, a move from the fresh to the late once for each request apart.
#[derive(Debug, Clone)]
pub struct WaitQueue<T> {
    order: QueueOrder,
    target: Duration,
    gives_way: Duration,
    added: u64,
    fresh: BTreeMap<Place, Waiting<T>>,
    late: BTreeMap<Place, Waiting<T>>,
    /// Tokens of fresh ones that were taken while one had waited too long.
    passed_over: u64,
    /// Requests that have become late while they waited.
    turned_late: u64,
    /// Whether the one that has waited longest was owed a turn when the queue was last looked at.
    owed: bool,
}

/// The request that is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next<'a, T> {
    pub place: Place,
    pub claim: Claim,
    pub request: &'a T,
}

#[derive(Debug, Clone)]
struct Waiting<T> {
    tokens: u32,
    request: T,
}

/// Tokens of fresh requests for each token of one that has waited too long.
const FRESH_SHARE: u64 = 8;

/// A request is late once it has less than this part of its target left for what may go otherwise than thought. Under
/// overload those that are taken have waited as long as they may, so that without it many come a little too late.
const MARGIN: u32 = 20;

/// How long a request waits at most in a queue that takes the place of the workers' own, unless told otherwise. Much
/// longer than a role changes, so that those that a change made late are served while fresh ones leave room for them; as
/// long as SGLang's decode waits for a prefill, and half of what OpenAI's clients wait for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(300);

/// The part of the time that a request waits at most for which a late one gives way.
pub fn gives_way(longest_wait: Duration) -> Duration {
    longest_wait * 3 / 4
}

impl<T> WaitQueue<T> {
    /// `target` is the time to first token that a request is to have; one that has waited for `gives_way` no longer
    /// lets all fresh ones pass.
    pub const fn new(order: QueueOrder, target: Duration, gives_way: Duration) -> Self {
        Self {
            order,
            target,
            gives_way,
            added: 0,
            fresh: BTreeMap::new(),
            late: BTreeMap::new(),
            passed_over: 0,
            turned_late: 0,
            owed: false,
        }
    }

    pub fn len(&self) -> usize {
        self.fresh.len() + self.late.len()
    }

    /// What one would be next by that arrived at `arrived` and finds nobody waiting.
    pub fn claim(&self, arrived: Timestamp, now: Timestamp, lead: Duration) -> Claim {
        if self.order == QueueOrder::FreshFirst && self.is_late(arrived, now, lead) {
            Claim::Late
        } else {
            Claim::Fresh
        }
    }

    fn is_late(&self, arrived: Timestamp, now: Timestamp, lead: Duration) -> bool {
        now.since(arrived) + lead + self.target / MARGIN > self.target
    }

    /// Requests that have become late while they waited, as far as the queue was looked at.
    pub const fn turned_late(&self) -> u64 {
        self.turned_late
    }

    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.late.is_empty()
    }

    /// Adds a request that arrived at `arrived` with a prompt of `tokens`: one that comes back after a failure keeps the
    /// moment of its arrival.
    pub fn push(&mut self, arrived: Timestamp, tokens: u32, request: T) -> Place {
        let place = Place {
            arrived,
            number: self.added,
        };
        self.added += 1;
        self.fresh.insert(place, Waiting { tokens, request });
        place
    }

    /// Takes out the request at `place`, wherever it stands; `None` where it has been taken.
    pub fn remove(&mut self, place: Place) -> Option<T> {
        let waiting = self.fresh.remove(&place);
        let waiting = waiting.or_else(|| self.late.remove(&place))?;
        Some(waiting.request)
    }

    /// The request that is next at `now`, where the first token comes `lead` after a request is taken. One that is owed a
    /// turn has it only if it `may_have_it`, which is asked when it comes to that.
    pub fn peek(
        &mut self,
        now: Timestamp,
        lead: Duration,
        may_have_it: impl FnOnce() -> bool,
    ) -> Option<Next<'_, T>> {
        self.settle(now, lead, may_have_it);
        self.first()
    }

    /// Takes the request that [`Self::peek`] showed at `now`.
    pub fn pop(&mut self, now: Timestamp) -> Option<T> {
        let passes_over = !self.owed && self.overdue(now).is_some();
        let (place, next, _) = self.next()?;
        self.passed_over = if passes_over {
            self.passed_over + u64::from(next.tokens)
        } else {
            0
        };
        self.remove(place)
    }

    /// The request that was next when the queue was last looked at.
    pub fn first(&self) -> Option<Next<'_, T>> {
        self.next().map(|(place, next, claim)| Next {
            place,
            claim,
            request: &next.request,
        })
    }

    fn next(&self) -> Option<(Place, &Waiting<T>, Claim)> {
        let fresh = self.fresh.first_key_value();
        let fresh = fresh.map(|(place, next)| (*place, next, Claim::Fresh));
        let late = self.late.first_key_value();
        if self.owed {
            let owed = late.map(|(place, next)| (*place, next, Claim::Owed));
            owed.or(fresh)
        } else {
            fresh.or_else(|| late.map(|(place, next)| (*place, next, Claim::Late)))
        }
    }

    /// Moves those that have become late, and says whose turn it is. The fresh are in the order of their arrival, so the
    /// first that isn't late ends it.
    fn settle(&mut self, now: Timestamp, lead: Duration, may_have_it: impl FnOnce() -> bool) {
        if self.order == QueueOrder::Fifo {
            return;
        }
        while let Some((first, _)) = self.fresh.first_key_value()
            && self.is_late(first.arrived, now, lead)
            && let Some((place, waiting)) = self.fresh.pop_first()
        {
            self.late.insert(place, waiting);
            self.turned_late += 1;
        }
        let had =
            |overdue: &Waiting<T>| self.passed_over >= FRESH_SHARE * u64::from(overdue.tokens);
        self.owed = self.overdue(now).is_some_and(had) && may_have_it();
    }

    /// Whoever has waited longest, if for too long.
    fn overdue(&self, now: Timestamp) -> Option<&Waiting<T>> {
        let (place, oldest) = self.late.first_key_value()?;
        (now.since(place.arrived) >= self.gives_way).then_some(oldest)
    }
}

#[cfg(test)]
mod tests;
