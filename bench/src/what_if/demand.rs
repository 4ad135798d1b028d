//! How much prefill and decode the requests of a slot of time ask for.

use std::time::Duration;

use policies::{model::WorkerModel, ratio::Split, time::Timestamp};

use crate::{sim::Slo, workload::Job};

/// Seconds of a worker's time, by role.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Demand {
    pub prefill: f64,
    pub decode: f64,
}

impl Demand {
    /// What `job` asks for, by the model's capacities within the targets.
    fn of(job: &Job, model: &WorkerModel, slo: &Slo) -> Self {
        let prompt = u64::from(job.prompt_tokens);
        let cached = f64::from(job.cached_tokens) / prompt.max(1) as f64;
        let decoded = u64::from(job.output_tokens);
        let itl = slo.itl.as_secs_f64();
        Self {
            prefill: worker_seconds(model.prefill.capacity(prompt, cached)),
            decode: worker_seconds(model.decode.capacity(itl, prompt, decoded)),
        }
    }

    /// How much of `split` it takes at the role that is shorter of time; above 1 it is more than there is.
    pub(super) fn load(self, split: Split) -> f64 {
        (self.prefill / f64::from(split.prefill)).max(self.decode / f64::from(split.decode))
    }

    fn plus(self, other: Self) -> Self {
        Self {
            prefill: self.prefill + other.prefill,
            decode: self.decode + other.decode,
        }
    }
}

/// A worker's time for one request. Where no worker can serve it within the targets, it counts as a second: an hour of
/// such requests must not hide all the others.
fn worker_seconds(capacity: f64) -> f64 {
    if capacity > 0.0 { 1.0 / capacity } else { 1.0 }
}

/// The demand of each slot from the start to the last arrival.
pub(super) fn by_slot(
    arrivals: &[(Timestamp, Job)],
    slot: Duration,
    model: &WorkerModel,
    slo: &Slo,
) -> Vec<Demand> {
    let place = |at: Timestamp| (at.as_micros() / slot.as_micros().max(1) as u64) as usize;
    let slots = arrivals.last().map_or(0, |(at, _)| place(*at) + 1);
    let mut demand = vec![Demand::default(); slots];
    for (at, job) in arrivals {
        let slot = &mut demand[place(*at)];
        *slot = slot.plus(Demand::of(job, model, slo));
    }
    demand
}

/// For each slot, the sum over the `window` slots around it (as many as there are).
pub(super) fn smoothed(demand: &[Demand], window: usize) -> Vec<Demand> {
    let (before, after) = (window / 2, window.div_ceil(2));
    (0..demand.len())
        .map(|slot| {
            let near = &demand[slot.saturating_sub(before)..(slot + after).min(demand.len())];
            near.iter()
                .fold(Demand::default(), |sum, one| sum.plus(*one))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLO: Slo = Slo {
        ttft: Duration::from_secs(2),
        itl: Duration::from_millis(25),
    };

    fn arrival(second: u64, prompt_tokens: u32, output_tokens: u32) -> (Timestamp, Job) {
        let job = Job {
            prompt_tokens,
            cached_tokens: 0,
            output_tokens,
            class: 0,
        };
        (Timestamp::from_micros(second * 1_000_000), job)
    }

    #[test]
    fn long_prompts_ask_for_prefill_and_long_answers_for_decode() {
        let arrivals = [arrival(0, 4_096, 16), arrival(70, 128, 2_048)];
        let slot = Duration::from_secs(30);
        let demand = by_slot(&arrivals, slot, &WorkerModel::default(), &SLO);
        assert_eq!(demand.len(), 3);
        assert!(demand[0].prefill > demand[0].decode);
        assert_eq!(demand[1], Demand::default());
        assert!(demand[2].prefill < demand[2].decode);
    }

    #[test]
    fn the_load_is_that_of_the_role_that_is_short() {
        let demand = Demand {
            prefill: 3.0,
            decode: 2.0,
        };
        let split = |prefill, decode| Split { prefill, decode };
        let loads = [(1, 3), (2, 2), (3, 1)].map(|(p, d)| demand.load(split(p, d)));
        assert_eq!(loads.to_vec(), [3.0, 1.5, 2.0]);
    }

    #[test]
    fn a_window_reaches_to_both_sides_and_ends_with_the_trace() {
        let one = Demand {
            prefill: 1.0,
            decode: 0.0,
        };
        let sums = |window| {
            smoothed(&[one; 5], window)
                .iter()
                .map(|d| d.prefill)
                .collect::<Vec<_>>()
        };
        assert_eq!(sums(1), [1.0; 5]);
        assert_eq!(sums(3), [2.0, 3.0, 3.0, 3.0, 2.0]);
        assert_eq!(sums(4), [2.0, 3.0, 4.0, 4.0, 3.0]);
    }

    #[test]
    fn a_request_that_no_worker_can_serve_in_time_is_finite() {
        let arrivals = [arrival(0, 100_000_000, 1)];
        let demand = by_slot(
            &arrivals,
            Duration::from_secs(1),
            &WorkerModel::default(),
            &SLO,
        );
        assert!(demand[0].prefill.is_finite() && demand[0].decode.is_finite());
    }
}
