//! The decode line: step time against the sequences in it.

use std::collections::VecDeque;

use super::WorkerCounters;
use crate::model::DecodeModel;

/// Sums over the steps between two looks, in seconds: of 1, b, t, b² and b·t.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecodeWindow([f64; 5]);

/// Steps that the prior counts as: less than a second of a worker's.
const PRIOR_STEPS: f64 = 100.0;
/// How far from their mean the prior's batches are: enough to give the line its slope while the batch hardly varies.
const PRIOR_SPREAD: f64 = 30.0;

impl DecodeWindow {
    /// `None` where no step was done, and where the sums went back: the worker restarted, or the reading is an old one.
    pub(super) fn between(before: &WorkerCounters, now: &WorkerCounters) -> Option<Self> {
        let mut sums = [0.0; 5];
        for (place, sum) in sums.iter_mut().enumerate() {
            *sum = now.decode_moments[place] - before.decode_moments[place];
        }
        let [_, _, t, _, bt] = &mut sums;
        (*t, *bt) = (*t / 1e6, *bt / 1e6);
        let grew = sums.iter().all(|sum| sum.is_finite() && *sum > 0.0);
        grew.then_some(Self(sums))
    }
}

/// How much of the line is the prior's: 1 where no step was seen.
pub(super) fn share_of_prior(windows: &VecDeque<DecodeWindow>) -> f64 {
    let seen: f64 = windows.iter().map(|window| window.0[0]).sum();
    PRIOR_STEPS / (PRIOR_STEPS + seen)
}

/// Seconds of an empty step, and for each sequence with the KV that it holds.
pub(super) fn line(
    windows: &VecDeque<DecodeWindow>,
    prior: &DecodeModel,
    kv_per_sequence: f64,
) -> (f64, f64) {
    let mut sums = [0.0; 5];
    for window in windows {
        for (sum, term) in sums.iter_mut().zip(window.0) {
            *sum += term;
        }
    }
    let [n, b, t, bb, bt] = sums;
    // Around the means; of no step, nothing.
    let (bb, bt) = (bb - b * b / n.max(1.0), bt - b * t / n.max(1.0));
    let prior_slope = prior.per_sequence + prior.per_kv_token * kv_per_sequence;
    let held = PRIOR_STEPS * PRIOR_SPREAD * PRIOR_SPREAD;
    let slope = (bt + held * prior_slope) / (bb.max(0.0) + held);
    let base = (t - slope * b + PRIOR_STEPS * prior.step_base) / (n + PRIOR_STEPS);
    (base, slope)
}
