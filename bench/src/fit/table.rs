//! A fit to a table of benchmark runs: the parameters with which simulated runs come closest to the measured ones.
//!
//! Seven parameters of a worker are estimated, and one of the study's set-up. The rest can't be told from such a table:
//! the KV pool never fills, the largest batch is never reached, the time per KV token is nothing beside the time per
//! sequence at 2k tokens, and a token found in the prefix cache costs nothing beside its batch.

use indicatif::ProgressBar;
use policies::model::{Parameter, WorkerModel};
use rayon::prelude::*;

use super::{rounded, search, to_digits};
use crate::study::{Assumptions, Cell, Figures, Report, StudyModel, simulate};

/// What a table says of a worker.
pub const FITTED: [Parameter; 7] = [
    Parameter::BatchBase,
    Parameter::PerToken,
    Parameter::TransferBase,
    Parameter::TransferPerToken,
    Parameter::StepBase,
    Parameter::PerSequence,
    Parameter::ArrivalPerToken,
];

/// Runs of each cell for one cost. One draw of the outputs decides the median TTFT of a cell by some per cent.
const SEEDS: u64 = 2;
/// Seeds of the fit begin here: those of the reports are others.
const FIRST_SEED: u64 = 1_000;

/// Seconds: a simplex tries a minute for a batch, and more.
const LONGEST: f64 = 60.0;

/// Relative errors that weigh as much as each other; beyond them an error weighs by its size and no more by its square,
/// so that no single cell decides.
const THROUGHPUT_SCALE: f64 = 0.05;
const ITL_SCALE: f64 = 0.04;
const TTFT_SCALE: f64 = 0.15;

/// A fit and how good it is.
#[derive(Debug, Clone)]
pub struct TableFit {
    pub model: StudyModel,
    pub evaluations: u64,
    /// On the cells that it was fitted to.
    pub in_sample: Report,
}

/// Fits to `cells`, beginning at `start`.
pub fn fit(
    cells: &[Cell],
    start: &StudyModel,
    assumptions: Assumptions,
    bar: &ProgressBar,
) -> TableFit {
    let point = to_point(start);
    let cost = |point: &[f64]| {
        bar.inc(1);
        cost(cells, &from_point(point, start), assumptions)
    };
    let found = search::least(point, cost);
    let model = from_point(&found.point, start);
    let model = StudyModel {
        worker: rounded(model.worker),
        stall: to_digits(model.stall),
    };
    TableFit {
        model,
        evaluations: found.evaluations,
        in_sample: Report::simulate(cells, &model, assumptions, super::report::SEEDS),
    }
}

/// Logarithms: parameters differ by orders of magnitude, and none is negative.
fn to_point(model: &StudyModel) -> Vec<f64> {
    let values = FITTED.iter().map(|parameter| parameter.get(&model.worker));
    let all = values.chain([model.stall]);
    all.map(|value| value.max(1e-7).ln()).collect()
}

fn from_point(point: &[f64], start: &StudyModel) -> StudyModel {
    let (stall, worker) = point.split_last().expect("a point has the stall last");
    let mut model = *start;
    for (parameter, log) in FITTED.iter().zip(worker) {
        parameter.set(&mut model.worker, log.exp().min(LONGEST));
    }
    model.stall = stall.exp().min(1.0);
    model
}

fn cost(cells: &[Cell], model: &StudyModel, assumptions: Assumptions) -> f64 {
    let costs: Vec<f64> = cells
        .par_iter()
        .flat_map(|cell| (0..SEEDS).into_par_iter().map(move |seed| (cell, seed)))
        .map(|(cell, seed)| {
            let simulated = simulate(cell, model, assumptions, FIRST_SEED + seed);
            cost_of(cell, &simulated)
        })
        .collect();
    // Summed in order: the same for every number of threads.
    costs.iter().sum::<f64>() / costs.len().max(1) as f64
}

fn cost_of(cell: &Cell, simulated: &Figures) -> f64 {
    let measured = Figures::measured(cell);
    let off = |simulated: f64, measured: f64, scale: f64| {
        let error = (simulated.max(f64::MIN_POSITIVE) / measured).ln() / scale;
        (1.0 + error * error).sqrt() - 1.0
    };
    let throughput = off(
        simulated.requests_per_second,
        measured.requests_per_second,
        THROUGHPUT_SCALE,
    );
    let itl = off(simulated.mean_itl_ms, measured.mean_itl_ms, ITL_SCALE);
    let ttft = off(
        simulated.median_ttft_ms,
        measured.median_ttft_ms,
        TTFT_SCALE,
    );
    let ttft = if has_plain_ttft(cell) { ttft } else { 0.0 };
    throughput + itl + ttft
}

/// Whether the median TTFT of a run is that of its requests, and not of a stall at its start: with 128 clients on prompts
/// of 128 tokens, which take no time, the measured median of fleets that had not served before is half a second.
pub fn has_plain_ttft(cell: &Cell) -> bool {
    cell.prompt > 128 || cell.concurrency < 128 || cell.prefill < 2
}

/// The start of a fit to the shipped table, and of any other that names no model.
pub fn start(mut worker: WorkerModel) -> StudyModel {
    // A search over logarithms never leaves nothing.
    if worker.decode.arrival_per_token <= 0.0 {
        worker.decode.arrival_per_token = 1.5e-6;
    }
    StudyModel::with_fitted_stall(worker)
}
