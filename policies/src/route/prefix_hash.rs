//! `prefix_hash`: prompts that begin alike go to the same worker, as long as that one is not overloaded.
//!
//! Consistent hashing with bounded loads over the start of the prompt: affinity without any memory of past requests,
//! and the same in every router. A worker may hold at most 1.25 times the mean load; over that the key's next choice
//! takes the request. The bound is never below the mean, so somebody is always under it.

use xxhash_rust::xxh3::xxh3_64;

use super::dice::Dice;
use super::rendezvous::score;
use super::select::{available, least_loaded};
use super::{Candidate, Candidates, Draw, RoutePolicy, RouteRequest};

/// How much of the prompt is hashed: 256 tokens of about four bytes, enough for a system prompt to tell applications
/// apart and short enough that what users add does not.
const PREFIX_BYTES: usize = 1024;

/// Rendezvous hashing of the prompt's start, with bounded loads.
#[derive(Debug, Default)]
pub(super) struct PrefixHash;

impl RoutePolicy for PrefixHash {
    fn pick(
        &self,
        request: &RouteRequest<'_>,
        candidates: &dyn Candidates,
        draw: Draw,
    ) -> Option<usize> {
        let prompt = request.prompt.as_bytes();
        let hash = xxh3_64(&prompt[..prompt.len().min(PREFIX_BYTES)]);
        let bound = LoadBound::of(candidates);
        let preferred = available(candidates)
            .filter(|(_, worker)| bound.admits(worker))
            .max_by_key(|(_, worker)| score(worker, hash));
        // Loads that rose since the bound was taken can leave nobody under it.
        let (index, _) =
            preferred.or_else(|| least_loaded(candidates, &mut Dice::new(draw.entropy)))?;
        Some(index)
    }
}

/// The most requests that a worker may hold to be given another one: 5/4 of the mean, this request included.
#[derive(Debug, Clone, Copy)]
struct LoadBound {
    total: u64,
    workers: u64,
}

impl LoadBound {
    fn of(candidates: &dyn Candidates) -> Self {
        let none = Self {
            total: 1,
            workers: 0,
        };
        available(candidates).fold(none, |sum, (_, worker)| Self {
            total: sum.total + u64::from(worker.in_flight),
            workers: sum.workers + 1,
        })
    }

    fn admits(self, worker: &Candidate) -> bool {
        // in_flight <= 1.25 * total / workers, without a division.
        let held = u128::from(worker.in_flight) * u128::from(self.workers);
        held * 4 <= u128::from(self.total) * 5
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fleet, pick, prompt};
    use super::*;

    #[test]
    fn prompts_that_begin_alike_share_a_worker() {
        let candidates = fleet(&[0; 16]);
        let start = "s".repeat(PREFIX_BYTES);
        let first = pick(&PrefixHash, &prompt(&start), &candidates, 1);
        for seed in 0..50 {
            let longer = format!("{start} question {seed}");
            assert_eq!(
                pick(&PrefixHash, &prompt(&longer), &candidates, seed),
                first
            );
        }
        let others = (0..50).filter(|n| {
            let other = format!("{n}{start}");
            pick(&PrefixHash, &prompt(&other), &candidates, 1) != first
        });
        assert!(
            others.count() > 35,
            "different starts spread over 16 workers"
        );
    }

    #[test]
    fn the_bound_holds_for_one_hot_prefix() {
        let mut candidates = fleet(&[0; 8]);
        for seed in 0..4_000 {
            let index = pick(&PrefixHash, &prompt("hot"), &candidates, seed);
            candidates[index].in_flight += 1;
            let total: u32 = candidates.iter().map(|worker| worker.in_flight).sum();
            let bound = 1.25 * f64::from(total) / 8.0 + 1.0;
            assert!(f64::from(candidates[index].in_flight) <= bound);
        }
    }

    #[test]
    fn an_overloaded_first_choice_gives_way_to_the_second_and_gets_its_keys_back() {
        let mut candidates = fleet(&[4; 4]);
        let first = pick(&PrefixHash, &prompt("p"), &candidates, 1);
        candidates[first].in_flight = 100;
        let second = pick(&PrefixHash, &prompt("p"), &candidates, 1);
        assert_ne!(second, first);
        assert_eq!(pick(&PrefixHash, &prompt("p"), &candidates, 99), second);
        candidates[first].in_flight = 4;
        assert_eq!(pick(&PrefixHash, &prompt("p"), &candidates, 1), first);
    }

    #[test]
    fn the_bound_is_a_quarter_above_the_mean() {
        // Total 7 and this request: 1.25 * 8 / 2 = 5.
        for (in_flight, admitted) in [(5, true), (6, false)] {
            let bound = LoadBound {
                total: 8,
                workers: 2,
            };
            assert_eq!(bound.admits(&fleet(&[in_flight])[0]), admitted);
        }
    }
}
