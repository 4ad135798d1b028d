//! All arms of all cells with all seeds, on all cores.
//!
//! A job is the cells that share their requests, with one seed: the requests are made once for them. What never moves is
//! the same whatever a move would cost, so it runs once for them, and it never drains, so that it is the same with
//! migration. Runs share nothing: the result doesn't depend on the order in which they are made, which is drawn so that
//! long ones are spread over the whole and the time that is left can be told.

mod job;

use std::fmt;

use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    arms::{Measures, Planning},
    capacity::{Capacities, Kind},
    engines::Fleet,
    grid::{Cell, Grid},
    oracle::Schedule,
    store::{Store, StoreError},
    timeline::Timeline,
};
use crate::{
    scenario::{Figures, Progress},
    workload::WorkloadError,
};
use job::Job;

/// What one arm did with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub figures: Figures,
    /// What the oracle found.
    pub schedule: Option<Schedule>,
}

/// A cell, and what its arms did.
#[derive(Debug, Clone)]
pub struct Row {
    pub cell: Cell,
    /// By arm, as in the cell, and then by seed, as in the grid; some arms ran with the first seeds only.
    pub runs: Vec<Vec<Run>>,
}

/// What came of a grid.
#[derive(Debug, Clone)]
pub struct Done {
    pub rows: Vec<Row>,
    /// Of one cell, where the grid has it: each arm's run with the first seed.
    pub timelines: Vec<Timeline>,
}

/// Why there are no results.
#[derive(Debug)]
pub enum RunError {
    Workload(WorkloadError),
    Store(StoreError),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}

/// The order of jobs is drawn from it.
const ORDER: u64 = 6;

/// An oracle takes about so many runs.
const ORACLE_RUNS: u64 = 10;

pub fn run(grid: &Grid, store: &Store, progress: Progress) -> Result<Done, RunError> {
    let capacities = Capacities::find(&wanted(grid), store).map_err(RunError::Store)?;
    let groups: Vec<_> = grid.cells.chunk_by(Cell::has_the_requests_of).collect();
    let seeds = || grid.seeds.iter().enumerate();
    let mut jobs: Vec<_> = groups
        .iter()
        .enumerate()
        .flat_map(|(group, cells)| {
            seeds().map(move |(number, seed)| (group, *cells, number, *seed))
        })
        .collect();
    fastrand::Rng::with_seed(ORDER).shuffle(&mut jobs);
    let bar = progress.bar(jobs.iter().map(|job| steps(job.1, job.2)).sum::<u64>() as usize);
    let mut done = jobs
        .into_par_iter()
        .with_max_len(1)
        .map(|(group, cells, number, seed)| {
            let mut job = Job::new(cells, number, seed, &capacities, store);
            Ok((group, number, results(&mut job, &bar)?))
        })
        .collect::<Result<Vec<_>, RunError>>()?;
    bar.finish_and_clear();
    done.sort_unstable_by_key(|(group, number, _)| (*group, *number));
    let done: Vec<_> = done.into_iter().map(|(.., runs)| runs).collect();
    let rows = by_cell(grid, &groups, &done);
    let timelines = timelines(grid, &rows, &capacities, store)?;
    Ok(Done { rows, timelines })
}

/// The kinds whose capacities the loads are given in.
fn wanted(grid: &Grid) -> Vec<(Fleet, Kind)> {
    let mut wanted = Vec::new();
    for cell in &grid.cells {
        for kind in cell.traffic.kinds() {
            if !wanted.contains(&(cell.fleet, kind)) {
                wanted.push((cell.fleet, kind));
            }
        }
    }
    wanted
}

/// Runs that the cells take with the seed of this number.
fn steps(cells: &[Cell], number: usize) -> u64 {
    let mut runs = Vec::new();
    for cell in cells {
        let arms = cell.arms.iter().filter(|arm| cell.runs_with(arm, number));
        for run in arms.map(|arm| arm.plainest(cell.dark)) {
            if !runs.contains(&run) {
                runs.push(run);
            }
        }
    }
    runs.iter().map(|(arm, _)| weight(arm.planning)).sum()
}

fn weight(planning: Planning) -> u64 {
    if planning == Planning::Oracle {
        ORACLE_RUNS
    } else {
        1
    }
}

/// By cell, and then by arm; `None` where an arm doesn't run with this seed.
fn results(job: &mut Job, bar: &ProgressBar) -> Result<Vec<Vec<Option<Run>>>, RunError> {
    let mut of_cells = Vec::new();
    for cell in job.cells {
        let mut of_arms = Vec::new();
        for arm in &cell.arms {
            let run = if cell.runs_with(arm, job.number) {
                let (run, is_new) = job.run(cell, arm)?;
                bar.inc(if is_new { weight(arm.planning) } else { 0 });
                Some(run)
            } else {
                None
            };
            of_arms.push(run);
        }
        of_cells.push(of_arms);
    }
    Ok(of_cells)
}

/// From groups and seeds to cells and arms.
fn by_cell(grid: &Grid, groups: &[&[Cell]], done: &[Vec<Vec<Option<Run>>>]) -> Vec<Row> {
    let by_group = done.chunks(grid.seeds.len().max(1));
    let mut rows = Vec::new();
    for (cells, seeds) in groups.iter().zip(by_group) {
        for (place, cell) in cells.iter().enumerate() {
            let of_arm = |arm: usize| {
                let runs = seeds.iter().filter_map(|seed| seed[place][arm].clone());
                runs.collect()
            };
            rows.push(Row {
                cell: cell.clone(),
                runs: (0..cell.arms.len()).map(of_arm).collect(),
            });
        }
    }
    rows
}

/// How the arms of the cell went that is looked at closely.
fn timelines(
    grid: &Grid,
    rows: &[Row],
    capacities: &Capacities,
    store: &Store,
) -> Result<Vec<Timeline>, RunError> {
    let shown = rows.iter().find(|row| row.cell.is_looked_at_closely());
    let (Some(row), Some(seed)) = (shown, grid.seeds.first()) else {
        return Ok(Vec::new());
    };
    let cell = &row.cell;
    let job = Job::new(std::slice::from_ref(cell), 0, *seed, capacities, store);
    let arms = cell.arms.iter().zip(&row.runs);
    let arms = arms.filter(|(arm, _)| arm.measures == Measures::EVERY);
    arms.filter_map(|(arm, runs)| Some((arm, runs.first()?)))
        .map(|(arm, run)| {
            let schedule = run.schedule.as_ref();
            let (start, outcome) = job.played(cell, arm, schedule)?;
            Ok(Timeline::new(cell, arm, *seed, start, &outcome))
        })
        .collect()
}
