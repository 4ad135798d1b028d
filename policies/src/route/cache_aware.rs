//! `cache_aware`: a prompt goes to a worker that has seen its beginning, as long as the load allows.
//!
//! A worker that still holds the KV of a prefix need not compute it again. The router can't look into the workers'
//! caches, but it knows where it sent which prompt, and that is what `index` remembers, prefix by prefix.
//!
//! In order:
//!
//! 1. The load is out of balance: the least loaded worker, whatever it holds.
//! 2. More than `cache_threshold` of the prompt is known: of the workers that hold the longest known prefix the least
//!    loaded.
//! 3. Else the least loaded worker.
//!
//! Whoever is picked is recorded as a holder of the prompt, also in the first case: so a prefix that is too popular
//! for one worker spreads to as many as it needs.
//!
//! Why hashes in a table and not a tree of text: the index keeps no prompts, its memory is a constant, prompts are
//! hashed before any lock is taken, and a decision on a 128 KiB prompt costs about 20 us, nearly all of it hashing.

mod index;
mod prefixes;

use self::index::{Holders, PrefixIndex};
use self::prefixes::Prefixes;
use super::dice::Dice;
use super::settings::{Balance, RouteSettings};
use super::survey::{Survey, each_part};
use super::{Candidates, Draw, RoutePolicy, RouteRequest, UNAVAILABLE};
use crate::time::Timestamp;
use crate::worker::WorkerId;

/// Longest known prefix, unless the load says otherwise.
#[derive(Debug)]
pub(super) struct CacheAware {
    threshold: f32,
    balance: Balance,
    index: PrefixIndex,
}

impl CacheAware {
    pub(super) fn new(settings: &RouteSettings) -> Self {
        Self {
            threshold: settings.cache_threshold,
            balance: settings.balance(),
            index: PrefixIndex::new(settings.max_tree_size, settings.eviction_interval),
        }
    }

    /// Of the given workers those that hold the longest known prefix, if that is long enough.
    fn holders(&self, prefixes: &Prefixes, among: Holders, now: Timestamp) -> Option<Holders> {
        let enough = self.threshold * prefixes.total() as f32;
        prefixes
            .as_slice()
            .iter()
            .rev()
            .take_while(|prefix| prefix.end as f32 > enough)
            .map(|prefix| self.index.holders(prefix.hash, now).and(among))
            .find(|holders| !holders.is_empty())
    }
}

impl RoutePolicy for CacheAware {
    fn pick(
        &self,
        request: &RouteRequest<'_>,
        candidates: &dyn Candidates,
        draw: Draw,
    ) -> Option<usize> {
        let mut dice = Dice::new(draw.entropy);
        let prefixes = Prefixes::of(request.prompt);
        let holders = self.holders(&prefixes, Holders::ALL, draw.now);
        let fleet = survey(candidates, holders, &mut dice)?;
        let (least, most) = (f64::from(fleet.lowest.in_flight), f64::from(fleet.most));
        let affine = match holders {
            Some(_) if !self.balance.is_broken(least, most) => fleet.wanted.or_else(|| {
                // Those who hold the longest are away. Of the others some may hold a shorter one.
                let others = self.holders(&prefixes, available(candidates), draw.now)?;
                survey(candidates, Some(others), &mut dice)?.wanted
            }),
            Some(_) | None => None,
        };
        let chosen = affine.unwrap_or(fleet.lowest);
        for prefix in prefixes.as_slice() {
            self.index.record(prefix.hash, chosen.id, draw.now);
        }
        Some(chosen.index)
    }

    fn forget(&self, worker: WorkerId) {
        self.index.forget(worker);
    }
}

/// `None` where nobody is available; `wanted` are the holders.
fn survey(
    candidates: &dyn Candidates,
    holders: Option<Holders>,
    dice: &mut Dice,
) -> Option<Survey> {
    let wanted = holders.map(|holders| move |id| holders.contains(id));
    Survey::of(candidates, wanted.as_ref(), dice)
}

/// Everybody who may be picked.
fn available(candidates: &dyn Candidates) -> Holders {
    let mut all = Holders::NOBODY;
    each_part(candidates, |_, ids, in_flight| {
        let workers = ids.iter().zip(in_flight);
        let available = workers.filter(|(_, load)| **load != UNAVAILABLE);
        all = available.fold(all, |all, (id, _)| all.with(*id));
    });
    all
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, fleet, pick, prompt, with_gaps};
    use super::*;

    fn policy() -> CacheAware {
        CacheAware::new(&RouteSettings {
            max_tree_size: 1 << 20,
            ..RouteSettings::default()
        })
    }

    #[test]
    fn identical_prompts_stay_on_one_worker_while_it_is_balanced() {
        for len in [1, 63, 64, 100, 5_000, 200_000] {
            let (policy, candidates) = (policy(), fleet(&[0; 4]));
            let text = "p".repeat(len);
            let first = pick(&policy, &prompt(&text), &candidates, 1);
            for seed in 0..40 {
                assert_eq!(pick(&policy, &prompt(&text), &candidates, seed), first);
            }
        }
    }

    #[test]
    fn imbalance_moves_a_prompt_and_the_new_worker_then_holds_it_too() {
        let policy = policy();
        let text = "p".repeat(1_000);
        let mut candidates = fleet(&[0; 3]);
        let first = pick(&policy, &prompt(&text), &candidates, 1);
        candidates[first].in_flight = 64;
        assert_eq!(
            pick(&policy, &prompt(&text), &candidates, 2),
            first,
            "still within bounds"
        );
        candidates[first].in_flight = 65;
        let second = pick(&policy, &prompt(&text), &candidates, 3);
        assert_ne!(second, first);
        // Balanced again: both hold the prompt, the third does not; the less loaded of the two gets it.
        candidates[first].in_flight = 30;
        candidates[second].in_flight = 20;
        assert_eq!(pick(&policy, &prompt(&text), &candidates, 4), second);
    }

    #[test]
    fn the_longest_known_prefix_wins() {
        let policy = policy();
        let candidates = fleet(&[0; 2]);
        let system = "s".repeat(1_024);
        let conversation = format!("{system}{}", "c".repeat(4_096));
        // Put the two on different workers by making the other one busy.
        let on = |index: usize, text: &str| {
            let mut busy = candidates.clone();
            busy[1 - index].in_flight = 1_000;
            assert_eq!(pick(&policy, &prompt(text), &busy, 1), index);
        };
        on(0, &system);
        on(1, &conversation);
        on(0, &system);

        let next_turn = format!("{conversation}{}", "n".repeat(500));
        let mut rather_busy = candidates.clone();
        rather_busy[1].in_flight = 10;
        assert_eq!(pick(&policy, &prompt(&next_turn), &rather_busy, 2), 1);
    }

    #[test]
    fn a_known_prefix_counts_only_if_it_is_enough_of_the_prompt() {
        let policy = policy();
        let system = "s".repeat(1_024);
        let mut candidates = fleet(&[0; 2]);
        let holder = pick(&policy, &prompt(&system), &candidates, 1);
        candidates[holder].in_flight = 10;
        // The threshold is 0.3: 1,024 of 2,560 bytes are enough, of 5,120 are not.
        for (rest, expected) in [("a".repeat(1_536), holder), ("b".repeat(4_096), 1 - holder)] {
            let text = format!("{system}{rest}");
            assert_eq!(pick(&policy, &prompt(&text), &candidates, 2), expected);
        }
    }

    #[test]
    fn a_shared_system_prompt_is_served_by_everybody_once_they_hold_it() {
        let policy = policy();
        let system = "s".repeat(2_048);
        let mut candidates = fleet(&[0; 8]);
        for n in 0..2_000 {
            let text = format!("{system}{n}");
            let index = pick(&policy, &prompt(&text), &candidates, n);
            candidates[index].in_flight += 1;
        }
        let loads: Vec<u32> = candidates.iter().map(|worker| worker.in_flight).collect();
        let (min, max) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(max - min <= 65, "{loads:?}");
    }

    #[test]
    fn an_unavailable_holder_gives_way_to_the_least_loaded() {
        let policy = policy();
        let text = "p".repeat(300);
        let all = fleet(&[0, 0, 0]);
        let first = pick(&policy, &prompt(&text), &all, 1);
        let mut without: Vec<_> = all.into_iter().map(Some).collect();
        without[first] = None;
        let second = policy.pick(&prompt(&text), &without.as_slice(), draw(0, 2));
        assert!(second.is_some_and(|second| second != first));
    }

    #[test]
    fn new_prompts_spread_over_idle_workers() {
        let (policy, candidates) = (policy(), fleet(&[0; 4]));
        let mut seen = [0; 4];
        for n in 0..2_000 {
            let text = format!("{n} is a prompt of its own");
            seen[pick(&policy, &prompt(&text), &candidates, n)] += 1;
        }
        assert!(seen.iter().all(|n| (400..=600).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_forgotten_worker_is_no_longer_preferred() {
        let policy = policy();
        let text = "p".repeat(300);
        let mut candidates = fleet(&[0; 4]);
        let first = pick(&policy, &prompt(&text), &candidates, 1);
        candidates[first].in_flight = 1;
        assert_eq!(pick(&policy, &prompt(&text), &candidates, 2), first);
        policy.forget(candidates[first].id);
        assert_ne!(pick(&policy, &prompt(&text), &candidates, 3), first);
    }

    #[test]
    fn nobody_available_is_none_and_an_empty_prompt_is_fine() {
        let nobody = with_gaps(2, &[0, 1]);
        assert_eq!(
            policy().pick(&prompt("p"), &nobody.as_slice(), draw(0, 1)),
            None
        );
        assert_eq!(pick(&policy(), &prompt(""), &fleet(&[5, 0]), 1), 1);
    }
}
