//! One seed's runs of the cells that share their requests.

use std::{cell::OnceCell, collections::HashMap, time::Duration};

use policies::ratio::Split;

use super::{Run, RunError};
use crate::{
    experiment::{
        arms::{Arm, Planning},
        capacity::Capacities,
        grid::Cell,
        oracle::{self, Question, Schedule, Trial},
        store::Store,
    },
    sim::{self, Outcome, Setup},
    workload::Workload,
};

pub(super) struct Job<'a> {
    pub(super) cells: &'a [Cell],
    /// Which of the seeds it has.
    pub(super) number: usize,
    seed: u64,
    capacities: &'a Capacities,
    store: &'a Store,
    /// Made when it is first needed: an experiment that goes on where it was may need it not at all.
    work: OnceCell<Workload>,
    /// What the traffic depends on.
    traffic: OnceCell<String>,
    /// By their inputs.
    runs: HashMap<String, Run>,
    trials: HashMap<String, Trial>,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        cells: &'a [Cell],
        number: usize,
        seed: u64,
        capacities: &'a Capacities,
        store: &'a Store,
    ) -> Self {
        Self {
            cells,
            number,
            seed,
            capacities,
            store,
            work: OnceCell::new(),
            traffic: OnceCell::new(),
            runs: HashMap::new(),
            trials: HashMap::new(),
        }
    }

    /// What `arm` did in `cell`, and whether that was not known in this job before.
    pub(super) fn run(&mut self, cell: &Cell, arm: &Arm) -> Result<(Run, bool), RunError> {
        let inputs = self.inputs(cell, arm);
        if let Some(known) = self.runs.get(&inputs) {
            return Ok((known.clone(), false));
        }
        let run = if let Some(kept) = self.store.get::<Run>(&inputs) {
            kept
        } else {
            let run = self.made(cell, arm)?;
            self.store.put(&inputs, &run).map_err(RunError::Store)?;
            run
        };
        self.runs.insert(inputs, run.clone());
        Ok((run, true))
    }

    fn made(&mut self, cell: &Cell, arm: &Arm) -> Result<Run, RunError> {
        if arm.planning == Planning::Oracle {
            let found = self.oracle(cell, arm)?;
            Ok(Run {
                figures: found.figures,
                schedule: Some(found.schedule),
            })
        } else {
            Ok(Run {
                figures: self.trial(cell, arm)?.figures,
                schedule: None,
            })
        }
    }

    fn oracle(&mut self, cell: &Cell, oracle: &Arm) -> Result<Trial, RunError> {
        let mut known = Vec::new();
        for arm in cell.arms.iter().filter(|arm| oracle::copies(oracle, arm)) {
            known.push(self.trial(cell, arm)?);
        }
        let setup = self.setup(cell, oracle, cell.dark);
        let question = Question::new(&setup, cell.dark, self.work()?);
        Ok(oracle::find(&question, known))
    }

    /// The run of an arm that is no oracle, closely enough to learn from.
    fn trial(&mut self, cell: &Cell, arm: &Arm) -> Result<Trial, RunError> {
        let inputs = self.inputs(cell, arm);
        if let Some(known) = self.trials.get(&inputs) {
            return Ok(known.clone());
        }
        let (start, outcome) = self.played(cell, arm, None)?;
        let trial = Trial::seen(start, &outcome, &cell.fleet.slo);
        self.trials.insert(inputs, trial.clone());
        Ok(trial)
    }

    /// An arm's run in full, and the split that it began with; the oracle's by its schedule. Where workers do both all
    /// of them are in either role.
    pub(super) fn played(
        &self,
        cell: &Cell,
        arm: &Arm,
        schedule: Option<&Schedule>,
    ) -> Result<(Split, Outcome), RunError> {
        let (arm, dark) = arm.plainest(cell.dark);
        let mut setup = self.setup(cell, &arm, dark);
        let work = self.work()?;
        if let Some(schedule) = schedule {
            setup = Question::new(&setup, dark, work).playing(schedule);
        }
        let start = Split {
            prefill: setup.prefill + setup.regular,
            decode: setup.decode + setup.regular,
        };
        Ok((start, sim::run(&setup, work)))
    }

    fn setup(&self, cell: &Cell, arm: &Arm, dark: Duration) -> Setup {
        Setup {
            failures: cell.traffic.failures(self.seed, cell.fleet.workers),
            ..arm.setup(&cell.fleet, dark, self.seed)
        }
    }

    fn work(&self) -> Result<&Workload, RunError> {
        if let Some(made) = self.work.get() {
            return Ok(made);
        }
        let cell = &self.cells[0];
        let made = cell
            .traffic
            .make(&cell.fleet, cell.load, self.seed, self.capacities)
            .map_err(RunError::Workload)?;
        Ok(self.work.get_or_init(|| made))
    }

    /// Everything that a run depends on but the program.
    fn inputs(&self, cell: &Cell, arm: &Arm) -> String {
        let (arm, dark) = arm.plainest(cell.dark);
        let traffic = self.traffic.get_or_init(|| cell.traffic.inputs());
        let mut inputs = format!(
            "{arm:?} {dark:?} away, {:?}, {traffic}, load {:?}, seed {}",
            cell.fleet, cell.load, self.seed
        );
        if arm.planning == Planning::Oracle {
            // It begins with what the others did.
            let others = cell.arms.iter().filter(|other| oracle::copies(&arm, other));
            inputs.extend(others.map(|other| format!(", after {}", other.name())));
        }
        inputs
    }
}
