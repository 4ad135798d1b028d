//! Which worker is moved when, and what came of it.

use std::{cmp::Ordering, time::Duration};

use policies::{ratio::Split, time::Timestamp, worker::Role};
use serde::{Deserialize, Serialize};

use super::Question;
use crate::{
    scenario::Figures,
    sim::{self, Outcome, RoleChange, Slo},
};

/// Time is cut into slots of this length: a fifth of the shortest move.
pub const SLOT: Duration = Duration::from_secs(2);

/// A split to begin with, and the donors of moves at their times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub start: Split,
    pub moves: Vec<(Timestamp, Role)>,
}

impl Schedule {
    pub const fn fixed(start: Split) -> Self {
        Self {
            start,
            moves: Vec::new(),
        }
    }

    pub fn changes(&self, dark: Duration) -> Vec<RoleChange> {
        let change = |&(at, from): &(Timestamp, Role)| RoleChange { at, from, dark };
        self.moves.iter().map(change).collect()
    }

    /// Every move so much later, or earlier where that is less than 0.
    pub fn shifted(&self, seconds: f64) -> Self {
        let by = Duration::from_secs_f64(seconds.abs());
        let shifted = |at: Timestamp| {
            if seconds < 0.0 {
                Timestamp::ZERO.after(at.since(Timestamp::ZERO).saturating_sub(by))
            } else {
                at.after(by)
            }
        };
        let moves = self.moves.iter();
        Self {
            start: self.start,
            moves: moves.map(|(at, from)| (shifted(*at), *from)).collect(),
        }
    }
}

/// A schedule that was simulated.
#[derive(Debug, Clone)]
pub struct Trial {
    pub schedule: Schedule,
    pub figures: Figures,
    /// Of those that arrived in each slot, the requests within their targets.
    pub good: Vec<u32>,
    /// The split at the beginning of each slot; `None` while a worker is on its way.
    pub splits: Vec<Option<Split>>,
}

impl Trial {
    /// Plays `schedule`.
    pub fn of(question: &Question, schedule: &Schedule) -> Self {
        let outcome = sim::run(&question.playing(schedule), question.work);
        Self {
            // As it was meant: moves that could not be made are part of the name under which it is known.
            schedule: schedule.clone(),
            ..Self::seen(schedule.start, &outcome, &question.setup.slo)
        }
    }

    /// A run that began with `start`, by the moves that were made in it.
    pub fn seen(start: Split, outcome: &Outcome, slo: &Slo) -> Self {
        let moved = outcome.absences.iter();
        let moved: Vec<_> = moved.filter(|absence| absence.from != absence.to).collect();
        let last = outcome.requests.last().map(|request| request.arrived);
        let slots = last.map_or(0, |last| slot_of(last) + 1);
        let mut good = vec![0; slots];
        for request in &outcome.requests {
            good[slot_of(request.arrived)] += u32::from(request.is_good(slo));
        }
        let mut splits = vec![None; slots];
        for (slot, split) in splits.iter_mut().enumerate() {
            let now = Timestamp::ZERO.after(SLOT * slot as u32);
            let begun = || moved.iter().filter(|absence| absence.closed <= now);
            if begun().all(|absence| absence.back.is_some_and(|back| back <= now)) {
                let after = begun().try_fold(start, |split, absence| split.moved(absence.from));
                *split = after;
            }
        }
        Self {
            schedule: Schedule {
                start,
                moves: moved.iter().map(|one| (one.closed, one.from)).collect(),
            },
            figures: Figures::of(outcome, slo),
            good,
            splits,
        }
    }

    pub fn attainment(&self) -> f64 {
        self.figures.attainment
    }

    /// By what is attained, and then by how few moves it took.
    pub fn compare(&self, other: &Self) -> Ordering {
        let attained = self.attainment().total_cmp(&other.attainment());
        attained.then(other.figures.moves.total_cmp(&self.figures.moves))
    }
}

pub fn slot_of(at: Timestamp) -> usize {
    (at.as_micros() / SLOT.as_micros() as u64) as usize
}
