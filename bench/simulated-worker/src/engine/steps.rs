//! What the engine does next, and how long it takes.

use super::{
    Engine,
    job::{Kv, Meeting, Queued},
    queues::{Left, State, transfer_error},
};
use crate::ticket::Abort;
use std::{mem, time::Duration};
use tokio::time::Instant;

/// Timers are a millisecond coarse. What a step overslept is taken off the next ones, up to this much: more would be
/// a stalled machine, and catching up on that in a burst is nothing that a GPU does.
const MOST_OVERSLEPT: Duration = Duration::from_millis(20);

enum Step {
    /// Nothing to do before this moment, or before somebody queues a job.
    Idle(Option<Instant>),
    Prefill {
        tokens: u64,
    },
    Decode {
        batch: usize,
        kv_tokens: u64,
    },
}

impl Engine {
    /// One batch, or one wait. `clock` is when the previous batch ended on the GPU.
    pub(super) async fn step(&self, clock: &mut Instant) {
        let timing = &self.config.timing;
        let step = self.next_step();
        match step {
            Step::Idle(until) => {
                self.idle(until).await;
                *clock = Instant::now();
            }
            Step::Prefill { tokens } => {
                let took = self.slowed(timing.prefill(tokens));
                elapse(clock, took).await;
                self.state.lock().finish_prefill(tokens, took);
            }
            Step::Decode { batch, kv_tokens } => {
                let took = self.slowed(timing.decode_step(batch, kv_tokens));
                elapse(clock, took).await;
                self.state.lock().finish_decode(took);
            }
        }
    }

    fn next_step(&self) -> Step {
        let mut state = self.state.lock();
        state.expire(Instant::now(), self.config.bootstrap_timeout);
        state.join_running(self.config.max_running);
        if let Some(tokens) = state.form_prefill(self.config.max_prefill_tokens) {
            return Step::Prefill { tokens };
        }
        match state.running.len() {
            0 => Step::Idle(state.rooms.next_deadline().map(|(_, at)| at)),
            batch => Step::Decode {
                batch,
                kv_tokens: state.running.iter().map(Queued::kv_tokens).sum(),
            },
        }
    }

    async fn idle(&self, until: Option<Instant>) {
        match until {
            Some(at) => {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                }
            }
            None => self.wake.notified().await,
        }
    }
}

async fn elapse(clock: &mut Instant, took: Duration) {
    if took.is_zero() {
        // Requests get their turn between two batches even where batches take no time.
        tokio::task::yield_now().await;
        return;
    }
    let now = Instant::now();
    let earliest = now.checked_sub(MOST_OVERSLEPT).unwrap_or(now);
    *clock = (*clock).max(earliest) + took;
    tokio::time::sleep_until(*clock).await;
}

impl State {
    /// Fails the prefill requests whose decode never came.
    fn expire(&mut self, now: Instant, timeout: Duration) {
        while let Some((id, _)) = self.rooms.next_deadline().filter(|(_, at)| *at <= now) {
            let Some(queued) = self.rooms.take(id) else {
                return;
            };
            let Meeting::Room(room) = queued.job.meeting else {
                return;
            };
            let why = format!(
                "Request {room} timed out after {:.1}s in KVPoll.Bootstrapping",
                timeout.as_secs_f64()
            );
            let message = transfer_error("Prefill bootstrap failed", &queued.job.rid, room, &why);
            self.leave(queued, Left::BootstrapFailed, Abort::new(500, message));
        }
    }

    fn join_running(&mut self, most: usize) {
        let places = most.saturating_sub(self.running.len());
        let joining = places.min(self.landed.len());
        self.running.extend(self.landed.drain(..joining));
    }

    /// Takes waiting prompts up to `most` tokens into a batch; one that is longer alone makes a batch of its own.
    fn form_prefill(&mut self, most: u64) -> Option<u64> {
        let mut tokens = 0;
        while let Some(next) = self.waiting.front() {
            if tokens > 0 && tokens + next.job.prompt_tokens > most {
                break;
            }
            tokens += next.job.prompt_tokens;
            self.prefilling.extend(self.waiting.pop_front());
        }
        (!self.prefilling.is_empty()).then_some(tokens)
    }

    fn finish_prefill(&mut self, tokens: u64, took: Duration) {
        self.counters.prefill_tokens += tokens;
        self.counters.prefill_busy += took;
        for queued in mem::take(&mut self.prefilling) {
            self.hand_over(queued);
        }
    }

    fn hand_over(&mut self, mut queued: Queued) {
        let Some(partner) = queued.partner.take() else {
            self.start_answer(queued);
            return;
        };
        queued.tokens = 1;
        self.count_generated(&queued, 1);
        let kv = Kv {
            answer: queued.carried.key(),
        };
        // A decode that left between two locks takes its job out by itself, from among those in flight.
        let _ = partner.kv.send((queued.id, kv));
        self.inflight.insert(queued.id, queued);
    }

    fn finish_decode(&mut self, took: Duration) {
        let batch = self.running.len();
        self.counters.decode.record(batch, took);
        self.counters.gen_throughput = batch as f64 / took.as_secs_f64().max(1e-6);
        // Where steps take no time, all of them have happened by now.
        let stride = if took.is_zero() { u32::MAX } else { 1 };
        for mut queued in mem::take(&mut self.running) {
            let tokens = queued
                .tokens
                .saturating_add(stride)
                .min(queued.job.plan.tokens);
            self.count_generated(&queued, tokens - queued.tokens);
            queued.tokens = tokens;
            if tokens == queued.job.plan.tokens {
                self.complete(queued);
            } else {
                queued.job.ticket.advance(tokens);
                self.running.push(queued);
            }
        }
    }
}
