//! All arms of all cells with all seeds, on all cores.
//!
//! A seed's requests are made once for the cells that share them. A fixed split is the same whatever a move would cost, so
//! it runs once for them, and it never drains, so that it is the same with migration. Runs share nothing: the result doesn't depend on the order in which they end.

use std::time::Duration;

use indicatif::ProgressBar;
use policies::ratio::Split;
use rayon::prelude::*;

use super::{
    arms::{Arm, Measures, SLO},
    capacity::Capacities,
    grid::{Cell, Grid},
    timeline::Timeline,
};
use crate::{
    scenario::{Figures, Progress},
    sim,
    workload::{Workload, WorkloadError},
};

/// A cell, and what its arms did.
#[derive(Debug, Clone)]
pub struct Row {
    pub cell: Cell,
    /// By arm, as in the cell, and then by seed, as in the grid.
    pub figures: Vec<Vec<Figures>>,
}

/// What came of a grid.
#[derive(Debug, Clone)]
pub struct Done {
    pub rows: Vec<Row>,
    /// Of one cell, where the grid has it: each arm's run with the first seed.
    pub timelines: Vec<Timeline>,
}

pub fn run(grid: &Grid, progress: Progress) -> Result<Done, WorkloadError> {
    let groups: Vec<_> = grid.cells.chunk_by(Cell::has_the_requests_of).collect();
    let mut wanted = Vec::new();
    for cell in &grid.cells {
        for kind in cell.traffic.kinds() {
            if !wanted.contains(&(cell.engine, kind)) {
                wanted.push((cell.engine, kind));
            }
        }
    }
    let capacities = Capacities::find(&wanted);
    let runs: usize = groups.iter().map(|cells| runs_of(cells)).sum();
    let bar = progress.bar(runs * grid.seeds.len());
    let jobs: Vec<_> = groups
        .iter()
        .flat_map(|cells| grid.seeds.iter().map(move |seed| (*cells, *seed)))
        .collect();
    let done = jobs
        .into_par_iter()
        .map(|(cells, seed)| {
            let Cell {
                engine,
                traffic,
                load,
                ..
            } = &cells[0];
            let work = traffic.make(*engine, *load, seed, &capacities)?;
            Ok(run_group(cells, seed, &work, &bar))
        })
        .collect::<Result<Vec<_>, WorkloadError>>()?;
    bar.finish_and_clear();
    Ok(Done {
        rows: by_cell(grid, &groups, &done),
        timelines: timelines(grid, &capacities)?,
    })
}

fn runs_of(cells: &[Cell]) -> usize {
    let arms = &cells[0].arms;
    let moving = arms.iter().filter(|arm| !arm.is_fixed()).count();
    let fixed = arms.iter().enumerate();
    let fixed = fixed.filter(|(place, arm)| arm.is_fixed() && twin(arms, arm) == Some(*place));
    fixed.count() + moving * cells.len()
}

/// The first of `arms` that does the same as `arm`.
fn twin(arms: &[Arm], arm: &Arm) -> Option<usize> {
    arms.iter().position(|other| {
        let same = arm.is_fixed() || other.measures.migrate == arm.measures.migrate;
        same && other.planning == arm.planning
            && other.measures.fresh_first == arm.measures.fresh_first
    })
}

/// What one seed gives: by cell, and then by arm.
fn run_group(cells: &[Cell], seed: u64, work: &Workload, bar: &ProgressBar) -> Vec<Vec<Figures>> {
    let model = cells[0].engine.model();
    let run = |arm: &Arm, dark: Duration| {
        let outcome = sim::run(&arm.setup(model, dark, seed), work);
        bar.inc(1);
        Figures::of(&outcome, &SLO)
    };
    let mut done: Vec<Vec<Figures>> = Vec::new();
    for cell in cells {
        let mut figures: Vec<Figures> = Vec::new();
        for arm in &cell.arms {
            let place = twin(&cell.arms, arm).expect("an arm is its own twin");
            let known = match done.first() {
                Some(first) if arm.is_fixed() => first.get(place),
                Some(_) | None => figures.get(place),
            };
            figures.push(known.copied().unwrap_or_else(|| run(arm, cell.dark)));
        }
        done.push(figures);
    }
    done
}

/// From groups and seeds to cells and arms.
fn by_cell(grid: &Grid, groups: &[&[Cell]], done: &[Vec<Vec<Figures>>]) -> Vec<Row> {
    let by_group = done.chunks(grid.seeds.len().max(1));
    let mut rows = Vec::new();
    for (cells, seeds) in groups.iter().zip(by_group) {
        for (place, cell) in cells.iter().enumerate() {
            let of_arm = |arm: usize| seeds.iter().map(|seed| seed[place][arm]).collect();
            rows.push(Row {
                cell: cell.clone(),
                figures: (0..cell.arms.len()).map(of_arm).collect(),
            });
        }
    }
    rows
}

/// How the arms of the cell went that is looked at closely.
fn timelines(grid: &Grid, capacities: &Capacities) -> Result<Vec<Timeline>, WorkloadError> {
    let shown = grid.cells.iter().find(|cell| cell.is_looked_at_closely());
    let (Some(cell), Some(seed)) = (shown, grid.seeds.first()) else {
        return Ok(Vec::new());
    };
    let work = cell
        .traffic
        .make(cell.engine, cell.load, *seed, capacities)?;
    let arms = cell.arms.iter();
    let arms = arms.filter(|arm| arm.measures == Measures::BOTH);
    let timeline = |arm: &Arm| {
        let setup = arm.setup(cell.engine.model(), cell.dark, *seed);
        let start = Split {
            prefill: setup.prefill,
            decode: setup.decode,
        };
        Timeline::new(cell, arm, *seed, start, &sim::run(&setup, &work))
    };
    Ok(arms.map(timeline).collect())
}
