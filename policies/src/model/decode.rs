//! The decode side: one step gives every running sequence one token.

use serde::{Deserialize, Serialize};

use super::rate;

/// Parameters of a decode worker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeModel {
    /// Seconds of a step with nothing in it: reading the weights.
    pub step_base: f64,
    /// Seconds for each running sequence.
    pub per_sequence: f64,
    /// Seconds for each token of KV that the running sequences hold: reading it.
    pub per_kv_token: f64,
    /// Seconds that the KV of an arriving request holds up the running sequences, for each token of its prompt.
    #[serde(default)]
    pub arrival_per_token: f64,
    /// Sequences that the engine runs at once; more wait.
    pub max_running: u32,
    /// Tokens of KV that fit in the worker's memory.
    pub kv_pool_tokens: u64,
}

impl DecodeModel {
    /// Seconds of one step, which is the time between two tokens of each running sequence.
    pub fn step_seconds(&self, running: u32, kv_tokens: u64) -> f64 {
        self.step(f64::from(running), kv_tokens as f64)
    }

    /// Seconds by which the arrival of a request with `prompt_tokens` makes a step longer.
    pub fn arrival_seconds(&self, prompt_tokens: u64) -> f64 {
        prompt_tokens as f64 * self.arrival_per_token
    }

    /// The most sequences of `mean_kv` tokens each that fit in memory and whose step takes at most `itl_seconds`; 0
    /// where not even one does.
    pub fn max_batch_within(&self, itl_seconds: f64, mean_kv: f64) -> u32 {
        self.largest_batch(itl_seconds, mean_kv, 0.0)
    }

    /// The same where each sequence also costs `extra` seconds a step.
    fn largest_batch(&self, itl_seconds: f64, mean_kv: f64, extra: f64) -> u32 {
        let mean_kv = mean_kv.max(0.0);
        let by_memory = self.kv_pool_tokens as f64 / mean_kv.max(1.0);
        let slope = self.per_sequence + self.per_kv_token * mean_kv + extra;
        let spare = itl_seconds - self.step_base;
        let by_time = if spare < 0.0 {
            0.0
        } else if slope > 0.0 {
            spare / slope
        } else {
            f64::INFINITY
        };
        // A cast to an integer saturates and takes NaN for 0.
        (by_memory.min(by_time) as u32).min(self.max_running)
    }

    /// Requests a second that the worker sustains with at most `itl_seconds` between tokens: the largest batch that
    /// keeps it, each sequence leaving after `output_tokens` steps. On average half of a request's output is written,
    /// and while one is served each of the others is replaced once, whose arrivals hold it up.
    pub fn capacity(&self, itl_seconds: f64, prompt_tokens: u64, output_tokens: u64) -> f64 {
        let steps = output_tokens.max(1) as f64;
        let mean_kv = prompt_tokens as f64 + steps / 2.0;
        let arrival = self.arrival_seconds(prompt_tokens) / steps;
        let batch = f64::from(self.largest_batch(itl_seconds, mean_kv, arrival));
        if batch < 1.0 {
            return 0.0;
        }
        batch * rate(steps * (self.step(batch, batch * mean_kv) + batch * arrival))
    }

    fn step(&self, running: f64, kv_tokens: f64) -> f64 {
        self.step_base + running * self.per_sequence + kv_tokens * self.per_kv_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODEL: DecodeModel = DecodeModel {
        step_base: 0.005,
        per_sequence: 0.0001,
        per_kv_token: 1e-8,
        arrival_per_token: 0.0,
        max_running: 256,
        kv_pool_tokens: 1_000_000,
    };

    #[test]
    fn a_batch_is_limited_by_time_memory_or_the_engine() {
        let table = [
            // itl, mean kv, batch
            (0.004, 1_000.0, 0),   // less than the empty step
            (0.016, 1_000.0, 100), // 5 ms + 100 * (0.1 + 0.01) ms
            (1.0, 10_000.0, 100),  // the pool
            (1.0, 1_000.0, 256),   // max_running
            (1.0, 0.0, 256),
            (1.0, 2_000_000.0, 0), // one alone is too long
        ];
        for (itl, mean_kv, batch) in table {
            // A hair of slack: 16 ms is not a binary fraction.
            assert_eq!(
                MODEL.max_batch_within(itl + 1e-9, mean_kv),
                batch,
                "{itl} {mean_kv}"
            );
        }
    }

    #[test]
    fn capacity_is_the_batch_over_the_life_of_a_request() {
        // Mean KV 1,000: 100 sequences at 16 ms, each for 200 steps.
        let capacity = MODEL.capacity(0.016 + 1e-9, 900, 200);
        assert!(
            (capacity - 100.0 / (200.0 * 0.016)).abs() < 1e-6,
            "{capacity}"
        );
        assert!(MODEL.capacity(0.004, 900, 200) <= 0.0);
    }

    #[test]
    fn arrivals_take_their_part_of_every_step() {
        let model = DecodeModel {
            arrival_per_token: 2e-6,
            ..MODEL
        };
        // 1.8 ms an arrival, spread over 200 steps: 9 us more for each of 100 sequences.
        let capacity = model.capacity(0.0169 + 1e-9, 900, 200);
        assert!(
            (capacity - 100.0 / (200.0 * 0.0169)).abs() < 1e-6,
            "{capacity}"
        );
    }

    fn models() -> impl Strategy<Value = DecodeModel> {
        let seconds = || prop_oneof![Just(0.0), 0.0..0.1];
        (seconds(), seconds(), seconds(), any::<u32>(), any::<u64>()).prop_map(
            |(step_base, per_sequence, per_kv_token, max_running, kv_pool_tokens)| DecodeModel {
                step_base,
                per_sequence,
                per_kv_token,
                arrival_per_token: per_kv_token / 1000.0,
                max_running,
                kv_pool_tokens,
            },
        )
    }

    proptest! {
        #[test]
        fn every_answer_is_finite_and_not_negative(
            model in models(), running: u32, kv: u64, itl in -1.0..10.0, prompt: u64, output: u64,
        ) {
            for answer in [
                model.step_seconds(running, kv),
                model.arrival_seconds(prompt),
                model.capacity(itl, prompt, output),
            ] {
                prop_assert!(answer.is_finite() && answer >= 0.0, "{answer}");
            }
        }

        #[test]
        fn a_step_grows_with_its_sequences_and_their_kv(model in models(), n in 0_u32..1 << 20, kv in 0_u64..1 << 40, more in 0_u32..1 << 20) {
            let step = model.step_seconds(n, kv);
            prop_assert!(model.step_seconds(n + more, kv) >= step);
            prop_assert!(model.step_seconds(n, kv + u64::from(more)) >= step);
        }

        #[test]
        fn the_largest_batch_keeps_its_promises_and_one_more_would_not(
            model in models(), itl in 0.0..1.0, mean_kv in 0_u32..100_000,
        ) {
            let batch = model.max_batch_within(itl, f64::from(mean_kv));
            let kv = |n: u32| u64::from(n) * u64::from(mean_kv);
            if batch > 0 {
                prop_assert!(model.step_seconds(batch, kv(batch)) <= itl * (1.0 + 1e-9));
                prop_assert!(batch <= model.max_running && kv(batch) <= model.kv_pool_tokens);
            }
            let more = batch.saturating_add(1);
            let breaks_one = model.step_seconds(more, kv(more)) > itl * (1.0 - 1e-9)
                || more > model.max_running
                || batch == u32::MAX
                || u64::from(more) * u64::from(mean_kv.max(1)) > model.kv_pool_tokens;
            prop_assert!(breaks_one, "{batch}");
        }

        #[test]
        fn longer_contexts_and_outputs_never_raise_the_capacity(
            model in models(), itl in 0.0..1.0, prompt in 0_u64..100_000, output in 1_u64..10_000, more in 0_u64..10_000,
        ) {
            let capacity = model.capacity(itl, prompt, output);
            // Up to the rounding of a whole batch: one sequence less makes the others' steps shorter.
            let batch = model.max_batch_within(itl, prompt as f64 + output as f64 / 2.0);
            let slack = 1.0 + 1e-9 + 1.0 / f64::from(batch.max(1));
            prop_assert!(model.capacity(itl, prompt + more, output) <= capacity * slack);
            prop_assert!(model.capacity(itl, prompt, output + more) <= capacity * slack);
        }
    }
}
