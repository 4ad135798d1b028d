//! What the engine does next, and how long it takes.

use super::{
    Engine,
    decode::DecodeStep,
    job::Meeting,
    prefill::Batch,
    queues::{Left, State, transfer_error},
};
use crate::ticket::Abort;
use std::time::Duration;
use tokio::time::Instant;

/// Timers are a millisecond coarse. What a step overslept is taken off the next ones, up to this much: more would be
/// a stalled machine, and catching up on that in a burst is nothing that a GPU does.
const MOST_OVERSLEPT: Duration = Duration::from_millis(20);

enum Step {
    /// Nothing to do before this moment, or before somebody queues a job.
    Idle(Option<Instant>),
    Prefill(Batch),
    Decode(DecodeStep),
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
            Step::Prefill(batch) => {
                let took = timing.warm_up(batch.warms_up_for) + timing.prefill(batch.work);
                let took = self.slowed(took);
                elapse(clock, took).await;
                let mut state = self.state.lock();
                state.finish_prefill(&batch, took, *clock, timing);
            }
            Step::Decode(step) => {
                let took = timing.decode_step(step.batch, step.kv_tokens);
                let took = self.slowed(took + timing.arrival(step.landing_tokens));
                elapse(clock, took).await;
                self.state.lock().finish_decode(&step, took, *clock);
            }
        }
    }

    fn next_step(&self) -> Step {
        let mut state = self.state.lock();
        state.expire(Instant::now(), self.config.bootstrap_timeout);
        state.preallocate();
        if let Some(batch) = state.form_prefill() {
            return Step::Prefill(batch);
        }
        if let Some(step) = state.form_step() {
            return Step::Decode(step);
        }
        state.counters.throughput.stop();
        Step::Idle(state.rooms.next_deadline().map(|(_, at)| at))
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
        *clock = Instant::now();
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
}
