//! How long a worker's GPU would have taken.
//!
//! The performance model is the one that controllers predict with ([`policies::model`]); here its seconds become
//! sleeps. The engine waits by nothing else, so a scale of zero turns the worker into a pure protocol machine for
//! tests and benches.

use policies::model::WorkerModel;
use std::time::Duration;

/// A performance model and the factor by which time is stretched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    pub model: WorkerModel,
    pub scale: f64,
}

impl Timing {
    /// A GPU pair as it was measured.
    pub const MEASURED: Self = Self {
        model: WorkerModel::h200_gpt_oss_120b_tp2(),
        scale: 1.0,
    };

    /// Nothing takes any time.
    pub const fn zero() -> Self {
        Self {
            scale: 0.0,
            ..Self::MEASURED
        }
    }

    #[must_use]
    pub const fn scaled(self, factor: f64) -> Self {
        Self {
            scale: self.scale * factor,
            ..self
        }
    }

    /// Computing so many prompt tokens.
    pub fn prefill(&self, tokens: u64) -> Duration {
        self.stretched(self.model.prefill.batch_seconds(tokens))
    }

    /// What a first batch takes longer with so many requests waiting.
    pub fn warm_up(&self, waiting: usize) -> Duration {
        self.stretched(self.model.prefill.warm_up_seconds(count(waiting)))
    }

    /// How long the KV cache of one prompt keeps its prefill worker from sending another.
    pub fn sending(&self, tokens: u64) -> Duration {
        self.stretched(self.model.prefill.sending_seconds(tokens))
    }

    /// Moving the KV cache of one prompt to its decode worker, where none is being sent.
    pub fn transfer(&self, tokens: u64) -> Duration {
        self.stretched(self.model.prefill.transfer_seconds(tokens))
    }

    /// One decode step: one more token for each running request, of which all hold `kv_tokens` together.
    pub fn decode_step(&self, running: usize, kv_tokens: u64) -> Duration {
        let step = self.model.decode.step_seconds(count(running), kv_tokens);
        self.stretched(step)
    }

    /// By how much the arrival of so many tokens of KV makes a step longer.
    pub fn arrival(&self, tokens: u64) -> Duration {
        self.stretched(self.model.decode.arrival_seconds(tokens))
    }

    fn stretched(&self, seconds: f64) -> Duration {
        // A negative or infinite product can only come from parameters that nobody measured: no delay then.
        Duration::try_from_secs_f64(seconds * self.scale).unwrap_or_default()
    }
}

fn count(requests: usize) -> u32 {
    u32::try_from(requests).unwrap_or(u32::MAX)
}

impl Default for Timing {
    fn default() -> Self {
        Self::MEASURED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_timing_never_waits() {
        let zero = Timing::zero();
        assert_eq!(zero.prefill(1_000_000), Duration::ZERO);
        assert_eq!(zero.transfer(1_000_000), Duration::ZERO);
        assert_eq!(zero.decode_step(4096, 1_000_000), Duration::ZERO);
        assert_eq!(zero.sending(1_000_000), Duration::ZERO);
    }

    #[test]
    fn the_scale_multiplies_every_duration() {
        let (whole, half) = (Timing::MEASURED, Timing::MEASURED.scaled(0.5));
        let pairs = [
            (whole.prefill(5000), half.prefill(5000)),
            (whole.transfer(5000), half.transfer(5000)),
            (whole.decode_step(9, 5000), half.decode_step(9, 5000)),
        ];
        for (whole, half) in pairs {
            let off = (whole / 2).abs_diff(half);
            assert!(
                off <= Duration::from_nanos(1),
                "{half:?} is not half of {whole:?}"
            );
        }
    }

    #[test]
    fn parameters_out_of_all_bounds_don_t_wait_for_ever() {
        assert_eq!(
            Timing::MEASURED.scaled(f64::INFINITY).prefill(1),
            Duration::ZERO
        );
        assert_eq!(Timing::MEASURED.scaled(-1.0).prefill(1), Duration::ZERO);
    }
}
