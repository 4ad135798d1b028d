use super::super::testing::{draw, fleet, pick, with_gaps};
use super::*;

const HOUR: u64 = 3_600;

fn policy(mode: AssignmentMode) -> Manual {
    Manual::new(&RouteSettings {
        assignment_mode: mode,
        ..RouteSettings::default()
    })
}

fn keyed(key: &str) -> RouteRequest<'_> {
    RouteRequest {
        routing_key: Some(key),
        ..RouteRequest::default()
    }
}

fn remembered(policy: &Manual) -> usize {
    let sessions = policy.sessions.lock();
    assert_eq!(sessions.by_key.len(), sessions.by_age.len());
    sessions.by_key.len()
}

#[test]
fn a_key_keeps_its_worker() {
    for mode in AssignmentMode::ALL {
        let (policy, candidates) = (policy(mode), fleet(&[3, 2, 1, 4]));
        for key in ["a", "b", "c"] {
            let first = pick(&policy, &keyed(key), &candidates, 1);
            for seed in 0..50 {
                assert_eq!(pick(&policy, &keyed(key), &candidates, seed), first);
            }
        }
    }
}

#[test]
fn a_key_keeps_the_last_two_workers_and_prefers_the_newer() {
    let policy = policy(AssignmentMode::MinLoad);
    let mut seen = Vec::new();
    // Only one worker is there at a time, in this order; then all are.
    for only in [0, 1, 2] {
        let gaps: Vec<usize> = (0..3).filter(|&index| index != only).collect();
        seen.push(policy.pick(&keyed("k"), &with_gaps(3, &gaps).as_slice(), draw(0, 1)));
    }
    assert_eq!(seen, [0, 1, 2].map(Some));
    let table = [
        // gaps, expected
        (&[][..], 2),
        (&[2], 1),
    ];
    for (gaps, expected) in table {
        let picked = policy.pick(&keyed("k"), &with_gaps(3, gaps).as_slice(), draw(0, 1));
        assert_eq!(picked, Some(expected));
    }
    let groups = |id| policy.sessions.lock().groups.keys_of(WorkerId(id));
    assert_eq!([groups(0), groups(1), groups(2)], [0, 1, 1]);
}

#[test]
fn modes_assign_new_keys_as_they_say() {
    let candidates = fleet(&[5, 0, 5]);
    let least = policy(AssignmentMode::MinLoad);
    let even = policy(AssignmentMode::MinGroup);
    let random = policy(AssignmentMode::Random);
    let mut seen = [[0; 3]; 3];
    for n in 0..300 {
        let key = n.to_string();
        for (row, policy) in seen.iter_mut().zip([&least, &even, &random]) {
            row[pick(policy, &keyed(&key), &candidates, n)] += 1;
        }
    }
    assert_eq!(seen[0], [0, 300, 0]);
    assert_eq!(seen[1], [100, 100, 100]);
    assert!(seen[2].iter().all(|n| (60..=140).contains(n)), "{seen:?}");
}

#[test]
fn requests_without_a_key_leave_no_trace() {
    for mode in AssignmentMode::ALL {
        let policy = policy(mode);
        pick(&policy, &RouteRequest::default(), &fleet(&[0, 0]), 1);
        assert_eq!(remembered(&policy), 0);
    }
}

#[test]
fn an_idle_key_is_forgotten_and_a_used_one_is_not() {
    let policy = policy(AssignmentMode::MinLoad);
    let candidates = fleet(&[0, 1]);
    let at = |key: &str, hours: u64, candidates: &[crate::route::Candidate]| {
        policy.pick(&keyed(key), &candidates, draw(hours * HOUR, 1))
    };
    at("used", 0, &candidates);
    at("idle", 0, &candidates);
    at("used", 3, &candidates);
    let other_load = fleet(&[9, 0]);
    assert_eq!(at("used", 6, &other_load), Some(0));
    assert_eq!(remembered(&policy), 1);
    assert_eq!(at("idle", 6, &other_load), Some(1));
}

#[test]
fn many_idle_keys_go_two_at_a_time() {
    let policy = policy(AssignmentMode::MinLoad);
    let candidates = fleet(&[0, 1]);
    for n in 0..10 {
        policy.pick(&keyed(&n.to_string()), &candidates.as_slice(), draw(0, 1));
    }
    for (n, left) in (0..5).zip([9, 8, 7, 6, 5]) {
        let key = format!("new {n}");
        policy.pick(&keyed(&key), &candidates.as_slice(), draw(5 * HOUR, 1));
        assert_eq!(remembered(&policy), left, "two removed, one added");
    }
}

#[test]
fn the_number_of_keys_is_bounded_by_dropping_the_least_recently_used() {
    let policy = policy(AssignmentMode::MinGroup);
    let candidates = fleet(&[0, 0]);
    for n in 0..=MAX_KEYS {
        let draw = crate::route::Draw {
            now: Timestamp::from_micros(n as u64),
            entropy: 1,
        };
        policy.pick(&keyed(&n.to_string()), &candidates.as_slice(), draw);
    }
    assert_eq!(remembered(&policy), MAX_KEYS);
    let sessions = policy.sessions.lock();
    assert!(!sessions.by_key.contains_key(&xxh3_64(b"0")));
    assert!(sessions.by_key.contains_key(&xxh3_64(b"1")));
    let keys: usize = [0, 1]
        .map(|id| sessions.groups.keys_of(WorkerId(id)))
        .iter()
        .sum();
    assert_eq!(keys, MAX_KEYS);
}

#[test]
fn a_forgotten_worker_loses_its_keys_even_if_it_comes_back() {
    let policy = policy(AssignmentMode::MinLoad);
    assert_eq!(pick(&policy, &keyed("k"), &fleet(&[0, 1]), 1), 0);
    policy.forget(WorkerId(0));
    let busy = fleet(&[9, 0]);
    assert_eq!(pick(&policy, &keyed("k"), &busy, 1), 1);
    // Worker 0 gets keys again; the old membership stays void.
    policy.pick(&keyed("other"), &with_gaps(2, &[1]).as_slice(), draw(0, 1));
    let only_first = with_gaps(2, &[1]);
    let sessions = policy.sessions.lock();
    assert_eq!(sessions.find(xxh3_64(b"k"), &only_first.as_slice()), None);
    assert_eq!(sessions.groups.keys_of(WorkerId(0)), 1);
}
