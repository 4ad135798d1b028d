//! Schedules that know the future: which split in which slot of time.
//!
//! A schedule switches between two splits. In each slot it is at the one that has less to do per worker at its shorter
//! role, by the demand of that slot and its neighbours; the wider that window, the fewer moves. It may move some slots
//! ahead of what it moves for, since a worker first finishes what it has and is then away. All pairs of splits, all
//! windows and all leads are the candidates.

use std::time::Duration;

use policies::{ratio::Split, time::Timestamp, worker::Role};

use super::{
    Question,
    demand::{self, Demand},
};
use crate::{sim::RoleChange, workload::Workload};

/// Slots whose demand is added up for a decision.
const WINDOWS: [usize; 5] = [1, 2, 4, 8, 16];
/// Slots by which a move is ahead of its reason.
const LEADS: [usize; 4] = [0, 1, 2, 4];

/// A split to start with, and the splits to go to, in the order of their times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub start: Split,
    pub moves: Vec<(Timestamp, Split)>,
}

impl Schedule {
    /// The role changes that it takes, where a worker is away for `dark`.
    pub fn changes(&self, dark: Duration) -> Vec<RoleChange> {
        let mut prefill = self.start.prefill;
        let mut changes = Vec::new();
        for (at, split) in &self.moves {
            let from = if split.prefill > prefill {
                Role::Decode
            } else {
                Role::Prefill
            };
            let change = RoleChange {
                at: *at,
                from,
                dark,
            };
            changes.extend((0..split.prefill.abs_diff(prefill)).map(|_| change));
            prefill = split.prefill;
        }
        changes
    }

    /// The splits it uses, as `1P3D/3P1D`.
    pub fn levels(&self) -> String {
        let mut used: Vec<u32> = vec![self.start.prefill];
        used.extend(self.moves.iter().map(|(_, split)| split.prefill));
        used.sort_unstable();
        used.dedup();
        let workers = self.start.prefill + self.start.decode;
        let name = |prefill: &u32| {
            Split {
                prefill: *prefill,
                decode: workers - prefill,
            }
            .to_string()
        };
        used.iter().map(name).collect::<Vec<_>>().join("/")
    }
}

/// All schedules to try that move at least once, each of them once.
pub(super) fn candidates(question: &Question, workload: &Workload) -> Vec<Schedule> {
    let arrivals = match workload {
        Workload::Open { arrivals } => arrivals,
        // Without times there is nothing to know in advance.
        Workload::Closed { .. } => return Vec::new(),
    };
    let demand = demand::by_slot(arrivals, question.slot, &question.model, &question.slo);
    let mut schedules = Vec::new();
    for window in WINDOWS {
        let demand = demand::smoothed(&demand, window);
        for pair in pairs(question.fleet.workers) {
            let wanted = wanted(&demand, pair);
            for lead in LEADS {
                let schedule = scheduled(&wanted, lead, question.slot);
                let schedule = schedule.filter(|schedule| !schedules.contains(schedule));
                schedules.extend(schedule);
            }
        }
    }
    schedules
}

fn pairs(workers: u32) -> Vec<[Split; 2]> {
    let splits = Split::all(workers);
    let pairs = splits.iter().enumerate().flat_map(|(place, low)| {
        let higher = &splits[place + 1..];
        higher.iter().map(|high| [*low, *high])
    });
    pairs.collect()
}

/// The better of two splits for each slot. Without demand there is no reason to leave the one before.
fn wanted(demand: &[Demand], [low, high]: [Split; 2]) -> Vec<Split> {
    let mut last = None;
    let mut wanted: Vec<Option<Split>> = Vec::with_capacity(demand.len());
    for slot in demand {
        if *slot != Demand::default() {
            let better = if slot.load(high) < slot.load(low) {
                high
            } else {
                low
            };
            last = Some(better);
        }
        wanted.push(last);
    }
    let first = wanted.iter().flatten().next().copied().unwrap_or(low);
    wanted
        .into_iter()
        .map(|split| split.unwrap_or(first))
        .collect()
}

/// The schedule that is at `wanted` in each slot, moving `lead` slots ahead. `None` where it never moves.
fn scheduled(wanted: &[Split], lead: usize, slot: Duration) -> Option<Schedule> {
    // What is wanted within the lead is where it starts.
    let start = *wanted.get(lead)?;
    let mut split = start;
    let mut moves = Vec::new();
    for (number, next) in (0..).zip(&wanted[lead..]) {
        if *next != split {
            split = *next;
            moves.push((Timestamp::ZERO.after(slot * number), split));
        }
    }
    (!moves.is_empty()).then_some(Schedule { start, moves })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Split = Split {
        prefill: 1,
        decode: 3,
    };
    const HIGH: Split = Split {
        prefill: 3,
        decode: 1,
    };
    const SLOT: Duration = Duration::from_secs(30);

    fn at(second: u64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn a_lead_moves_ahead_of_the_slot_that_wants_it() {
        let wanted = [LOW, LOW, HIGH, HIGH, LOW];
        let schedule = |lead| scheduled(&wanted, lead, SLOT).unwrap();
        assert_eq!(schedule(0).moves, [(at(60), HIGH), (at(120), LOW)]);
        assert_eq!(schedule(1).moves, [(at(30), HIGH), (at(90), LOW)]);
        assert_eq!(schedule(2).start, HIGH);
        assert_eq!(scheduled(&[LOW; 5], 0, SLOT), None);
        assert_eq!(scheduled(&wanted, 9, SLOT), None);
    }

    #[test]
    fn a_move_over_two_splits_changes_two_workers() {
        let dark = Duration::from_secs(2);
        let schedule = Schedule {
            start: LOW,
            moves: vec![(at(60), HIGH), (at(120), LOW)],
        };
        let changes = schedule.changes(dark);
        let change = |second, from| RoleChange {
            at: at(second),
            from,
            dark,
        };
        let [there, back] = [change(60, Role::Decode), change(120, Role::Prefill)];
        assert_eq!(changes, [there, there, back, back]);
        assert_eq!(schedule.levels(), "1P3D/3P1D");
    }

    #[test]
    fn a_slot_without_demand_stays_where_it_is() {
        let prefill = Demand {
            prefill: 10.0,
            decode: 1.0,
        };
        let decode = Demand {
            prefill: 1.0,
            decode: 10.0,
        };
        let demand = [Demand::default(), prefill, Demand::default(), decode];
        assert_eq!(wanted(&demand, [LOW, HIGH]), [HIGH, HIGH, HIGH, LOW]);
    }

    #[test]
    fn all_pairs_of_splits_are_tried() {
        assert_eq!(pairs(4).len(), 3);
        assert_eq!(pairs(8).len(), 21);
        assert!(pairs(2).is_empty());
    }
}
