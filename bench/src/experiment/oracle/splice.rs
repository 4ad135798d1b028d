//! The best of several simulated schedules at each time, put together into one.
//!
//! Dynamic programming over slots and schedules: the state is the schedule that is followed, what a slot yields is what
//! it served in time of the requests that arrived then. One can go over to another where both are at the same split. What
//! it can't know is that the other may have less of a backlog there, so the result is simulated like all others.

use policies::ratio::Split;

use super::schedule::{Schedule, Trial, slot_of};

/// How long two schedules are at the same split before one goes over to the other: a backlog that one has and the other
/// hasn't is smaller then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caution {
    slots: usize,
}

impl Caution {
    pub const ALL: [Self; 2] = [Self { slots: 0 }, Self { slots: 10 }];
}

/// Requests that a change has to gain: without it schedules that are alike would be mixed for nothing.
const LEAST_GAIN: f64 = 2.0;

/// The schedule that the program finds in `trials`, of which there is at least one.
pub fn plan(trials: &[Trial], caution: Caution) -> Schedule {
    let slots = trials.iter().map(|trial| trial.good.len()).max();
    let slots = slots.unwrap_or(0);
    let steady: Vec<_> = trials.iter().map(|trial| steady(trial, caution)).collect();
    // What the best way to each schedule has served before this slot, and where it comes from.
    let mut served = vec![0.0_f64; trials.len()];
    let mut came_from: Vec<Vec<usize>> = Vec::with_capacity(slots);
    for slot in 0..slots {
        let mut before = Vec::with_capacity(trials.len());
        for here in 0..trials.len() {
            let joins = |there: &usize| {
                *there != here && slot > 0 && is_same(&steady[*there], &steady[here], slot)
            };
            let others = (0..trials.len()).filter(joins);
            let best = others.max_by(|a, b| served[*a].total_cmp(&served[*b]));
            before.push(match best {
                Some(there) if served[there] > served[here] + LEAST_GAIN => there,
                Some(_) | None => here,
            });
        }
        let cost = |here: usize| {
            if before[here] == here {
                0.0
            } else {
                LEAST_GAIN
            }
        };
        served = (0..trials.len())
            .map(|here| served[before[here]] - cost(here) + good(&trials[here], slot))
            .collect();
        came_from.push(before);
    }
    let last = (0..trials.len()).max_by(|a, b| served[*a].total_cmp(&served[*b]));
    follow(trials, &came_from, last.unwrap_or(0))
}

fn good(trial: &Trial, slot: usize) -> f64 {
    trial.good.get(slot).copied().map_or(0.0, f64::from)
}

/// The split in each slot of those in which a change is thought safe.
fn steady(trial: &Trial, caution: Caution) -> Vec<Option<Split>> {
    (0..trial.splits.len())
        .map(|slot| {
            let since = slot.saturating_sub(caution.slots);
            let now = trial.splits[slot];
            let all = trial.splits[since..=slot].iter().all(|then| *then == now);
            now.filter(|_| all)
        })
        .collect()
}

fn is_same(one: &[Option<Split>], other: &[Option<Split>], slot: usize) -> bool {
    match (one.get(slot), other.get(slot)) {
        (Some(Some(one)), Some(Some(other))) => one == other,
        _ => false,
    }
}

/// The moves of whichever schedule is followed in each slot.
fn follow(trials: &[Trial], came_from: &[Vec<usize>], last: usize) -> Schedule {
    let mut followed = vec![last; came_from.len()];
    let mut here = last;
    for (slot, before) in came_from.iter().enumerate().rev() {
        followed[slot] = here;
        here = before[here];
    }
    let mut moves = Vec::new();
    for (slot, trial) in followed.iter().enumerate() {
        let of_slot = trials[*trial].schedule.moves.iter();
        moves.extend(of_slot.filter(|(at, _)| slot_of(*at) == slot));
    }
    // Moves after the last arrival serve nobody.
    let start = trials[followed.first().copied().unwrap_or(last)]
        .schedule
        .start;
    Schedule { start, moves }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{experiment::oracle::schedule::SLOT, scenario::Figures};
    use policies::{time::Timestamp, worker::Role};

    const TWO: Split = Split {
        prefill: 2,
        decode: 2,
    };
    const THREE: Split = Split {
        prefill: 3,
        decode: 1,
    };

    fn trial(moves: &[(u32, Role)], splits: &[Option<Split>], good: &[u32]) -> Trial {
        let at = |slot: u32| Timestamp::ZERO.after(SLOT * slot);
        Trial {
            schedule: Schedule {
                start: splits[0].unwrap(),
                moves: moves
                    .iter()
                    .map(|(slot, from)| (at(*slot), *from))
                    .collect(),
            },
            figures: Figures::default(),
            good: good.to_vec(),
            splits: splits.to_vec(),
        }
    }

    #[test]
    fn the_better_is_followed_where_both_are_at_the_same_split() {
        // One stays, the other goes and comes back; it is better while away and worse on its way.
        let stays = trial(&[], &[Some(TWO); 7], &[9, 9, 1, 1, 1, 9, 9]);
        let goes = trial(
            &[(1, Role::Decode), (4, Role::Prefill)],
            &[
                Some(TWO),
                None,
                Some(THREE),
                Some(THREE),
                None,
                Some(TWO),
                Some(TWO),
            ],
            &[9, 8, 9, 9, 9, 2, 2],
        );
        let found = plan(&[stays, goes.clone()], Caution::ALL[0]);
        assert_eq!(
            found, goes.schedule,
            "its moves, and then the other, which stays"
        );
    }

    #[test]
    fn nobody_changes_while_a_worker_is_on_its_way() {
        let stays = trial(&[], &[Some(TWO); 4], &[9, 9, 9, 0]);
        let goes = trial(
            &[(1, Role::Decode)],
            &[Some(TWO), None, None, Some(THREE)],
            &[9, 0, 0, 15],
        );
        let found = plan(&[stays.clone(), goes], Caution::ALL[0]);
        assert_eq!(found, stays.schedule, "27 in time, and 24 with the way");
    }

    #[test]
    fn caution_waits_until_both_have_been_there() {
        let splits = [Some(TWO), None, Some(THREE), Some(THREE)];
        let trial = trial(&[], &splits, &[0; 4]);
        let cautious = steady(&trial, Caution { slots: 1 });
        assert_eq!(cautious, [Some(TWO), None, None, Some(THREE)]);
    }
}
