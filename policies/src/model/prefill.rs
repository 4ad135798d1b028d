//! The prefill side: batches of prompt tokens, one after another, and the transfer of their KV.

use serde::{Deserialize, Serialize};

use super::rate;

/// Parameters of a prefill worker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefillModel {
    /// Seconds that every batch takes, however small.
    pub batch_base: f64,
    /// Seconds for each token that is computed.
    pub per_token: f64,
    /// Tokens that fit in one batch; a longer prompt is cut in chunks of this size.
    pub max_batch_tokens: u32,
    /// What a token found in the prefix cache costs, as a fraction of one that is computed.
    pub cached_cost: f64,
    /// Seconds from the end of the computation to the first byte of KV at the decode worker. Latency only: the
    /// prefill worker does other things meanwhile.
    pub transfer_base: f64,
    /// Seconds for each token of KV sent, cached ones included. A worker sends one request's KV at a time.
    pub transfer_per_token: f64,
    /// Seconds that the first batch after a start takes longer for each request that waits for it: connections to
    /// decode workers, kernels that are compiled at their first use.
    #[serde(default)]
    pub warm_up_per_request: f64,
}

impl PrefillModel {
    /// Seconds to compute `uncached_tokens`: as many full batches as they fill, at least one.
    pub fn batch_seconds(&self, uncached_tokens: u64) -> f64 {
        let batches = uncached_tokens.div_ceil(self.batch_tokens()).max(1);
        batches as f64 * self.batch_base + uncached_tokens as f64 * self.per_token
    }

    /// Seconds until the KV of `tokens` has arrived at the decode worker.
    pub fn transfer_seconds(&self, tokens: u64) -> f64 {
        self.transfer_base + tokens as f64 * self.transfer_per_token
    }

    /// Seconds that the first batch after a start takes longer with `waiting` requests at the worker.
    pub fn warm_up_seconds(&self, waiting: u32) -> f64 {
        f64::from(waiting) * self.warm_up_per_request
    }

    /// Seconds of a worker's time for the KV of `tokens`: it sends one request's after another's.
    pub fn sending_seconds(&self, tokens: u64) -> f64 {
        tokens as f64 * self.transfer_per_token
    }

    /// Tokens that would take as long to compute as this prompt does with `cached_fraction` (0 to 1) of it in the
    /// prefix cache.
    pub fn computed_tokens(&self, prompt_tokens: u64, cached_fraction: f64) -> f64 {
        let cached = cached_fraction.clamp(0.0, 1.0);
        prompt_tokens as f64 * (1.0 - cached + cached * self.cached_cost.clamp(0.0, 1.0))
    }

    /// Requests a second that the worker sustains: batches full, the time of each shared by the prompts in it, or what
    /// the sending of KV allows, where that is less.
    pub fn capacity(&self, prompt_tokens: u64, cached_fraction: f64) -> f64 {
        let computed = self.computed_tokens(prompt_tokens, cached_fraction);
        let batches = computed / self.batch_tokens() as f64;
        let computing = batches * self.batch_base + computed * self.per_token;
        rate(computing.max(self.sending_seconds(prompt_tokens)))
    }

    fn batch_tokens(&self) -> u64 {
        u64::from(self.max_batch_tokens.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODEL: PrefillModel = PrefillModel {
        batch_base: 0.05,
        per_token: 1e-5,
        max_batch_tokens: 1_000,
        cached_cost: 0.0,
        transfer_base: 0.02,
        transfer_per_token: 1e-6,
        warm_up_per_request: 0.01,
    };

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
    }

    #[test]
    fn each_started_batch_costs_its_base() {
        let table = [
            (0, 0.05),
            (1, 0.050_01),
            (1_000, 0.06),
            (1_001, 0.110_01),
            (3_000, 0.18),
        ];
        for (tokens, seconds) in table {
            assert!(close(MODEL.batch_seconds(tokens), seconds), "{tokens}");
        }
        assert!(close(MODEL.transfer_seconds(1_000), 0.021));
    }

    #[test]
    fn capacity_is_set_by_the_slower_of_computing_and_sending() {
        // A full batch of ten prompts takes 60 ms.
        assert!(close(MODEL.capacity(100, 0.0), 10.0 / 0.06));
        // Nine tenths cached: ten times as many.
        assert!(close(MODEL.capacity(100, 0.9), 100.0 / 0.06));
        // All cached: only the sending is left.
        assert!(close(MODEL.capacity(100, 1.0), 1.0 / 1e-4));
    }

    fn models() -> impl Strategy<Value = PrefillModel> {
        let seconds = || prop_oneof![Just(0.0), 0.0..1.0];
        (
            seconds(),
            seconds(),
            any::<u32>(),
            -1.0..2.0,
            seconds(),
            seconds(),
        )
            .prop_map(
                |(
                    batch_base,
                    per_token,
                    max_batch_tokens,
                    cached_cost,
                    transfer_base,
                    transfer_per_token,
                )| {
                    PrefillModel {
                        batch_base,
                        per_token,
                        max_batch_tokens,
                        cached_cost,
                        transfer_base,
                        transfer_per_token,
                        warm_up_per_request: transfer_base,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn every_answer_is_finite_and_not_negative(model in models(), tokens: u64, cached in -1.0..2.0) {
            let answers = [
                model.batch_seconds(tokens),
                model.transfer_seconds(tokens),
                model.warm_up_seconds(tokens as u32),
                model.computed_tokens(tokens, cached),
                model.capacity(tokens, cached),
            ];
            for answer in answers {
                prop_assert!(answer.is_finite() && answer >= 0.0, "{answers:?}");
            }
        }

        #[test]
        fn more_tokens_take_longer_and_lower_the_capacity(
            model in models(), tokens in 0_u64..1 << 40, more in 0_u64..1 << 20, cached in 0.0..1.0,
        ) {
            let longer = tokens + more;
            prop_assert!(model.batch_seconds(longer) >= model.batch_seconds(tokens));
            prop_assert!(model.transfer_seconds(longer) >= model.transfer_seconds(tokens));
            prop_assert!(model.capacity(longer, cached) <= model.capacity(tokens, cached));
        }

        #[test]
        fn a_better_cache_never_lowers_the_capacity(model in models(), tokens in 1_u64..1 << 20, a in 0.0..1.0, b in 0.0..1.0) {
            let (worse, better) = if a < b { (a, b) } else { (b, a) };
            // Up to rounding: with a cached token as dear as a computed one both are the same.
            prop_assert!(model.capacity(tokens, better) >= model.capacity(tokens, worse) * (1.0 - 1e-9));
        }
    }
}
