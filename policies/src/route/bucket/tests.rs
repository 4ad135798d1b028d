use super::super::testing::{draw, fleet, prompt, with_gaps};
use super::*;
use crate::route::Candidate;

/// Lengths as chats and documents mix: mostly short, most bytes in the long ones.
const LENGTHS: [usize; 8] = [100, 120, 150, 400, 900, 2_000, 6_000, 20_000];

/// Sends prompts of the given lengths, 100 a second, and answers who got them, as (length, index).
fn send(
    policy: &Bucket,
    lengths: &[usize],
    seconds: std::ops::Range<u64>,
    candidates: &[Option<Candidate>],
) -> Vec<(usize, usize)> {
    let mut picks = Vec::new();
    for second in seconds {
        for n in 0..100 {
            let seed = second * 100 + n;
            let len = lengths[Dice::new(seed ^ 0x5eed).below(lengths.len())];
            let text = "p".repeat(len);
            let picked = policy.pick(&prompt(&text), &candidates, draw(second, seed));
            picks.push((len, picked.expect("somebody is available")));
        }
    }
    picks
}

fn bytes_by_worker(picks: &[(usize, usize)], workers: usize) -> Vec<usize> {
    let mut bytes = vec![0; workers];
    for &(len, index) in picks {
        bytes[index] += len;
    }
    bytes
}

fn assert_even(picks: &[(usize, usize)], workers: &[usize], len: usize) {
    let bytes = bytes_by_worker(picks, len);
    let mean = bytes.iter().sum::<usize>() / workers.len();
    for &index in workers {
        let share = bytes[index] as f64 / mean as f64;
        assert!((0.75..1.3).contains(&share), "{bytes:?}");
    }
}

fn policy() -> Bucket {
    Bucket::new(&RouteSettings::default())
}

#[test]
fn short_and_long_prompts_part_and_bytes_stay_even() {
    let (policy, candidates) = (policy(), with_gaps(3, &[]));
    send(&policy, &LENGTHS, 0..5, &candidates);
    let picks = send(&policy, &LENGTHS, 5..60, &candidates);
    assert_even(&picks, &[0, 1, 2], 3);

    let on_first = |length: usize| {
        let all = picks.iter().filter(|(len, _)| *len == length);
        let first = all.clone().filter(|(_, index)| *index == 0);
        first.count() as f64 / all.count() as f64
    };
    assert!(on_first(100) > 0.8, "{}", on_first(100));
    assert!(on_first(20_000) < 0.2, "{}", on_first(20_000));
}

#[test]
fn prompts_of_one_length_are_shared_by_all() {
    let (policy, candidates) = (policy(), with_gaps(4, &[]));
    let picks = send(&policy, &[2_048], 0..30, &candidates);
    assert_even(&picks, &[0, 1, 2, 3], 4);
}

#[test]
fn ranges_fit_when_workers_are_added_one_by_one() {
    let policy = policy();
    for present in 1..=4 {
        let gaps: Vec<usize> = (present..4).collect();
        let candidates = with_gaps(4, &gaps);
        let from = present as u64 * 40;
        send(&policy, &LENGTHS, from..from + 1, &candidates);
        let picks = send(&policy, &LENGTHS, from + 1..from + 40, &candidates);
        let workers: Vec<usize> = (0..present).collect();
        assert_even(&picks, &workers, 4);
    }
}

#[test]
fn a_newcomer_is_not_flooded() {
    let policy = policy();
    send(&policy, &LENGTHS, 0..13, &with_gaps(4, &[3]));
    let picks = send(&policy, &LENGTHS, 13..14, &with_gaps(4, &[]));
    let bytes = bytes_by_worker(&picks, 4);
    let all: usize = bytes.iter().sum();
    assert!(bytes[3] * 2 < all, "{bytes:?}");
    assert!(bytes[3] > 0, "{bytes:?}");
}

#[test]
fn ranges_follow_a_change_of_the_lengths() {
    let (policy, candidates) = (policy(), with_gaps(2, &[]));
    send(&policy, &[100, 110, 120, 130], 0..20, &candidates);
    send(&policy, &[5_000, 9_000], 20..30, &candidates);
    let picks = send(&policy, &[5_000, 9_000], 30..60, &candidates);
    assert_even(&picks, &[0, 1], 2);
    let short_on_first = picks.iter().filter(|pick| **pick == (5_000, 0)).count();
    let short = picks.iter().filter(|(len, _)| *len == 5_000).count();
    assert!(
        short_on_first * 10 > short * 8,
        "{short_on_first} of {short}"
    );
}

#[test]
fn the_first_prompts_go_where_the_fewest_bytes_went() {
    let policy = policy();
    let candidates = fleet(&[0, 0]);
    let text = "p".repeat(1_000);
    let mut seen = [0; 2];
    for seed in 0..10 {
        let picked = policy.pick(&prompt(&text), &candidates.as_slice(), draw(0, seed));
        seen[picked.unwrap()] += 1;
    }
    assert_eq!(seen, [5, 5]);
}

#[test]
fn the_window_keeps_nothing_of_idle_or_forgotten_workers() {
    let policy = policy();
    send(&policy, &LENGTHS, 0..20, &with_gaps(8, &[]));
    policy.forget(WorkerId(0));
    assert!(!policy.window.lock().by_worker.contains_key(&WorkerId(0)));
    send(
        &policy,
        &LENGTHS,
        20..40,
        &with_gaps(8, &[0, 1, 2, 3, 4, 5, 6]),
    );
    assert_eq!(policy.window.lock().by_worker.len(), 1);
}
