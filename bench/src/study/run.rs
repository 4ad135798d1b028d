//! The study's runs in the simulator: closed loop, round robin, outputs that stop early or run to their cap.

use policies::model::WorkerModel;
use rand::seq::SliceRandom;

use super::{Assumptions, Cell, Conditions};
use crate::{
    sim::{self, Outcome, Setup},
    workload::{
        Job, Workload,
        dice::{Use, dice},
    },
};

/// Outputs that don't run to the cap stop at about so many tokens: the study's mean outputs are then a third to the
/// cap with caps of 128, 2,048 and 32,768 alike.
const STOP: u64 = 30;

/// What the study's runs are simulated with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StudyModel {
    pub worker: WorkerModel,
    /// Seconds by which the first wave is held up, for each client and each prefill worker. It is a matter of the
    /// study's clients and fleets and not of a worker, so no model file has it.
    pub stall: f64,
}

impl StudyModel {
    /// `stall` as it was fitted with the shipped model.
    pub fn with_fitted_stall(worker: WorkerModel) -> Self {
        Self {
            worker,
            stall: 0.024_83,
        }
    }
}

/// A cell's figures, measured or simulated.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Figures {
    pub requests_per_second: f64,
    pub mean_ttft_ms: f64,
    pub median_ttft_ms: f64,
    pub mean_itl_ms: f64,
}

impl Figures {
    pub fn measured(cell: &Cell) -> Self {
        Self {
            requests_per_second: cell.request_throughput,
            mean_ttft_ms: cell.mean_ttft_ms,
            median_ttft_ms: cell.median_ttft_ms,
            mean_itl_ms: cell.mean_itl_ms,
        }
    }

    fn simulated(outcome: &Outcome) -> Self {
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        Self {
            requests_per_second: outcome.requests_per_second(),
            mean_ttft_ms: ms(outcome.mean_ttft()),
            median_ttft_ms: ms(outcome.ttft_quantile(0.5)),
            mean_itl_ms: ms(outcome.mean_itl()),
        }
    }
}

/// Runs one cell. The seed decides which of the outputs are the long ones.
pub fn simulate(cell: &Cell, model: &StudyModel, assumptions: Assumptions, seed: u64) -> Figures {
    let conditions = Conditions::of(cell, assumptions);
    let mut worker = model.worker;
    // A worker's share of the first wave waits for its first batch, so its size cancels the number of workers: what is
    // left is one stall for the fleet, which all clients share.
    worker.prefill.warm_up_per_request = model.stall * f64::from(cell.prefill);
    let setup = Setup {
        warm: !conditions.stalls,
        ..Setup::study(worker, cell.prefill, cell.decode)
    };
    let workload = Workload::Closed {
        jobs: jobs(cell, conditions.cached, seed),
        concurrency: cell.concurrency,
    };
    Figures::simulated(&sim::run(&setup, &workload))
}

fn jobs(cell: &Cell, cached: bool, seed: u64) -> Vec<Job> {
    let prompt_tokens = (cell.total_input_tokens / u64::from(cell.requests)) as u32;
    let mut outputs = outputs(cell);
    outputs.shuffle(&mut dice(seed, Use::Lengths));
    let job = |output_tokens| Job {
        prompt_tokens,
        cached_tokens: if cached { prompt_tokens - 1 } else { 0 },
        output_tokens,
        class: 0,
    };
    outputs.into_iter().map(job).collect()
}

/// As many to the cap as it takes, the others at about [`STOP`], so that their sum is the measured one.
fn outputs(cell: &Cell) -> Vec<u32> {
    let (requests, cap) = (u64::from(cell.requests), u64::from(cell.cap));
    let total = cell.total_output_tokens;
    let stop = STOP.min(total / requests);
    let long = (total - requests * stop) / (cap - stop).max(1);
    let short = requests - long;
    let left = total - long * cap;
    let share = |place: u64| left * (place + 1) / short - left * place / short;
    let shorts = (0..short).map(share);
    std::iter::repeat_n(cap, long as usize)
        .chain(shorts)
        .map(|tokens| tokens as u32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::table;

    #[test]
    fn outputs_add_up_to_the_measured_ones_within_their_cap() {
        for cell in table::shipped() {
            let outputs = outputs(&cell);
            let sum: u64 = outputs.iter().map(|tokens| u64::from(*tokens)).sum();
            assert_eq!((sum, outputs.len()), (cell.total_output_tokens, 500));
            assert!(outputs.iter().all(|tokens| (1..=cell.cap).contains(tokens)));
            let long = outputs.iter().filter(|tokens| **tokens == cell.cap).count();
            assert!((0.25..0.45).contains(&(long as f64 / 500.0)), "{long}");
        }
    }

    #[test]
    fn outputs_that_all_run_to_the_cap_or_hardly_start_add_up_too() {
        let mut cell = table::shipped().swap_remove(0);
        for each in [1, 20, u64::from(cell.cap)] {
            cell.total_output_tokens = each * 500;
            assert!(
                outputs(&cell)
                    .iter()
                    .all(|tokens| u64::from(*tokens) == each)
            );
        }
    }
}
