//! The two ways in which policies search candidates: any one, and the best one.
//!
//! Both are fair: where several candidates are equally good each is taken equally often. A policy that always took
//! the first of them would send everything to one worker whenever the fleet is idle.

use std::cmp::Ordering;

use super::dice::Dice;
use super::{Candidate, Candidates};

/// How often `uniform` guesses before it looks at every candidate. With half of the workers unavailable four guesses
/// miss in one pick of 16, and with all available the first guess hits.
const PROBES: usize = 4;

/// An available candidate and its index. Both, because availability may have changed by a second look.
pub(super) type Choice = (usize, Candidate);

/// All candidates that may be picked.
pub(super) fn available(candidates: &dyn Candidates) -> impl Iterator<Item = Choice> + '_ {
    (0..candidates.len()).filter_map(|index| Some((index, candidates.get(index)?)))
}

/// A uniformly random available candidate other than `except`.
///
/// Guessing until a guess hits is uniform over what is available, and so is the full look that follows if none does.
pub(super) fn uniform(
    candidates: &dyn Candidates,
    dice: &mut Dice,
    except: Option<usize>,
) -> Option<Choice> {
    let others = candidates
        .len()
        .saturating_sub(usize::from(except.is_some()));
    for _ in 0..PROBES.min(others) {
        let guess = dice.below(others);
        let index = guess + usize::from(except.is_some_and(|except| guess >= except));
        if let Some(candidate) = candidates.get(index) {
            return Some((index, candidate));
        }
    }
    let remaining = available(candidates).filter(|(index, _)| Some(*index) != except);
    any_of(remaining, dice)
}

/// A uniformly random item: the k-th one replaces the choice with probability 1/k, so that one pass is enough.
fn any_of<T>(items: impl Iterator<Item = T>, dice: &mut Dice) -> Option<T> {
    let mut choice = None;
    for (seen, item) in items.enumerate() {
        if dice.below(seen + 1) == 0 {
            choice = Some(item);
        }
    }
    choice
}

/// The candidate with the smallest cost; a random one of several that tie.
pub(super) fn cheapest<C: PartialOrd>(
    candidates: impl Iterator<Item = Choice>,
    cost: impl Fn(&Candidate) -> C,
    dice: &mut Dice,
) -> Option<Choice> {
    let mut best: Option<(Choice, C)> = None;
    let mut ties = 0;
    for choice in candidates {
        let cost = cost(&choice.1);
        let order = match &best {
            None => Some(Ordering::Less),
            Some((_, lowest)) => cost.partial_cmp(lowest),
        };
        let wins = match order {
            Some(Ordering::Less) => {
                ties = 1;
                true
            }
            Some(Ordering::Equal) => {
                ties += 1;
                dice.below(ties) == 0
            }
            Some(Ordering::Greater) | None => false,
        };
        if wins {
            best = Some((choice, cost));
        }
    }
    best.map(|(choice, _)| choice)
}

/// The available candidate with the fewest requests in flight.
pub(super) fn least_loaded(candidates: &dyn Candidates, dice: &mut Dice) -> Option<Choice> {
    cheapest(available(candidates), |worker| worker.in_flight, dice)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fleet, with_gaps};
    use super::*;

    fn counts(picks: usize, len: usize, mut pick: impl FnMut(&mut Dice) -> usize) -> Vec<usize> {
        let mut seen = vec![0; len];
        for seed in 0..picks {
            seen[pick(&mut Dice::new(seed as u64))] += 1;
        }
        seen
    }

    #[test]
    fn uniform_is_fair_also_when_the_guesses_miss() {
        // One of 16 is available in each half: most picks end in the full look.
        let gaps: Vec<usize> = (0..16).filter(|index| ![3, 12].contains(index)).collect();
        let candidates = with_gaps(16, &gaps);
        let seen = counts(4_000, 16, |dice| {
            uniform(&candidates.as_slice(), dice, None).unwrap().0
        });
        assert_eq!(seen[3] + seen[12], 4_000);
        // 2,000 expected, standard deviation 32.
        assert!((1_840..=2_160).contains(&seen[3]), "{seen:?}");
    }

    #[test]
    fn uniform_never_answers_the_excepted_one() {
        let candidates = fleet(&[0, 0, 0]);
        let seen = counts(3_000, 3, |dice| {
            uniform(&candidates.as_slice(), dice, Some(1)).unwrap().0
        });
        assert_eq!(seen[1], 0);
        assert!((1_360..=1_640).contains(&seen[0]), "{seen:?}");

        let alone = fleet(&[0]);
        assert_eq!(uniform(&alone.as_slice(), &mut Dice::new(1), Some(0)), None);
    }

    #[test]
    fn ties_for_the_cheapest_are_broken_evenly() {
        let candidates = fleet(&[5, 2, 9, 2, 2]);
        let seen = counts(3_000, 5, |dice| {
            least_loaded(&candidates.as_slice(), dice).unwrap().0
        });
        assert_eq!((seen[0], seen[2]), (0, 0));
        // 1,000 expected, standard deviation 26.
        assert!(
            [1, 3, 4].iter().all(|&i| (870..=1_130).contains(&seen[i])),
            "{seen:?}"
        );
    }

    #[test]
    fn nobody_available_is_none() {
        let nobody = with_gaps(3, &[0, 1, 2]);
        assert_eq!(uniform(&nobody.as_slice(), &mut Dice::new(1), None), None);
        assert_eq!(least_loaded(&nobody.as_slice(), &mut Dice::new(1)), None);
        let empty = fleet(&[]);
        assert_eq!(uniform(&empty.as_slice(), &mut Dice::new(1), None), None);
    }
}
