//! Shares of tenants and priorities in the queue: what they promise, and that whoever doesn't use them sees no difference.

use std::collections::BTreeMap;
use std::time::Duration;

use policies::queue::{
    Claim, Place, Priority, QueueOrder, Sharing, Standing, Tenant, WaitQueue, gives_way,
};
use policies::time::Timestamp;
use proptest::prelude::*;

const TARGET: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(60);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

fn queue<T>(order: QueueOrder, sharing: Sharing) -> WaitQueue<T> {
    WaitQueue::new(order, TARGET, gives_way(TIMEOUT)).sharing(sharing)
}

fn of(tenant: u64) -> Standing {
    Standing {
        tenant: Tenant(tenant),
        ..Standing::default()
    }
}

fn urgent(priority: i64) -> Standing {
    Standing {
        priority: Priority(priority),
        ..Standing::default()
    }
}

fn take<T>(queue: &mut WaitQueue<T>, now: Timestamp) -> Option<(Claim, T)> {
    let claim = queue.peek(now, Duration::ZERO, || true)?.claim;
    Some((claim, queue.pop(now)?))
}

/// The order for one tenant, told as simply as it can be: a list that is searched.
struct Told {
    order: QueueOrder,
    waiting: Vec<Waiting>,
    passed_over: u64,
}

#[derive(Clone, Copy)]
struct Waiting {
    arrived: Timestamp,
    tokens: u32,
    number: usize,
    late: bool,
}

impl Told {
    fn take(&mut self, now: Timestamp, lead: Duration, may: bool) -> Option<(Claim, usize)> {
        if self.order == QueueOrder::FreshFirst {
            let is_late = |arrived| now.since(arrived) + lead + TARGET / 20 > TARGET;
            for one in &mut self.waiting {
                one.late |= is_late(one.arrived);
            }
        }
        let oldest = |late| {
            let mut such = self.waiting.iter().filter(|one| one.late == late);
            let first = such.next()?;
            Some(such.fold(*first, |first, one| {
                let sooner = (one.arrived, one.number) < (first.arrived, first.number);
                if sooner { *one } else { first }
            }))
        };
        let (fresh, late) = (oldest(false), oldest(true));
        let overdue = late.filter(|late| now.since(late.arrived) >= gives_way(TIMEOUT));
        let has_waited = |one: &&Waiting| one.late && now.since(one.arrived) >= gives_way(TIMEOUT);
        let many = self.waiting.iter().filter(has_waited).count() > 16;
        let share = if many { 24 } else { 8 };
        let had = |one: &Waiting| self.passed_over >= share * u64::from(one.tokens);
        let owed = overdue.filter(|one| had(one) && may);
        let (claim, next) = match (owed, fresh, late) {
            (Some(owed), _, _) => (Claim::Owed, owed),
            (None, Some(fresh), _) => (Claim::Fresh, fresh),
            (None, None, Some(late)) => (Claim::Late, late),
            (None, None, None) => return None,
        };
        self.passed_over = if owed.is_none() && overdue.is_some() {
            self.passed_over + u64::from(next.tokens)
        } else {
            0
        };
        self.waiting.retain(|one| one.number != next.number);
        Some((claim, next.number))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Comes { tokens: u32, ago: u64 },
    Leaves { which: usize },
    Taken { lead: u64, may: bool },
    Passes { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u32..5_000, 0_u64..3_000).prop_map(|(tokens, ago)| Step::Comes { tokens, ago }),
        1 => (0_usize..200).prop_map(|which| Step::Leaves { which }),
        4 => (0_u64..500, any::<bool>()).prop_map(|(lead, may)| Step::Taken { lead, may }),
        1 => (0_u64..4_000).prop_map(|millis| Step::Passes { millis }),
        1 => Just(Step::Passes { millis: 50_000 }),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    /// Whatever comes and goes: without shares, and with shares for a tenant that is alone, each request is taken when
    /// the simple telling takes it, and by the same claim.
    #[test]
    fn a_lone_tenant_sees_the_order_that_there_is_without_shares(
        order in prop::sample::select(QueueOrder::ALL.to_vec()),
        tenant in any::<u64>(),
        steps in steps(),
    ) {
        let mut told = Told { order, waiting: Vec::new(), passed_over: 0 };
        let mut queues = [Sharing::None, Sharing::Fair].map(|sharing| queue::<usize>(order, sharing));
        let mut places: Vec<[Place; 2]> = Vec::new();
        let mut now = 10_000;
        for step in steps {
            match step {
                Step::Comes { tokens, ago } => {
                    let (arrived, number) = (at(now - ago), places.len());
                    told.waiting.push(Waiting { arrived, tokens, number, late: false });
                    let [without, with] = &mut queues;
                    places.push([
                        without.push(arrived, tokens, number),
                        with.push_as(of(tenant), arrived, tokens, number),
                    ]);
                }
                Step::Leaves { which } => {
                    let Some(place) = places.get(which) else { continue };
                    let waits = told.waiting.iter().any(|one| one.number == which);
                    told.waiting.retain(|one| one.number != which);
                    for (queue, place) in queues.iter_mut().zip(place) {
                        prop_assert_eq!(queue.remove(*place), waits.then_some(which));
                    }
                }
                Step::Taken { lead, may } => {
                    let lead = Duration::from_millis(lead);
                    let expected = told.take(at(now), lead, may);
                    for queue in &mut queues {
                        let claim = queue.peek(at(now), lead, || may).map(|next| next.claim);
                        prop_assert_eq!(claim.zip(queue.pop(at(now))), expected);
                    }
                }
                Step::Passes { millis } => now += millis,
            }
            for queue in &queues {
                prop_assert_eq!(queue.len(), told.waiting.len());
                prop_assert_eq!(queue.is_empty(), told.waiting.is_empty());
            }
        }
    }

    /// Tenants that always have something waiting are served the same number of tokens, but for the longest prompt of
    /// each of the two: however many requests one has, and whether they are fresh or late.
    #[test]
    fn tenants_that_wait_get_the_same_share_but_for_a_prompt_each(
        lengths in prop::collection::vec(prop::collection::vec(1_u32..4_000, 1..6), 2..6),
        crowds in prop::collection::vec(1_usize..30, 6),
        late in any::<bool>(),
    ) {
        let mut queue = queue(QueueOrder::FreshFirst, Sharing::Fair);
        let now = if late { at(30_000) } else { at(0) };
        let mut sent = vec![0; lengths.len()];
        let mut served = vec![0_u64; lengths.len()];
        let mut send = |queue: &mut WaitQueue<(usize, u32)>, tenant: usize| {
            let tokens = lengths[tenant][sent[tenant] % lengths[tenant].len()];
            sent[tenant] += 1;
            queue.push_as(of(tenant as u64), at(0), tokens, (tenant, tokens));
        };
        for (tenant, requests) in crowds.iter().enumerate().take(lengths.len()) {
            for _ in 0..*requests {
                send(&mut queue, tenant);
            }
        }
        let longest = |tenant: usize| u64::from(*lengths[tenant].iter().max().expect("some"));
        for _ in 0..300 {
            let (_, (tenant, tokens)) = take(&mut queue, now).expect("all wait");
            served[tenant] += u64::from(tokens);
            send(&mut queue, tenant);
            for one in 0..lengths.len() {
                for other in 0..one {
                    let apart = served[one].abs_diff(served[other]);
                    prop_assert!(
                        apart <= longest(one) + longest(other),
                        "{one} has {} and {other} has {}", served[one], served[other],
                    );
                }
            }
        }
    }

    /// One that asks for little waits for no more than one prompt of each of the others, whatever they have waiting.
    #[test]
    fn one_that_asks_for_little_waits_for_a_prompt_of_each_other(
        crowds in prop::collection::vec((1_usize..40, 1_u32..4_000), 1..6),
        taken_before in 0_usize..60,
    ) {
        let mut queue = queue(QueueOrder::Fifo, Sharing::Fair);
        for (tenant, (requests, tokens)) in crowds.iter().enumerate() {
            for _ in 0..*requests {
                queue.push_as(of(tenant as u64), at(0), *tokens, false);
            }
        }
        for _ in 0..taken_before {
            take(&mut queue, at(1));
        }
        queue.push_as(of(99), at(2), 100, true);
        let before = std::iter::from_fn(|| take(&mut queue, at(3)))
            .take_while(|(_, is_it)| !is_it)
            .count();
        prop_assert!(before <= crowds.len(), "{before} before it, of {} tenants", crowds.len());
    }

    /// In a queue that is kept full, who has the most places gives one up as long as another has fewer; what it settles
    /// at is the same number for all that want as many.
    #[test]
    fn a_full_queue_is_shared_between_those_that_want_it(
        places in 4_usize..40,
        wishes in prop::collection::vec(0_u64..4, 200..400),
    ) {
        let mut queue = queue(QueueOrder::FreshFirst, Sharing::Fair);
        let mut seats = BTreeMap::new();
        // The first tenant was there before anybody else.
        let crowd = std::iter::repeat_n(0, places);
        for tenant in crowd.chain(wishes.into_iter().chain((0..4).cycle().take(4 * places))) {
            if queue.len() == places {
                let Some(yields) = queue.yields_to(Tenant(tenant)) else { continue };
                let from = queue.remove(yields).expect("it waits");
                *seats.get_mut(&from).expect("it has some") -= 1;
            }
            queue.push_as(of(tenant), at(0), 1, tenant);
            *seats.entry(tenant).or_insert(0_usize) += 1;
        }
        prop_assert_eq!(queue.len(), places);
        let (least, most) = (seats.values().min(), seats.values().max());
        prop_assert!(most.expect("some") - least.expect("some") <= 1, "{seats:?}");
        prop_assert_eq!(seats.len(), 4);
    }

    /// The more urgent go first, as they came among their like, whatever is late.
    #[test]
    fn the_more_urgent_go_first_fresh_or_late(
        requests in prop::collection::vec((-3_i64..4, 0_u64..3_000), 1..60),
    ) {
        let mut queue = queue(QueueOrder::FreshFirst, Sharing::None);
        for (number, (priority, arrived)) in requests.iter().enumerate() {
            queue.push_as(urgent(*priority), at(*arrived), 1, number);
        }
        let now = at(3_000);
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut queue, now)).map(|(_, number)| number).collect();
        let mut expected: Vec<_> = (0..requests.len()).collect();
        expected.sort_by_key(|number| {
            let (priority, arrived) = requests[*number];
            (-priority, arrived < 1_100, arrived, *number)
        });
        prop_assert_eq!(taken, expected);
    }
}

#[test]
fn without_a_priority_a_request_is_the_least_urgent() {
    let mut queue = queue(QueueOrder::FreshFirst, Sharing::None);
    queue.push(at(0), 1, "none");
    queue.push_as(urgent(-5), at(1), 1, "one below zero");
    assert_eq!(
        take(&mut queue, at(2)),
        Some((Claim::Fresh, "one below zero"))
    );
    assert_eq!(take(&mut queue, at(2)), Some((Claim::Fresh, "none")));
}

#[test]
fn the_least_urgent_have_a_ninth_once_they_have_given_way_for_long_enough() {
    for order in QueueOrder::ALL {
        let mut queue = queue(order, Sharing::None);
        for _ in 0..10 {
            queue.push_as(urgent(0), at(0), 1, "patient");
        }
        let mut taken = Vec::new();
        for turn in 0..900 {
            let now = at(40_000 + turn * 100);
            queue.push_as(urgent(1), now, 1, "urgent");
            let (_, what) = take(&mut queue, now).expect("one came just now");
            if what == "patient" {
                taken.push(turn);
            }
        }
        // From the 45th second on, three quarters of a minute, every ninth is theirs.
        let expected: Vec<_> = (0..10).map(|number| 50 + 8 + 9 * number).collect();
        assert_eq!(taken, expected, "{order:?}");
    }
}

#[test]
fn made_up_priorities_are_told_apart_up_to_a_bound_and_keep_their_order_roughly() {
    let mut queue = queue(QueueOrder::Fifo, Sharing::None);
    for number in 0..10_000_i64 {
        queue.push_as(urgent(2 * number), at(number as u64), 1, 2 * number);
    }
    // 64 priorities, the even numbers up to 126; all others are higher and joined the highest of these.
    let first = take(&mut queue, at(20_000)).expect("many wait");
    assert_eq!(first, (Claim::Fresh, 126));
    queue.push_as(urgent(7), at(10_000), 1, 7);
    let rest: Vec<_> = std::iter::from_fn(|| take(&mut queue, at(20_000)))
        .map(|(_, number)| number)
        .collect();
    let place_of = |wanted| rest.iter().position(|number| *number == wanted);
    assert_eq!(
        place_of(7),
        place_of(6).map(|place| place + 1),
        "it joins the next less urgent"
    );
    assert_eq!(rest.len(), 10_000);
}
