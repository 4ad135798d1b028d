//! What a worker counts: for its own reports (`/v1/loads`, `/metrics`) and for the tests that watch it.

use std::time::Duration;
use tokio::time::Instant;

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
    /// Requests that were put back from a decode batch, each time.
    pub retractions: u64,
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
    pub(crate) retractions: u64,
    /// Prompt tokens that were computed, and those that a cache saved.
    pub(crate) prefill_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) prefill_busy: Duration,
    /// Share of the last batch's prompt tokens that the cache had.
    pub(crate) cache_hit_rate: f64,
    /// The last KV that was sent.
    pub(crate) transfer: Transfer,
    pub(crate) decode: DecodeMoments,
    pub(crate) throughput: Throughput,
}

impl Counters {
    pub(crate) fn count_prefill(&mut self, uncached: u64, cached: u64, took: Duration) {
        self.prefill_tokens += uncached;
        self.cached_tokens += cached;
        self.prefill_busy += took;
        self.cache_hit_rate = cached as f64 / (uncached + cached).max(1) as f64;
    }
}

/// KV that was sent: how much, and how long after it was computed it had arrived.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Transfer {
    pub(crate) tokens: u64,
    pub(crate) took: Duration,
}

/// Bytes of KV that a token takes: keys and values of 36 layers with 8 heads of 64 numbers, two bytes each, which is
/// gpt-oss-120b, the model that the default timing was measured on.
const KV_BYTES_PER_TOKEN: f64 = 2.0 * 36.0 * 8.0 * 64.0 * 2.0;

impl Transfer {
    pub(crate) fn latency_ms(&self) -> f64 {
        self.took.as_secs_f64() * 1e3
    }

    /// GiB a second, as SGLang counts them; 0 where nothing took any time.
    pub(crate) fn speed(&self) -> f64 {
        let gib = self.tokens as f64 * KV_BYTES_PER_TOKEN / f64::from(1 << 30);
        if self.took.is_zero() {
            0.0
        } else {
            gib / self.took.as_secs_f64()
        }
    }
}

/// Tokens a second, averaged over as many decode steps as SGLang does between two of its log lines.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Throughput {
    steps: u32,
    tokens: u64,
    since: Option<Instant>,
    rate: f64,
}

/// SGLang's `--decode-log-interval`.
const THROUGHPUT_STEPS: u32 = 40;

impl Throughput {
    /// A step of `took` that ended at `now`.
    pub(crate) fn record(&mut self, now: Instant, took: Duration, tokens: u64) {
        let since = *self
            .since
            .get_or_insert_with(|| now.checked_sub(took).unwrap_or(now));
        self.steps += 1;
        self.tokens += tokens;
        if self.steps == THROUGHPUT_STEPS {
            // Steps without duration are over in an instant.
            let seconds = now.duration_since(since).as_secs_f64().max(1e-6);
            *self = Self {
                since: Some(now),
                rate: self.tokens as f64 / seconds,
                ..Self::default()
            };
        }
    }

    /// Nothing runs any more.
    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }

    pub(crate) const fn rate(&self) -> f64 {
        self.rate
    }
}

/// Sums over decode steps from which a reader fits step time against batch size: with b requests and t microseconds
/// a step, the sums of 1, b, t, b², b·t and of the tokens generated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DecodeMoments([f64; 6]);

impl DecodeMoments {
    pub(crate) fn record(&mut self, batch: usize, step: Duration, generated: u64) {
        let (b, t) = (batch as f64, step.as_micros() as f64);
        if b <= 0.0 || t <= 0.0 {
            return;
        }
        for (sum, term) in self
            .0
            .iter_mut()
            .zip([1.0, b, t, b * b, b * t, generated as f64])
        {
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
    pub(crate) decode_retracted: usize,
    pub(crate) running: usize,
    /// Tokens that the waiting prompts still have to compute.
    pub(crate) waiting_uncached_tokens: u64,
    /// Tokens in the KV pool, those included that are only set aside.
    pub(crate) used_tokens: u64,
    /// Of all tokens here, those whose KV another worker has still to send.
    pub(crate) awaiting_kv_tokens: u64,
    /// Tokens of requests that have nothing in the pool yet.
    pub(crate) pending_tokens: u64,
}

impl Queues {
    /// What `num_waiting_reqs` sums: everything that doesn't run, except prompts whose KV is on its way out.
    pub(crate) const fn not_running(&self) -> usize {
        self.waiting
            + self.prefill_bootstrap
            + self.decode_prealloc
            + self.decode_transfer
            + self.decode_retracted
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
            let step = Duration::from_micros(6000 + 100 * batch as u64);
            moments.record(batch, step, batch as u64);
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
