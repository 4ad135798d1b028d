//! What if: which split is right for this traffic, and what could moving workers between roles add?
//!
//! The traffic is simulated on every fixed split of the fleet. Then schedules that know the whole trace in advance are
//! tried, each of which switches between two splits ([`schedule`]); the best of them is a ceiling for controllers that
//! move workers in that way, for each time that a worker is away when its role changes.
//!
//! What the ceiling is: the attainment of the best of a finite set of schedules, chosen on the trace it is scored on.
//! What it is not: the optimum over all schedules, which may use more than two splits and move at any time; nor
//! something that a controller reaches, which does not know what comes.

mod answer;
pub mod cli;
mod demand;
mod picture;
pub mod schedule;

use std::{num::NonZeroU32, time::Duration};

use policies::{model::WorkerModel, queue, ratio::Split};
use rayon::prelude::*;

use crate::{
    scenario::{Figures, Progress},
    sim::{self, Dispatch, RoleChange, Setup, Slo},
    workload::Workload,
};

pub use self::answer::{Answer, AtRate, Ceiling, Fixed};
use self::schedule::Schedule;

/// A fleet and what it is held to.
#[derive(Debug, Clone)]
pub struct Question {
    pub model: WorkerModel,
    pub fleet: Fleet,
    pub slo: Slo,
    pub routing: Routing,
    /// Schedules decide once a slot.
    pub slot: Duration,
    /// Times for which a worker may be away when its role changes, after it has finished what it had.
    pub dark: Vec<Duration>,
}

/// Workers, and what each of them consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    pub workers: u32,
    pub gpus_each: NonZeroU32,
}

/// How requests come to workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Routing {
    pub policy: policies::route::PolicyKind,
    pub dispatch: Dispatch,
}

/// Multiples of the rate at which the fixed splits are compared.
const RATES: [f64; 8] = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0];

/// Simulates everything that the answer needs.
pub fn answer(question: &Question, workload: &Workload, progress: Progress) -> Answer {
    let splits = Split::all(question.fleet.workers);
    let schedules = schedule::candidates(question, workload);
    let runs = splits.len() * RATES.len() + schedules.len() * question.dark.len();
    let bar = progress.bar(runs);
    let measure = |split, changes, workload: &Workload| {
        let figures = question.measure(split, changes, workload);
        bar.inc(1);
        figures
    };
    let rates: Vec<AtRate> = RATES
        .into_par_iter()
        .map(|rate| {
            let workload = workload.clone().accelerated(rate);
            let run = |split: &Split| measure(*split, Vec::new(), &workload);
            AtRate {
                rate,
                fixed: splits.par_iter().map(run).collect(),
            }
        })
        .collect();
    let ceilings: Vec<Ceiling> = question
        .dark
        .iter()
        .map(|dark| {
            let run = |schedule: &Schedule| {
                let figures = measure(schedule.start, schedule.changes(*dark), workload);
                (schedule.clone(), figures)
            };
            let tried = schedules.par_iter().map(run).collect();
            Ceiling::of(*dark, tried)
        })
        .collect();
    bar.finish_and_clear();
    Answer::new(question, workload, &splits, rates, ceilings)
}

impl Question {
    fn measure(&self, split: Split, changes: Vec<RoleChange>, workload: &Workload) -> Figures {
        let setup = Setup {
            prefill_policy: self.routing.policy,
            decode_policy: self.routing.policy,
            dispatch: self.routing.dispatch,
            queue_timeout: Some(queue::TIMEOUT),
            slo: self.slo,
            warm: true,
            changes,
            ..Setup::study(self.model, split.prefill, split.decode)
        };
        Figures::of(&sim::run(&setup, workload), &self.slo)
    }
}

#[cfg(test)]
mod tests;
