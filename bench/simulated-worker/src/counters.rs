//! What a worker counts: for its own reports (`/v1/loads`, `/metrics`) and for the tests that watch it.

use std::time::Duration;

/// What a worker did and has in hand, as one consistent reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that reached the engine. A batch of three counts three times, probes not at all.
    pub requests: u64,
    pub completed: u64,
    /// Ended by `/abort_request`, by the other half of the pair or by the client going away.
    pub aborted: u64,
    /// Of the aborted: those whose client went away.
    pub disconnected: u64,
    /// Ended by a timeout or an unreachable bootstrap server.
    pub failed: u64,
    /// Turned away before the engine: malformed, too long, without a room, or by a fault.
    pub refused: u64,
    /// In any queue or batch now.
    pub in_flight: usize,
    pub prompt_tokens: u64,
    pub generated_tokens: u64,
    /// Requests that met another live request in their room.
    pub room_collisions: u64,
    pub faults_injected: u64,
    pub role_switches: u64,
}

/// The cumulative counters of the engine, under its lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) requests: u64,
    pub(crate) completed: u64,
    pub(crate) aborted: u64,
    pub(crate) disconnected: u64,
    pub(crate) failed: u64,
    pub(crate) bootstrap_failed: u64,
    pub(crate) transfer_failed: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) generated_tokens: u64,
    pub(crate) room_collisions: u64,
    pub(crate) role_switches: u64,
    pub(crate) prefill_tokens: u64,
    pub(crate) prefill_busy: Duration,
    pub(crate) decode: DecodeMoments,
    /// Tokens a second in the last decode step.
    pub(crate) gen_throughput: f64,
}

/// Sums over decode steps from which a reader fits step time against batch size: with b requests and t microseconds
/// a step, the sums of 1, b, t, b², b·t and of the tokens generated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DecodeMoments([f64; 6]);

impl DecodeMoments {
    pub(crate) fn record(&mut self, batch: usize, step: Duration) {
        let (b, t) = (batch as f64, step.as_micros() as f64);
        if b <= 0.0 || t <= 0.0 {
            return;
        }
        for (sum, term) in self.0.iter_mut().zip([1.0, b, t, b * b, b * t, b]) {
            *sum += term;
        }
    }

    /// None before the first step, as in SGLang's report.
    pub(crate) fn sums(&self) -> Option<[f64; 6]> {
        (self.0[0] > 0.0).then_some(self.0)
    }
}

/// How many requests wait or run where, now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Queues {
    pub(crate) prefill_bootstrap: usize,
    pub(crate) waiting: usize,
    pub(crate) prefill_inflight: usize,
    pub(crate) decode_prealloc: usize,
    pub(crate) decode_transfer: usize,
    pub(crate) running: usize,
    pub(crate) waiting_tokens: u64,
    pub(crate) used_tokens: u64,
    pub(crate) transferring_tokens: u64,
}

impl Queues {
    /// What `num_waiting_reqs` sums: everything that doesn't run, except prompts whose KV is on its way out.
    pub(crate) const fn not_running(&self) -> usize {
        self.waiting + self.prefill_bootstrap + self.decode_prealloc + self.decode_transfer
    }

    pub(crate) const fn total(&self) -> usize {
        self.not_running() + self.prefill_inflight + self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_fit_the_line_they_were_made_from() {
        let mut moments = DecodeMoments::default();
        for batch in [1, 8, 64] {
            moments.record(batch, Duration::from_micros(6000 + 100 * batch as u64));
        }
        let [n, b, t, bb, bt, _] = moments.sums().unwrap();
        let slope = (n * bt - b * t) / (n * bb - b * b);
        assert!((slope - 100.0).abs() < 1e-6, "{slope}");
    }

    #[test]
    fn there_are_no_moments_before_the_first_step() {
        assert_eq!(DecodeMoments::default().sums(), None);
    }
}
