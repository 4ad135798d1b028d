//! Aggregated serving: workers that compute prompts and write answers in the same steps.
//!
//! A step takes the next chunk of the waiting prompts and gives each running sequence its token. It takes as long as both
//! would one after the other, and never less than a step with nothing in it. That is chunked prefill mixed into decode,
//! as SGLang does it with `--enable-mixed-chunk`; no KV is sent anywhere. Between two chunks a worker may make some steps
//! without one, so that prompts come together in fewer chunks (`--num-continuous-decode-steps` there).

use policies::model::WorkerModel;

use super::events::Event;
use super::world::{World, seconds};

/// What a chunk costs a worker besides its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkCost {
    /// What a batch costs a prefill worker. Some of that is the hand-over to decode workers, so this is the most.
    AsPrefill,
    /// Nothing: the weights are read for the decode step anyway. This is the least.
    TokensAlone,
}

/// `model` for workers that do both: chunks are a prefill worker's batches, no KV is sent, and none arrives that would
/// hold up decode.
#[must_use]
pub fn aggregated(mut model: WorkerModel, cost: ChunkCost) -> WorkerModel {
    model.prefill.transfer_base = 0.0;
    model.prefill.transfer_per_token = 0.0;
    model.decode.arrival_per_token = 0.0;
    match cost {
        ChunkCost::AsPrefill => {}
        ChunkCost::TokensAlone => model.prefill.batch_base = 0.0,
    }
    model
}

impl World<'_> {
    /// Begins a step at a worker that does both, where none runs there.
    pub(super) fn begin_mixed_step(&mut self, position: usize) {
        let (now, model) = (self.now, &self.setup.model);
        let worker = &mut self.workers[position];
        if worker.decode.is_stepping() || worker.prefill.is_computing() {
            return;
        }
        let step = worker.decode.begin_step(&model.decode, now);
        let chunk = if step.is_some() && worker.steps_to_chunk > 0 {
            worker.steps_to_chunk -= 1;
            None
        } else {
            worker.prefill.form_batch(&model.prefill)
        };
        if chunk.is_none() && step.is_none() {
            return;
        }
        if chunk.is_some() {
            worker.steps_to_chunk = self.setup.steps_between_chunks;
        }
        let chunk = chunk.unwrap_or(0.0);
        let took = step_seconds(model, chunk, step.map_or(0.0, |step| step.seconds));
        let took = seconds(took);
        worker.used.prefill_busy += seconds(chunk);
        worker.used.decode_busy += took.saturating_sub(seconds(chunk));
        worker.step = took;
        let mixed = Event::Mixed {
            worker: position,
            epoch: worker.epoch,
        };
        self.agenda.add(now.after(took), mixed);
    }

    /// The step is done: tokens are there, and prompts of which this was the last chunk join the next one.
    pub(super) fn mixed(&mut self, position: usize) {
        if self.workers[position].decode.is_stepping() {
            self.stepped(position);
        }
        if self.workers[position].prefill.is_computing() {
            self.computed(position);
        }
    }
}

fn step_seconds(model: &WorkerModel, chunk: f64, step: f64) -> f64 {
    (chunk + step).max(model.decode.step_base)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policies::time::Timestamp;

    use super::*;
    use crate::sim::{Outcome, Setup, run};
    use crate::workload::{Job, Workload};

    const COSTS: [ChunkCost; 2] = [ChunkCost::AsPrefill, ChunkCost::TokensAlone];

    fn job(prompt_tokens: u32, output_tokens: u32) -> Job {
        Job {
            prompt_tokens,
            cached_tokens: 0,
            output_tokens,
            class: 0,
        }
    }

    fn outcome(model: WorkerModel, workers: u32, jobs: Vec<Job>) -> Outcome {
        let setup = Setup {
            regular: workers,
            warm: true,
            ..Setup::study(model, 0, 0)
        };
        let arrivals = jobs.into_iter().map(|job| (Timestamp::ZERO, job)).collect();
        run(&setup, &Workload::Open { arrivals })
    }

    fn is_close(found: Duration, expected: f64) -> bool {
        (found.as_secs_f64() / expected - 1.0).abs() < 1e-3
    }

    #[test]
    fn prompts_alone_take_what_the_prefill_model_says() {
        for cost in COSTS {
            let model = aggregated(WorkerModel::default(), cost);
            let outcome = outcome(model, 2, vec![job(2_048, 1); 400]);
            // 400 prompts of a quarter of a chunk each, on two workers.
            let expected = 200.0 / model.prefill.capacity(2_048, 0.0);
            assert!(is_close(outcome.makespan, expected), "{cost:?}");
        }
    }

    #[test]
    fn answers_alone_take_what_the_decode_model_says() {
        for cost in COSTS {
            let model = aggregated(WorkerModel::default(), cost);
            let jobs = vec![job(1, 1_001); 200];
            let outcome = outcome(model, 2, jobs);
            let first = outcome.requests[0].ttft().unwrap();
            // A thousand steps after the first token, 100 sequences each, whose KV is 500 tokens on average.
            let expected = 1_000.0 * model.decode.step_seconds(100, 100 * 502);
            assert!(
                is_close(outcome.makespan.saturating_sub(first), expected),
                "{cost:?}"
            );
        }
    }

    #[test]
    fn a_chunk_makes_the_step_longer_by_its_own_time() {
        let model = WorkerModel::default();
        let table = [
            (0.0, 0.01, 0.01),
            (0.05, 0.01, 0.06),
            (0.001, 0.0, model.decode.step_base),
        ];
        for (chunk, step, expected) in table {
            let found = step_seconds(&model, chunk, step);
            assert!((found - expected).abs() < 1e-12, "{chunk} {step}");
        }
    }

    #[test]
    fn prompts_wait_for_their_turn_between_steps_without_them() {
        let model = aggregated(WorkerModel::default(), ChunkCost::AsPrefill);
        let ttft = |steps_between_chunks| {
            let setup = Setup {
                regular: 1,
                warm: true,
                steps_between_chunks,
                ..Setup::study(model, 0, 0)
            };
            // The second comes while the first's answer is written.
            let second = Timestamp::from_micros(100_000);
            let arrivals = vec![(Timestamp::ZERO, job(1, 100)), (second, job(1, 1))];
            let outcome = run(&setup, &Workload::Open { arrivals });
            outcome.requests[1].ttft().unwrap().as_secs_f64()
        };
        let waited = ttft(50) - ttft(0);
        let step = model.decode.step_seconds(1, 30);
        // The first answer's steps began with its batch's end; those of the fifty that were made when the second came are
        // not waited for.
        let made = (0.1 - model.prefill.batch_seconds(1)) / step;
        let rest = 50.0 - made;
        assert!(
            (rest - 1.5..=rest + 1.5).contains(&(waited / step)),
            "{} of {rest}",
            waited / step
        );
    }

    #[test]
    fn a_prompt_longer_than_a_chunk_holds_up_answers_in_each_of_its_steps() {
        let model = aggregated(WorkerModel::default(), ChunkCost::AsPrefill);
        let jobs = vec![job(1, 10), job(20_000, 2)];
        let outcome = outcome(model, 1, jobs);
        let chunks = 3.0 * model.prefill.batch_base + 20_001.0 * model.prefill.per_token;
        let answer = outcome.requests[1].ttft().unwrap().as_secs_f64();
        // Two of the three chunks also hold the other's steps.
        let steps = 2.0 * model.decode.step_seconds(1, 2);
        assert!((answer - chunks - steps).abs() < 1e-3, "{answer}");
    }
}
