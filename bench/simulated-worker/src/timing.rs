//! How long a worker's GPU would have taken.
//!
//! Two straight lines and a step time: a prefill batch costs a fixed part and a part per token, so does a KV transfer,
//! and a decode step grows with the number of requests in the batch. The engine sleeps by these and by nothing else,
//! so a timing of zero turns the worker into a pure protocol machine for tests and benches.

use std::time::Duration;

/// The coefficients, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    pub prefill_batch: f64,
    pub prefill_token: f64,
    pub transfer: f64,
    pub transfer_token: f64,
    pub decode_step: f64,
    pub decode_request: f64,
    /// Everything is multiplied by this.
    pub scale: f64,
}

impl Timing {
    /// A GPU pair as the published prefill/decode ratio study measured it: 70,700 prompt tokens a second and pair.
    pub const MEASURED: Self = Self {
        prefill_batch: 0.047,
        prefill_token: 1.0 / 70_700.0,
        transfer: 0.048,
        transfer_token: 7.4e-6,
        decode_step: 6.48e-3,
        decode_request: 0.072e-3,
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

    /// One prefill batch of so many prompt tokens.
    pub fn prefill(&self, tokens: u64) -> Duration {
        self.seconds(self.prefill_batch + self.prefill_token * tokens as f64)
    }

    /// Moving the KV cache of one prompt to its decode worker.
    pub fn transfer(&self, tokens: u64) -> Duration {
        self.seconds(self.transfer + self.transfer_token * tokens as f64)
    }

    /// One decode step: one more token for each running request.
    pub fn decode_step(&self, running: usize) -> Duration {
        self.seconds(self.decode_step + self.decode_request * running as f64)
    }

    fn seconds(&self, seconds: f64) -> Duration {
        // A negative or infinite product can only come from coefficients that nobody measured: no delay then.
        Duration::try_from_secs_f64(seconds * self.scale).unwrap_or_default()
    }
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
    fn a_long_prompt_costs_its_tokens_and_the_batch() {
        let took = Timing::MEASURED.prefill(70_700);
        assert_eq!(took, Duration::from_secs_f64(1.047));
    }

    #[test]
    fn zero_timing_never_waits() {
        let zero = Timing::zero();
        assert_eq!(zero.prefill(1_000_000), Duration::ZERO);
        assert_eq!(zero.transfer(1_000_000), Duration::ZERO);
        assert_eq!(zero.decode_step(4096), Duration::ZERO);
    }

    #[test]
    fn the_scale_multiplies_every_duration() {
        let half = Timing::MEASURED.scaled(0.5);
        assert_eq!(half.decode_step(10), Duration::from_secs_f64(0.0036));
    }
}
