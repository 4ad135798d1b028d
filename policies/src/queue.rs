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
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_secs(2);
    const PATIENT: Duration = Duration::from_secs(3_600);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    fn queue(order: QueueOrder) -> WaitQueue<u64> {
        let mut queue = WaitQueue::new(order, TARGET, PATIENT);
        for millis in [0, 500, 1_000, 1_500] {
            queue.push(at(millis), 1, millis);
        }
        queue
    }

    fn take(queue: &mut WaitQueue<u64>, now: Timestamp, lead: Duration) -> Option<u64> {
        queue.peek(now, lead, || true)?;
        queue.pop(now)
    }

    fn drain(mut queue: WaitQueue<u64>, now: Timestamp, lead: Duration) -> Vec<u64> {
        std::iter::from_fn(|| take(&mut queue, now, lead)).collect()
    }

    #[test]
    fn fifo_takes_them_as_they_came_however_late() {
        let taken = drain(queue(QueueOrder::Fifo), at(60_000), Duration::ZERO);
        assert_eq!(taken, [0, 500, 1_000, 1_500]);
    }

    #[test]
    fn fresh_first_takes_those_in_time_before_those_too_late() {
        let table = [
            (at(1_900), 0, [0, 500, 1_000, 1_500]),
            // What is left of the target is no more than the margin.
            (at(1_901), 0, [500, 1_000, 1_500, 0]),
            (at(2_600), 0, [1_000, 1_500, 0, 500]),
            // With half a second to go, one more is too late.
            (at(2_600), 500, [1_500, 0, 500, 1_000]),
            (at(60_000), 0, [0, 500, 1_000, 1_500]),
        ];
        for (now, lead, order) in table {
            let taken = drain(
                queue(QueueOrder::FreshFirst),
                now,
                Duration::from_millis(lead),
            );
            assert_eq!(taken, order, "{now:?}");
        }
    }

    #[test]
    fn what_is_peeked_is_what_is_popped() {
        let mut queue = queue(QueueOrder::FreshFirst);
        let next = |queue: &mut WaitQueue<u64>| {
            let next = queue.peek(at(2_600), Duration::ZERO, || true)?;
            Some((*next.request, next.claim))
        };
        while let Some((peeked, claim)) = next(&mut queue) {
            let first = queue.first();
            assert_eq!(first.map(|first| *first.request), Some(peeked));
            let is_late = peeked <= 500;
            assert_eq!(claim == Claim::Late, is_late, "{peeked}: {claim:?}");
            assert_eq!(queue.pop(at(2_600)), Some(peeked));
        }
        assert_eq!(queue.turned_late(), 2);
        assert!(queue.is_empty());
    }

    #[test]
    fn one_that_leaves_is_gone_and_moves_nobody() {
        let mut queue = WaitQueue::new(QueueOrder::FreshFirst, TARGET, PATIENT);
        let places = [0, 500, 1_000].map(|millis| queue.push(at(millis), 1, millis));
        queue.peek(at(2_100), Duration::ZERO, || true);
        assert_eq!(queue.remove(places[0]), Some(0), "a late one");
        assert_eq!(queue.remove(places[1]), Some(500), "a fresh one");
        assert_eq!(queue.remove(places[1]), None, "twice");
        assert_eq!(drain(queue, at(2_100), Duration::ZERO), [1_000]);
    }

    #[test]
    fn one_that_comes_back_stands_where_it_arrived() {
        for order in [QueueOrder::Fifo, QueueOrder::FreshFirst] {
            let mut queue = queue(order);
            queue.push(at(700), 1, 700);
            let taken = drain(queue, at(1_600), Duration::ZERO);
            assert_eq!(taken, [0, 500, 700, 1_000, 1_500], "{order:?}");
        }
    }

    #[test]
    fn of_those_that_arrive_together_the_first_added_is_the_first_taken() {
        let mut queue = WaitQueue::new(QueueOrder::FreshFirst, TARGET, PATIENT);
        for number in 0..4 {
            queue.push(at(1_000), 1, number);
        }
        assert_eq!(drain(queue, at(9_000), Duration::ZERO), [0, 1, 2, 3]);
    }

    /// Five that have waited too long, five late ones, and twenty fresh ones.
    fn contended() -> WaitQueue<u64> {
        let mut queue = WaitQueue::new(QueueOrder::FreshFirst, TARGET, Duration::from_secs(30));
        for number in 0..5 {
            queue.push(at(number), 1, number);
            queue.push(at(10_000 + number), 1, 5 + number);
        }
        for number in 10..30 {
            queue.push(at(40_000), 1, number);
        }
        queue
    }

    #[test]
    fn of_prompts_as_long_who_has_given_way_gets_every_ninth_turn() {
        let taken = drain(contended(), at(39_000), Duration::ZERO);
        let in_turn: Vec<_> = (10..18).chain([0]).chain(18..26).chain([1]).collect();
        let rest: Vec<_> = (26..30).chain(2..10).collect();
        assert_eq!(taken, [in_turn, rest].concat());
    }

    #[test]
    fn turns_are_shared_by_tokens() {
        let mut queue = WaitQueue::new(QueueOrder::FreshFirst, TARGET, Duration::from_secs(30));
        queue.push(at(0), 2_000, 0);
        queue.push(at(1), 2_000, 1);
        for number in 2..302 {
            queue.push(at(40_000), 100, number);
        }
        let taken = drain(queue, at(39_000), Duration::ZERO);
        let places = [0, 1].map(|late| taken.iter().position(|request| *request == late));
        assert_eq!(
            places,
            [Some(160), Some(321 - 20)],
            "8 x 2,000 tokens of fresh ones before each"
        );
    }

    #[test]
    fn a_turn_that_is_looked_at_or_left_is_not_taken() {
        let mut queue = contended();
        let now = at(39_000);
        for fresh in 10..18 {
            assert_eq!(take(&mut queue, now, Duration::ZERO), Some(fresh));
        }
        for _ in 0..3 {
            let next = queue.peek(now, Duration::ZERO, || true);
            let next = next.map(|next| (*next.request, next.claim));
            assert_eq!(next, Some((0, Claim::Owed)));
        }
        let place = queue.first().expect("some wait").place;
        assert_eq!(queue.remove(place), Some(0), "its client leaves");
        assert_eq!(take(&mut queue, now, Duration::ZERO), Some(1));
        assert_eq!(take(&mut queue, now, Duration::ZERO), Some(18));
    }

    #[test]
    fn a_turn_that_it_may_not_have_is_kept_for_it_and_holds_up_nobody() {
        let mut queue = contended();
        let now = at(39_000);
        let mut takes = |may| {
            let next = queue.peek(now, Duration::ZERO, || may);
            let claim = next.map(|next| next.claim);
            claim.zip(queue.pop(now))
        };
        for fresh in 10..18 {
            assert_eq!(takes(true), Some((Claim::Fresh, fresh)));
        }
        assert_eq!(takes(false), Some((Claim::Fresh, 18)));
        assert_eq!(takes(true), Some((Claim::Owed, 0)));
    }

    #[test]
    fn late_requests_leave_places_to_those_that_come() {
        let has = |in_flight, late, claim| {
            let most = 18;
            has_place(
                DecodePlaces {
                    most,
                    in_flight,
                    late,
                },
                claim,
            )
        };
        for (in_flight, fresh, late) in [
            (0, true, true),
            (11, true, true),
            (12, true, false),
            (17, true, false),
            (18, false, false),
        ] {
            assert_eq!(has(in_flight, 0, Claim::Fresh), fresh, "{in_flight}");
            assert_eq!(has(in_flight, 0, Claim::Late), late, "{in_flight}");
        }
        for (in_flight, late, owed) in [(17, 1, true), (17, 2, false), (18, 1, false)] {
            assert_eq!(
                has(in_flight, late, Claim::Owed),
                owed,
                "{in_flight} {late}"
            );
        }
    }

    #[test]
    fn a_worker_that_runs_one_at_a_time_runs_whoever_comes() {
        let idle = DecodePlaces {
            most: 1,
            in_flight: 0,
            late: 0,
        };
        for claim in [Claim::Fresh, Claim::Owed, Claim::Late] {
            assert!(has_place(idle, claim), "{claim:?}");
        }
    }

    #[test]
    fn who_finds_nobody_waiting_may_be_late_all_the_same() {
        let queue = queue(QueueOrder::FreshFirst);
        let lead = Duration::from_millis(100);
        assert_eq!(queue.claim(at(0), at(1_800), lead), Claim::Fresh);
        assert_eq!(queue.claim(at(0), at(1_801), lead), Claim::Late);
        let fifo = self::queue(QueueOrder::Fifo);
        assert_eq!(fifo.claim(at(0), at(60_000), lead), Claim::Fresh);
    }

    #[test]
    fn nobody_waits_for_ever_while_fresh_ones_keep_coming() {
        // One is taken every 100 ms, and one comes: the 20 of the start are too many.
        let mut queue = WaitQueue::new(QueueOrder::FreshFirst, TARGET, Duration::from_secs(30));
        for number in 0..20 {
            queue.push(at(0), 1, number);
        }
        let mut last_of_the_first = None;
        for turn in 0..600 {
            let now = at(3_000 + turn * 100);
            queue.push(now, 1, 20 + turn);
            let taken = take(&mut queue, now, Duration::ZERO).expect("one came just now");
            if taken < 20 {
                last_of_the_first = Some(now);
            }
        }
        // Every ninth of those taken from the 30th second on.
        assert_eq!(last_of_the_first, Some(at(30_000 + 20 * 900 - 100)));
    }
}
