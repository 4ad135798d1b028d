//! The decode line: step time against the sequences in it.

use std::collections::VecDeque;

use super::WorkerCounters;
use crate::model::DecodeModel;

/// Sums over the steps between two looks, in seconds: of 1, b, t, b² and b·t.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecodeWindow([f64; 5]);

/// Steps on the prior's line, at each of two batches: less than a second of a worker's steps, and enough to give the
/// line its slope while the batch hardly varies.
const PRIOR_STEPS: f64 = 50.0;
const PRIOR_BATCHES: [f64; 2] = [4.0, 64.0];

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
    let made_up = PRIOR_STEPS * PRIOR_BATCHES.len() as f64;
    let seen: f64 = windows.iter().map(|window| window.0[0]).sum();
    made_up / (made_up + seen)
}

/// Seconds of an empty step, and for each sequence with the KV that it holds.
pub(super) fn line(
    windows: &VecDeque<DecodeWindow>,
    prior: &DecodeModel,
    kv_per_sequence: f64,
) -> (f64, f64) {
    let slope = prior.per_sequence + prior.per_kv_token * kv_per_sequence;
    let mut sums = [0.0; 5];
    let mut add = |terms: [f64; 5]| {
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += term;
        }
    };
    for batch in PRIOR_BATCHES {
        let step = prior.step_base + batch * slope;
        add([1.0, batch, step, batch * batch, batch * step].map(|term| term * PRIOR_STEPS));
    }
    for window in windows {
        add(window.0);
    }
    let [n, b, t, bb, bt] = sums;
    let slope = (n * bt - b * t) / (n * bb - b * b);
    ((t - slope * b) / n, slope)
}
