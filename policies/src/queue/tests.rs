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
    // From the 30th second on every twenty-fifth of those taken, and every ninth once they are few.
    let last = 30_000 + 4 * 2_500 + 16 * 900 - 100;
    assert_eq!(last_of_the_first, Some(at(last)));
}
