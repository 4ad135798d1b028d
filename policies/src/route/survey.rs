//! The loads of all candidates, compared without looking at anything else of them.

use super::dice::Dice;
use super::{Candidates, UNAVAILABLE};
use crate::worker::WorkerId;

/// Candidates whose loads are taken at once: columns that stay in the first cache, on the stack.
const AT_ONCE: usize = 256;

/// A candidate with the fewest requests in flight among those compared; any of several with equal chances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lowest {
    pub(super) index: usize,
    pub(super) id: WorkerId,
    pub(super) in_flight: u32,
    /// So many of those compared so far have as few.
    ties: usize,
}

/// What a look at everybody found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Survey {
    /// Of the available.
    pub(super) lowest: Lowest,
    /// The most requests in flight of an available one.
    pub(super) most: u32,
    /// Of the available that were wanted, if any was.
    pub(super) wanted: Option<Lowest>,
}

impl Survey {
    /// `None` where nobody is available. `wanted` is asked of everybody's id, where it is there.
    pub(super) fn of(
        candidates: &dyn Candidates,
        wanted: Option<&impl Fn(WorkerId) -> bool>,
        dice: &mut Dice,
    ) -> Option<Self> {
        let (mut lowest, mut held, mut most) = (None, None, 0);
        each_part(candidates, |from, ids, in_flight| {
            let (least_here, most_here) = extremes(in_flight);
            most = most.max(most_here);
            lowest = lower(lowest, least_here, from, ids, in_flight, dice);
            let Some(wanted) = wanted else { return };
            // Few are, as a rule.
            for (index, id) in ids.iter().enumerate() {
                if wanted(*id) {
                    let (id, load) = (&ids[index..=index], &in_flight[index..=index]);
                    held = lower(held, load[0], from + index, id, load, dice);
                }
            }
        });
        Some(Self {
            lowest: lowest?,
            most,
            wanted: held,
        })
    }
}

/// Calls `each` with the index, the ids and the requests in flight of so many candidates at a time, up to all.
pub(super) fn each_part(
    candidates: &dyn Candidates,
    mut each: impl FnMut(usize, &[WorkerId], &[u32]),
) {
    let (mut ids, mut in_flight) = ([WorkerId(0); AT_ONCE], [UNAVAILABLE; AT_ONCE]);
    for from in (0..candidates.len()).step_by(AT_ONCE) {
        let here = AT_ONCE.min(candidates.len() - from);
        let (ids, in_flight) = (&mut ids[..here], &mut in_flight[..here]);
        candidates.survey(from, ids, in_flight);
        each(from, ids, in_flight);
    }
}

/// The fewest, [`UNAVAILABLE`] where nobody is available, and the most of an available one.
fn extremes(in_flight: &[u32]) -> (u32, u32) {
    let (mut least, mut above_most) = (UNAVAILABLE, 0);
    for load in in_flight {
        least = least.min(*load);
        // What is unavailable becomes nothing, without a branch.
        above_most = above_most.max(load.wrapping_add(1));
    }
    (least, above_most.saturating_sub(1))
}

/// The lowest of `lowest` and the candidates from `from` on, the fewest of which are `least`.
fn lower(
    lowest: Option<Lowest>,
    least: u32,
    from: usize,
    ids: &[WorkerId],
    in_flight: &[u32],
    dice: &mut Dice,
) -> Option<Lowest> {
    let before = lowest.map_or(UNAVAILABLE, |lowest| lowest.in_flight);
    if least == UNAVAILABLE || least > before {
        return lowest;
    }
    let tie = |load: &u32| u32::from(*load == least);
    let here = in_flight.iter().map(tie).sum::<u32>() as usize;
    let others = lowest.map_or(0, |lowest| if least == before { lowest.ties } else { 0 });
    let ties = here + others;
    // Of all that tie any one with equal chances: the first `here` of their numbers are those here.
    let chosen = dice.below(ties);
    let tied = in_flight
        .iter()
        .enumerate()
        .filter(|(_, load)| **load == least);
    match tied.map(|(index, _)| index).nth(chosen) {
        Some(index) => Some(Lowest {
            index: from + index,
            id: ids[index],
            in_flight: least,
            ties,
        }),
        None => lowest.map(|lowest| Lowest { ties, ..lowest }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Candidate;
    use super::super::testing::worker;
    use super::*;

    const NOBODY: Option<&fn(WorkerId) -> bool> = None;

    fn fleet(loads: &[Option<u32>]) -> Vec<Option<Candidate>> {
        (0..)
            .zip(loads)
            .map(|(id, load)| load.map(|load| worker(id, load)))
            .collect()
    }

    #[test]
    fn the_lowest_is_found_wherever_it_stands_and_the_highest_too() {
        for len in [1, 2, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE + 7] {
            for at in [0, len / 2, len - 1] {
                let mut loads = vec![Some(7); len];
                loads[at] = Some(3);
                let candidates = fleet(&loads);
                let wanted = |id: WorkerId| id.0 != at as u64;
                let mut dice = Dice::new(at as u64);
                let survey = Survey::of(&candidates.as_slice(), Some(&wanted), &mut dice).unwrap();
                assert_eq!((survey.lowest.index, survey.lowest.in_flight), (at, 3));
                assert_eq!(survey.lowest.id, WorkerId(at as u64));
                assert_eq!(survey.most, if len == 1 { 3 } else { 7 });
                assert_eq!(
                    survey.wanted.map(|held| held.in_flight),
                    (len > 1).then_some(7)
                );
            }
        }
    }

    #[test]
    fn who_is_unavailable_is_neither() {
        let candidates = fleet(&[None, Some(5), None, Some(4), None]);
        let survey = Survey::of(&candidates.as_slice(), NOBODY, &mut Dice::new(1)).unwrap();
        assert_eq!((survey.lowest.index, survey.most), (3, 5));
        let nobody = fleet(&[None, None]);
        assert!(Survey::of(&nobody.as_slice(), NOBODY, &mut Dice::new(1)).is_none());
        assert!(Survey::of(&fleet(&[]).as_slice(), NOBODY, &mut Dice::new(1)).is_none());
    }

    #[test]
    fn ties_are_chosen_equally_often_also_across_parts() {
        let mut loads = vec![Some(1); 2 * AT_ONCE];
        let idle = [0, 1, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE - 1];
        for index in idle {
            loads[index] = Some(0);
        }
        let candidates = fleet(&loads);
        let mut seen = std::collections::HashMap::new();
        for seed in 5_000..10_000 {
            let wanted = |id: WorkerId| id.0 < 2;
            let mut dice = Dice::new(seed);
            let survey = Survey::of(&candidates.as_slice(), Some(&wanted), &mut dice).unwrap();
            *seen.entry(survey.lowest.index).or_insert(0) += 1;
            *seen
                .entry(10_000 + survey.wanted.unwrap().index)
                .or_insert(0) += 1;
        }
        // 1,000 expected, standard deviation 28; and 2,500 with 35: five of them either way.
        for index in idle {
            assert!((860..=1_140).contains(&seen[&index]), "{seen:?}");
        }
        for index in [10_000, 10_001] {
            assert!((2_325..=2_675).contains(&seen[&index]), "{seen:?}");
        }
        assert_eq!(seen.len(), idle.len() + 2);
    }
}
