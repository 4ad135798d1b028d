//! What workers can do, estimated from what they count.
//!
//! SGLang's workers report sums that only grow: prompt tokens computed and the time that took, and moments of decode
//! steps. Their differences between two looks are exact, free of idle time and of prefix hits. What one look adds is
//! kept as a window, a few minutes of windows are kept, and a line is drawn through them; a small number of made-up
//! observations on the prior's line hold it where the workload does not vary enough to show it.
//!
//! Of what the counters don't show, the prior's value stays: the cost of cached tokens and of transfers, limits, and
//! what a token of KV costs a step. What arrivals do to steps is in the steps, so it is not counted again.

mod decode;
mod prefill;

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use self::decode::DecodeWindow;
use self::prefill::PrefillWindow;
use crate::model::WorkerModel;
use crate::worker::{Role, WorkerId};

/// A worker's sums since it started, as `/v1/loads` has them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WorkerCounters {
    pub worker: WorkerId,
    pub role: Role,
    /// Prompt tokens computed, without those that a cache had.
    pub prefill_tokens: u64,
    pub prefill_busy_us: u64,
    /// With b sequences and t microseconds a step: sums of 1, b, t, b², b·t, and of the tokens generated.
    pub decode_moments: [f64; 6],
}

/// Windows kept of each role. Looked at once a second, two busy workers fill them in four minutes.
const WINDOWS: usize = 512;

/// KV tokens of a sequence where nothing better is known; with it, the prior's time for KV is taken off the slope.
const KV_PER_SEQUENCE: f64 = 1_024.0;

/// Estimated coefficients are believed within this factor of the prior: a worker that differs by more is another
/// deployment, for which there should be another model.
const BELIEVED: f64 = 10.0;

/// Estimates how long workers take.
#[derive(Debug, Clone)]
pub struct CapacityEstimator {
    prior: WorkerModel,
    windows: usize,
    kv_per_sequence: f64,
    last: HashMap<WorkerId, WorkerCounters>,
    prefill: VecDeque<PrefillWindow>,
    decode: VecDeque<DecodeWindow>,
}

impl CapacityEstimator {
    /// Without observations, the model is `prior`.
    pub fn new(prior: WorkerModel) -> Self {
        Self::with_memory(prior, WINDOWS)
    }

    /// The same, with the last `windows` windows of each role.
    pub fn with_memory(prior: WorkerModel, windows: usize) -> Self {
        Self {
            prior,
            windows: windows.max(1),
            kv_per_sequence: KV_PER_SEQUENCE,
            last: HashMap::new(),
            prefill: VecDeque::new(),
            decode: VecDeque::new(),
        }
    }

    /// How many tokens of KV the running sequences hold on average.
    pub fn sequences_hold(&mut self, kv_tokens: f64) {
        if kv_tokens.is_finite() && kv_tokens >= 0.0 {
            self.kv_per_sequence = kv_tokens;
        }
    }

    /// Takes in one look at the fleet. Workers that are not in it are forgotten, not what they showed.
    pub fn observe(&mut self, fleet: &[WorkerCounters]) {
        self.last
            .retain(|known, _| fleet.iter().any(|worker| worker.worker == *known));
        for now in fleet {
            if let Some(before) = self.last.insert(now.worker, *now) {
                self.take_in(&before, now);
            }
        }
    }

    fn take_in(&mut self, before: &WorkerCounters, now: &WorkerCounters) {
        // Which role the work in between was done in is not known.
        if before.role != now.role {
            return;
        }
        let (prefills, decodes) = match now.role {
            Role::Prefill => (true, false),
            Role::Decode => (false, true),
            Role::Regular => (true, true),
        };
        if prefills && let Some(window) = PrefillWindow::between(before, now) {
            keep(&mut self.prefill, window, self.windows);
        }
        if decodes && let Some(window) = DecodeWindow::between(before, now) {
            keep(&mut self.decode, window, self.windows);
        }
    }

    /// The prior with the prefill and the decode line as they were seen.
    pub fn model(&self) -> WorkerModel {
        let mut model = self.prior;
        let (prior, prefill) = (&self.prior.prefill, &mut model.prefill);
        let (base, per_token) = prefill::line(&self.prefill, prior);
        prefill.batch_base = believed(base, prior.batch_base);
        prefill.per_token = believed(per_token, prior.per_token);
        let (prior, decode) = (&self.prior.decode, &mut model.decode);
        let (base, slope) = decode::line(&self.decode, prior, self.kv_per_sequence);
        decode.step_base = believed(base, prior.step_base);
        let reading = prior.per_kv_token * self.kv_per_sequence;
        decode.per_sequence = believed(slope - reading, prior.per_sequence);
        // The steps that were seen are as long as they are with what arrivals did to them.
        decode.arrival_per_token *= decode::share_of_prior(&self.decode);
        model
    }

    /// Windows of prefill and of decode that the model is drawn from.
    pub fn windows(&self) -> (usize, usize) {
        (self.prefill.len(), self.decode.len())
    }
}

fn keep<T>(windows: &mut VecDeque<T>, window: T, most: usize) {
    if windows.len() == most {
        windows.pop_front();
    }
    windows.push_back(window);
}

fn believed(found: f64, prior: f64) -> f64 {
    if found.is_finite() {
        found.clamp(prior / BELIEVED, prior * BELIEVED)
    } else {
        prior
    }
}

#[cfg(test)]
mod tests;
