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
//! short ones. Where more than a few have waited so long, there is more than can be done, and what they get is what
//! goodput loses for as long as that lasts: then it is a twenty-fifth.
//!
//! Where requests wait for decode, too, a place there is held for as long as an answer takes, which may be fifty times as
//! long as its prefill. Late requests that took every free place would leave none to the fresh ones of the next minute. So
//! they leave a third of the places free, and those that are owed a turn may hold a ninth of them besides ([`has_place`]).
//!
//! Before all that comes how urgent a request is, where requests say so: the more urgent is taken first, fresh or late.
//! Who is passed over for that gives way for as long as one that is late, and then has the same share.
//!
//! And where tenants have shares ([`Sharing::Fair`]), those of one priority that are fresh, and those that are late, are
//! not taken as they came but in turns of equal tokens, tenant by tenant (`shares`). A tenant that is alone has the
//! order that it would have without.

mod class;
mod crowd;
mod pace;
mod shares;
mod standing;
#[cfg(test)]
mod tests;

pub use pace::Pace;
pub use standing::{Priority, Standing, Tenant};

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use class::{Class, Waiting};
use crowd::Crowd;

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
            Claim::Owed => late * OWED_PLACES < most,
            Claim::Late => in_flight * 3 < most * 2,
        }
}

/// Where a request stands: those that arrived earlier come first, and of those that arrived together the one that was
/// added first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    arrived: Timestamp,
    number: u64,
    /// Among which it stands.
    level: Priority,
}

/// Whether tenants have shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Requests are told apart by priority and arrival alone.
    #[default]
    None,
    Fair,
}

/// Requests that wait, each with the same target for its time to first token. No operation costs more than the
/// logarithm of their number for each priority that is there, a move from the fresh to the late once for each request
/// apart.
#[derive(Debug, Clone)]
pub struct WaitQueue<T> {
    order: QueueOrder,
    target: Duration,
    gives_way: Duration,
    added: u64,
    /// The most urgent first. None is empty.
    levels: BTreeMap<Reverse<Priority>, Level<T>>,
    /// `None` where tenants have no shares.
    crowd: Option<Crowd>,
    /// Tokens of others that were taken while one had waited too long.
    passed_over: u64,
    /// Requests that have become late while they waited.
    turned_late: u64,
    /// Among whom one was owed a turn when the queue was last looked at.
    owed: Option<Among>,
}

/// Those of one priority.
#[derive(Debug, Clone)]
struct Level<T> {
    fresh: Class<T>,
    late: Class<T>,
}

/// A class of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Among {
    level: Priority,
    late: bool,
}

/// The request that is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next<'a, T> {
    pub place: Place,
    pub claim: Claim,
    pub request: &'a T,
}

/// Priorities that are told apart at a time, so that making them up costs nobody else more than this. One that finds so
/// many others joins the next less urgent of them.
const MOST_LEVELS: usize = 64;

/// Tokens of others for each token of one that has waited too long, where there are few of these and where there are
/// more.
const FRESH_SHARE: u64 = 8;
const FRESH_SHARE_OF_MANY: u64 = 24;

/// So many that have waited too long are few: in the quarter of the time that they have left, a ninth of the 48 requests
/// a second that the study's pairs sustain is 400.
const FEW: usize = 16;

/// One in so many places of a decode worker may be held by those that are owed a turn.
const OWED_PLACES: u64 = 9;

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
    /// lets all others pass.
    pub const fn new(order: QueueOrder, target: Duration, gives_way: Duration) -> Self {
        Self {
            order,
            target,
            gives_way,
            added: 0,
            levels: BTreeMap::new(),
            crowd: None,
            passed_over: 0,
            turned_late: 0,
            owed: None,
        }
    }

    #[must_use]
    pub fn sharing(self, sharing: Sharing) -> Self {
        let crowd = match sharing {
            Sharing::None => None,
            Sharing::Fair => Some(Crowd::default()),
        };
        Self { crowd, ..self }
    }

    pub fn len(&self) -> usize {
        self.levels.values().map(Level::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
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

    /// Adds a request that arrived at `arrived` with a prompt of `tokens`: one that comes back after a failure keeps the
    /// moment of its arrival.
    pub fn push(&mut self, arrived: Timestamp, tokens: u32, request: T) -> Place {
        self.push_as(Standing::default(), arrived, tokens, request)
    }

    pub fn push_as(
        &mut self,
        standing: Standing,
        arrived: Timestamp,
        tokens: u32,
        request: T,
    ) -> Place {
        let Standing { priority, tenant } = standing;
        let place = Place {
            arrived,
            number: self.added,
            level: self.level_for(priority),
        };
        self.added += 1;
        if let Some(crowd) = &mut self.crowd {
            crowd.joined(tenant, place);
        }
        let fair = self.crowd.is_some();
        let level = self.levels.entry(Reverse(place.level));
        let waiting = Waiting {
            tokens,
            tenant,
            request,
        };
        let level = level.or_insert_with(|| Level::new(fair));
        level.fresh.push(place, waiting);
        place
    }

    /// `priority`, or the next less urgent where too many are told apart already.
    fn level_for(&self, priority: Priority) -> Priority {
        let wanted = Reverse(priority);
        if self.levels.len() < MOST_LEVELS || self.levels.contains_key(&wanted) {
            return priority;
        }
        let less_urgent = self.levels.range(wanted..).next();
        let joined = less_urgent.or_else(|| self.levels.last_key_value());
        joined.map_or(priority, |(level, _)| level.0)
    }

    /// In a queue that is full: the place that a request of `tenant` may have in its stead, for its tenant has more than
    /// its share of them. It is not taken by asking.
    pub fn yields_to(&self, tenant: Tenant) -> Option<Place> {
        self.crowd.as_ref()?.yields_to(tenant)
    }

    /// Takes out the request at `place`, wherever it stands; `None` where it has been taken.
    pub fn remove(&mut self, place: Place) -> Option<T> {
        self.take_out(place, Class::remove)
    }

    fn take_out(
        &mut self,
        place: Place,
        how: impl Fn(&mut Class<T>, Place) -> Option<Waiting<T>>,
    ) -> Option<T> {
        let level = self.levels.get_mut(&Reverse(place.level))?;
        let waiting = how(&mut level.fresh, place).or_else(|| how(&mut level.late, place))?;
        if level.len() == 0 {
            self.levels.remove(&Reverse(place.level));
        }
        if let Some(crowd) = &mut self.crowd {
            crowd.left(waiting.tenant, place);
        }
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
        self.settle(now, lead);
        self.owed = self.overdue(now).filter(|among| self.had(*among, now));
        self.owed = self.owed.filter(|_| may_have_it());
        self.first()
    }

    /// Takes the request that [`Self::peek`] showed at `now`.
    pub fn pop(&mut self, now: Timestamp) -> Option<T> {
        let passes_over = self.owed.is_none() && self.overdue(now).is_some();
        let (place, next, _) = self.next()?;
        self.passed_over = if passes_over {
            self.passed_over + u64::from(next.tokens)
        } else {
            0
        };
        self.take_out(place, Class::take)
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
        let owed = self.owed.and_then(|among| self.class(among)?.next());
        if let Some((place, next)) = owed {
            return Some((place, next, Claim::Owed));
        }
        let (_, level) = self.levels.first_key_value()?;
        let fresh = level.fresh.next();
        let fresh = fresh.map(|(place, next)| (place, next, Claim::Fresh));
        let late = || level.late.next();
        fresh.or_else(|| late().map(|(place, next)| (place, next, Claim::Late)))
    }

    fn class(&self, among: Among) -> Option<&Class<T>> {
        let level = self.levels.get(&Reverse(among.level))?;
        Some(if among.late {
            &level.late
        } else {
            &level.fresh
        })
    }

    /// Moves those that have become late. The fresh are in the order of their arrival, so the first that isn't late ends
    /// it.
    fn settle(&mut self, now: Timestamp, lead: Duration) {
        if self.order == QueueOrder::Fifo {
            return;
        }
        let (target, margin) = (self.target, self.target / MARGIN);
        let is_late = |place: Place| now.since(place.arrived) + lead + margin > target;
        for level in self.levels.values_mut() {
            while let Some(oldest) = level.fresh.oldest().filter(|oldest| is_late(*oldest))
                && let Some(waiting) = level.fresh.remove(oldest)
            {
                level.late.push(oldest, waiting);
                self.turned_late += 1;
            }
        }
    }

    /// Among whom is whoever has waited longest of those that others may pass, if for too long: the late, and all that are
    /// less urgent than others.
    fn overdue(&self, now: Timestamp) -> Option<Among> {
        let of = |class: &Class<T>, level, late| {
            let oldest = class.oldest()?;
            let too_long = now.since(oldest.arrived) >= self.gives_way;
            too_long.then_some((oldest, Among { level, late }))
        };
        let (Reverse(level), most_urgent) = self.levels.first_key_value()?;
        let mut longest = of(&most_urgent.late, *level, true);
        // As a rule there is one level: this is asked at every look.
        if self.levels.len() > 1 {
            let others = self
                .levels
                .iter()
                .skip(1)
                .flat_map(|(Reverse(level), less)| {
                    [of(&less.fresh, *level, false), of(&less.late, *level, true)]
                });
            let by_place = |found: &(Place, Among)| found.0;
            longest = longest
                .into_iter()
                .chain(others.flatten())
                .min_by_key(by_place);
        }
        longest.map(|(_, among)| among)
    }

    /// Whether others have had so much meanwhile that the next of these is owed a turn.
    fn had(&self, among: Among, now: Timestamp) -> bool {
        let Some(class) = self.class(among) else {
            return false;
        };
        let Some((_, next)) = class.next() else {
            return false;
        };
        let others_had = |share| self.passed_over >= share * u64::from(next.tokens);
        let are_many = || {
            let first_of_many = class.by_arrival(FEW);
            first_of_many.is_some_and(|place| now.since(place.arrived) >= self.gives_way)
        };
        others_had(FRESH_SHARE_OF_MANY) || others_had(FRESH_SHARE) && !are_many()
    }
}

impl<T> Level<T> {
    fn new(fair: bool) -> Self {
        Self {
            fresh: Class::new(fair),
            late: Class::new(fair),
        }
    }

    fn len(&self) -> usize {
        self.fresh.len() + self.late.len()
    }
}
