//! Timing: how long a worker takes for what it is given.
//!
//! One model with three uses: the ratio controller predicts with it, the simulator advances virtual time with it, and
//! the simulated worker waits by it. It is meant to be as simple as the measurements allow: lines with few parameters,
//! each with a unit and a meaning, so that a fit can be read and a wrong one seen.
//!
//! Prefill is a queue in front of batches whose time grows with their tokens; decode is a loop whose step grows with
//! the sequences in it and the KV they hold. Both say how long one thing takes (for simulating) and how much they can
//! sustain (for planning).

mod decode;
mod file;
mod parameter;
mod prefill;

use serde::{Deserialize, Serialize};

pub use self::decode::DecodeModel;
pub use self::file::ModelFileError;
pub use self::parameter::Parameter;
pub use self::prefill::PrefillModel;

/// A worker in either role.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerModel {
    pub prefill: PrefillModel,
    pub decode: DecodeModel,
}

impl WorkerModel {
    /// gpt-oss-120b on two H200 GPUs with tensor parallelism.
    ///
    /// Fitted by `pd-bench fit` to the 27 published measurements of dstack's study of prefill/decode ratios: four workers
    /// as 1P3D, 2P2D and 3P1D on eight H200, prompts of 128 and 2,048 tokens, outputs capped at 128 and 2,048, 32 to 128
    /// concurrent clients, then rounded and moved by up to a tenth where the fit is flat, so that no mean error and no
    /// single cell is beyond what was aimed at. It meets throughput and inter-token latency within about 4 % on average
    /// (`docs/model.md`).
    ///
    /// Four numbers are not from that fit: the time per KV token and the size of the KV pool were set by hand to
    /// agree with a run on prompts of 32k tokens, the cost of a cached token comes from an earlier fit and hardly
    /// matters, and `max_running` is an assumption, twice what the study ever ran.
    /// Nor does it have a warm-up: what the study shows of one is its fleets', and not a worker's.
    pub const fn h200_gpt_oss_120b_tp2() -> Self {
        Self {
            prefill: PrefillModel {
                batch_base: 0.058_7,
                per_token: 12.9e-6,
                max_batch_tokens: 8_192,
                cached_cost: 0.015,
                transfer_base: 0.030,
                transfer_per_token: 6.15e-6,
                warm_up_per_request: 0.0,
            },
            decode: DecodeModel {
                step_base: 0.006_855,
                per_sequence: 59e-6,
                per_kv_token: 5e-9,
                arrival_per_token: 1.5e-6,
                max_running: 256,
                kv_pool_tokens: 2_000_000,
            },
        }
    }

    /// The same worker with every duration multiplied by `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let Self { prefill, decode } = &mut self;
        for seconds in [
            &mut prefill.batch_base,
            &mut prefill.per_token,
            &mut prefill.transfer_base,
            &mut prefill.transfer_per_token,
            &mut prefill.warm_up_per_request,
            &mut decode.step_base,
            &mut decode.per_sequence,
            &mut decode.per_kv_token,
            &mut decode.arrival_per_token,
        ] {
            *seconds *= factor;
        }
        self
    }
}

impl Default for WorkerModel {
    fn default() -> Self {
        Self::h200_gpt_oss_120b_tp2()
    }
}

/// How often a second something happens that takes so long. Nothing takes less than a nanosecond: that keeps the
/// answer finite for a model in which something is free.
fn rate(seconds: f64) -> f64 {
    1.0 / seconds.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_model_gives_the_capacities_of_the_study() {
        let model = WorkerModel::default();
        // About 50k tokens a second on prompts of 2,048 tokens.
        let prefill = model.prefill.capacity(2_048, 0.0) * 2_048.0;
        assert!((48_000.0..52_000.0).contains(&prefill), "{prefill}");
        // With 25 ms between tokens about 250 sequences fit in a step.
        let batch = model.decode.max_batch_within(0.025, 1_000.0);
        assert!((225..260).contains(&batch), "{batch}");
    }

    #[test]
    fn a_scaled_worker_takes_that_many_times_as_long() {
        let model = WorkerModel::default();
        let slow = model.scaled(3.0);
        for (slow, model) in [
            (
                slow.prefill.batch_seconds(2_048),
                model.prefill.batch_seconds(2_048),
            ),
            (
                slow.prefill.transfer_seconds(2_048),
                model.prefill.transfer_seconds(2_048),
            ),
            (
                slow.decode.step_seconds(32, 65_536),
                model.decode.step_seconds(32, 65_536),
            ),
        ] {
            assert!((slow - 3.0 * model).abs() < 1e-9);
        }
    }

    #[test]
    fn parameters_survive_serialisation_and_unknown_ones_are_refused() {
        let model = WorkerModel::default();
        let mut json = serde_json::to_value(model).unwrap();
        assert_eq!(
            serde_json::from_value::<WorkerModel>(json.clone()).unwrap(),
            model
        );
        json["decode"]["per_sequnce"] = 1.0.into();
        assert!(serde_json::from_value::<WorkerModel>(json).is_err());
    }
}
