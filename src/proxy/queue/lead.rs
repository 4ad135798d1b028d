//! How long the first token takes from the dispatch on: what a request needs of its target when it is taken.
//!
//! The performance model says how that grows with what is before the request, the prefills that ended lately say how
//! many times as long this hardware takes, so that an unknown model or GPU is waited for as long as it needs.

use std::time::Duration;

use policies::model::PrefillModel;

/// Each of the last prefills weighs a sixteenth: a worker's pace is known after some dozen, and one that was slow to
/// start is forgotten as soon.
const WEIGHT: f64 = 1.0 / 16.0;

/// The model is for a large model on H200 pairs. Nothing that is served interactively is further from that than this,
/// up or down: what says so was a worker that hung.
const FURTHEST: f64 = 32.0;

#[derive(Debug)]
pub(super) struct Lead {
    model: PrefillModel,
    /// Measured durations in those of the model.
    pace: f64,
    /// The prompt that is asked for, the mean of the last.
    prompt_tokens: f64,
}

impl Lead {
    pub(super) const fn new(model: PrefillModel) -> Self {
        Self {
            model,
            pace: 1.0,
            prompt_tokens: 0.0,
        }
    }

    /// A request with such a prompt came.
    pub(super) fn asked_for(&mut self, prompt_tokens: u32) {
        self.prompt_tokens += (f64::from(prompt_tokens) - self.prompt_tokens) * WEIGHT;
    }

    /// For a prompt of the usual length, sent to a worker that has `before` tokens before it.
    pub(super) fn with_before(&self, before: u64) -> Duration {
        let prompt = self.prompt_tokens.round() as u64;
        let seconds = self.pace * self.modelled(before + prompt, prompt);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Seconds by the model for a prompt that is the last of `pending` tokens.
    pub(super) fn modelled(&self, pending: u64, prompt: u64) -> f64 {
        self.model.batch_seconds(pending) + self.model.transfer_seconds(prompt)
    }

    /// A prefill that was to take so many seconds by the model took `measured`.
    pub(super) fn took(&mut self, modelled: f64, measured: Duration) {
        let pace = measured.as_secs_f64() / modelled.max(1e-6);
        self.pace += (pace.clamp(1.0 / FURTHEST, FURTHEST) - self.pace) * WEIGHT;
    }
}

#[cfg(test)]
mod tests {
    use policies::model::WorkerModel;

    use super::*;

    #[test]
    fn the_lead_becomes_what_this_hardware_takes() {
        let mut lead = Lead::new(WorkerModel::default().prefill);
        for _ in 0..200 {
            lead.asked_for(2_048);
        }
        let modelled = lead.modelled(4_096, 2_048);
        let close = |lead: &Lead, seconds: f64| {
            (lead.with_before(2_048).as_secs_f64() - seconds).abs() < seconds / 100.0
        };
        assert!(close(&lead, modelled));
        for _ in 0..100 {
            lead.took(modelled, Duration::from_secs_f64(modelled * 3.0));
        }
        assert!(close(&lead, modelled * 3.0));
        lead.took(modelled, Duration::from_secs(300));
        assert!(lead.pace <= 3.0 + FURTHEST * WEIGHT, "a hang is no pace");
    }
}
