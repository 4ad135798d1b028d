//! The oracle: the best schedule that can be found for requests that are all known in advance.
//!
//! Schedules are found by dynamic programming and scored in the simulator, as all arms are. Two programs take turns.
//! [`fluid`] plans over time cut into slots by what the performance model says each split would miss. [`splice`] plans
//! over what was simulated: it follows, slot by slot, whichever of the schedules tried so far served most in time, and
//! changes from one to another where both are at the same split. Every fixed split and what the planners did are among
//! the schedules that it starts from, so the oracle is never below one of them.
//!
//! Its score is that of the best schedule that was found: a lower bound of what can be had. It begins with the split of
//! its choice, moves several workers at once where it likes, and knows no guardrails.

mod fluid;
mod schedule;
mod splice;

use std::time::Duration;

use policies::ratio::Split;

use super::arms::{Arm, Planning};
use crate::{sim::Setup, workload::Workload};

pub use self::schedule::{Schedule, Trial};
use self::{fluid::Assumptions, splice::Caution};

/// Where so much is attained nothing is left to find.
const ENOUGH: f64 = 0.9995;

/// Seconds by which all moves of the best schedule are tried earlier and later, round by round.
const SHIFTS: [[f64; 2]; 2] = [[-12.0, 12.0], [-4.0, 4.0]];

/// What is needed to try a schedule.
pub struct Question<'a> {
    /// Of the arm with the same measures that never moves; split, changes and failures are this one's.
    pub setup: &'a Setup,
    pub dark: Duration,
    pub work: &'a Workload,
}

/// The best of `known` trials and of those that are found. `known` are of the same requests and measures.
pub fn find(question: &Question, known: Vec<Trial>) -> Trial {
    let mut search = Search {
        question,
        tried: known,
    };
    for split in Split::all(question.start().workers()) {
        search.attempt(&Schedule::fixed(split));
    }
    for assumptions in Assumptions::ALL {
        if search.is_over() {
            break;
        }
        search.attempt(&fluid::plan(question, &assumptions));
    }
    search.splice();
    for shifts in SHIFTS {
        for seconds in shifts {
            if search.is_over() {
                break;
            }
            search.attempt(&search.best().schedule.shifted(seconds));
        }
        search.splice();
    }
    search.into_best()
}

struct Search<'a> {
    question: &'a Question<'a>,
    tried: Vec<Trial>,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.best().attainment() >= ENOUGH
    }

    /// Scores a schedule, unless it was.
    fn attempt(&mut self, schedule: &Schedule) {
        let is_new = self.tried.iter().all(|trial| trial.schedule != *schedule);
        if is_new {
            self.tried.push(Trial::of(self.question, schedule));
        }
    }

    fn splice(&mut self) {
        for caution in Caution::ALL {
            if self.is_over() {
                return;
            }
            let spliced = splice::plan(&self.tried, caution);
            self.attempt(&spliced);
        }
    }

    /// Of equals the one with fewest moves.
    fn best(&self) -> &Trial {
        let better = |one: &&Trial, other: &&Trial| one.compare(other);
        let best = self.tried.iter().max_by(better);
        best.expect("the fixed splits are tried first")
    }

    fn into_best(self) -> Trial {
        let best = self.tried.into_iter().max_by(Trial::compare);
        best.expect("the fixed splits are tried first")
    }
}

impl<'a> Question<'a> {
    /// The setup under which `schedule` is played.
    pub fn playing(&self, schedule: &Schedule) -> Setup {
        Setup {
            prefill: schedule.start.prefill,
            decode: schedule.start.decode,
            changes: schedule.changes(self.dark),
            ..self.setup.clone()
        }
    }

    /// Where planners begin.
    const fn start(&self) -> Split {
        Split {
            prefill: self.setup.prefill,
            decode: self.setup.decode,
        }
    }

    /// What the oracle has of `arm`: neither planner nor schedule yet.
    pub const fn new(setup: &'a Setup, dark: Duration, work: &'a Workload) -> Self {
        Self { setup, dark, work }
    }
}

/// Whether `arm`'s runs are among those that the oracle starts from.
pub fn copies(oracle: &Arm, arm: &Arm) -> bool {
    match arm.planning {
        Planning::Threshold
        | Planning::Controller
        | Planning::KnownLengths
        | Planning::Fixed(_) => arm.measures == oracle.measures,
        Planning::Advise | Planning::Oracle | Planning::Aggregated(_) => false,
    }
}

#[cfg(test)]
mod tests;
