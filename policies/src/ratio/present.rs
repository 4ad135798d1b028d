//! The present, beside which every planner's prediction is shown: how full the workers are by their own counters, and how
//! far apart the tokens of what runs should be.

use super::{Observation, Utilisation};
use crate::model::WorkerModel;

/// Decode is as full as its batch: of the largest that keeps the time between tokens, how much runs. `None` without
/// decode workers, or without two reports of prefill workers to compare.
pub(super) fn measured(
    model: &WorkerModel,
    itl_seconds: f64,
    seen: &Observation,
) -> Option<Utilisation> {
    let activity = &seen.activity;
    if seen.split.decode == 0 {
        return None;
    }
    let mean_kv = activity.kv_tokens as f64 / activity.running.max(1) as f64;
    let batch = model.decode.max_batch_within(itl_seconds, mean_kv).max(1);
    Some(Utilisation {
        prefill: activity.prefill_busy?,
        decode: activity.running as f64 / (f64::from(batch) * f64::from(seen.split.decode)),
    })
}

/// Seconds between tokens for what runs now. `None` where nothing runs.
pub(super) fn predicted_itl(model: &WorkerModel, seen: &Observation) -> Option<f64> {
    let (workers, activity) = (u64::from(seen.split.decode), &seen.activity);
    if workers == 0 || activity.running == 0 {
        return None;
    }
    let running = u32::try_from(activity.running.div_ceil(workers)).unwrap_or(u32::MAX);
    Some(
        model
            .decode
            .step_seconds(running, activity.kv_tokens / workers),
    )
}
