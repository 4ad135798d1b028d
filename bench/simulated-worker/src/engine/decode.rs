//! The decode side: space for KV, a place in the batch, and a token a step.
//!
//! A request gets space for its prompt before its prefill begins, first come first served, and nobody does while a
//! request that was put back waits for space of its own. The answers that grow in the batch take more of it; where
//! they outgrow the pool, the newest of the batch is put back with what it has written, until the others fit. SGLang
//! keeps the KV of a request that it puts back in host memory and copies it in again; that costs the batch as much
//! here as the arrival of the KV from a prefill worker. Nothing is computed twice.
//!
//! Simpler than SGLang: that sets 512 tokens aside for each request besides its prompt, and puts back the one with the
//! fewest tokens written, which is the newest unless that was put back before.

use super::{
    job::{Plan, Queued},
    queues::State,
};
use std::{mem, time::Duration};
use tokio::time::Instant;

/// A decode reserves KV for as many requests again as it can run, as SGLang's pre-allocation does.
const RESERVED_BATCHES: usize = 2;

/// A step that is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DecodeStep {
    pub(super) batch: usize,
    pub(super) kv_tokens: u64,
    /// Of them, those whose KV the step has to take in.
    pub(super) landing_tokens: u64,
}

impl State {
    /// Gives space to those that wait for it, as far as there is any.
    pub(super) fn preallocate(&mut self) {
        if self.preallocating.is_empty() || !self.retracted.is_empty() {
            return;
        }
        let most = self.most_running() * RESERVED_BATCHES;
        let mut requests = self.allocated_requests();
        let mut tokens = self.allocated_tokens();
        while let Some((next, _)) = self.preallocating.front() {
            let needed = next.kv_tokens();
            // Everybody is to have room for one more token, too.
            let after = tokens + needed + requests as u64 + 1;
            let fits = requests == 0 || after <= self.pool();
            if requests >= most || !fits {
                return;
            }
            requests += 1;
            tokens += needed;
            if let Some((granted, space)) = self.preallocating.pop_front() {
                self.transferring.insert(granted.id, granted);
                // One that left meanwhile takes its job out by itself.
                let _ = space.send(());
            }
        }
    }

    /// The KV of a request has come. `false` where that is the end of this worker.
    #[must_use]
    pub(super) fn land(&mut self, id: u64, plan: Plan, collided: bool, cached_tokens: u64) -> bool {
        let Some(mut queued) = self.transferring.remove(&id) else {
            return true;
        };
        if self.prefill.counts_twice(&queued.job.blocks) {
            self.transferring.insert(id, queued);
            return false;
        }
        self.counters.room_collisions += u64::from(collided);
        queued.job.ticket.found_cached(cached_tokens);
        queued.job.plan = plan;
        queued.lands = true;
        self.start_answer(queued);
        true
    }

    /// Makes the batch of the next step; none where nothing runs.
    pub(super) fn form_step(&mut self) -> Option<DecodeStep> {
        self.retract();
        let landing_tokens = self.join();
        (!self.running.is_empty()).then(|| DecodeStep {
            batch: self.running.len(),
            kv_tokens: self.running.iter().map(Queued::kv_tokens).sum(),
            landing_tokens,
        })
    }

    /// Puts the newest back until the rest have room for a token each. The last one always runs on.
    fn retract(&mut self) {
        let mut tokens = self.allocated_tokens();
        while self.running.len() > 1 && tokens + self.running.len() as u64 > self.pool() {
            let Some(mut newest) = self.running.pop() else {
                return;
            };
            tokens -= newest.kv_tokens();
            newest.lands = true;
            newest.job.ticket.retract();
            self.counters.retractions += 1;
            self.retracted.push_front(newest);
        }
    }

    /// Fills the batch. Answers for how many tokens KV has to be taken in.
    fn join(&mut self) -> u64 {
        let mut landing = 0;
        let mut allocated = self.allocated_tokens();
        while self.running.len() < self.most_running()
            && let Some(mut next) = self.next_to_run(&mut allocated)
        {
            if mem::replace(&mut next.lands, false) {
                landing += next.kv_tokens();
            }
            self.running.push(next);
        }
        landing
    }

    /// The next that has room to write: one that was put back before one that has landed. A request with nobody else
    /// to wait for is let in whatever its length: it would wait for ever.
    fn next_to_run(&mut self, allocated: &mut u64) -> Option<Queued> {
        let growth = self.running.len() as u64 + 1;
        let room = self.pool().saturating_sub(*allocated + growth);
        let alone = self.allocated_requests() == 0;
        let resumes = |retracted: &Queued| alone || retracted.kv_tokens() <= room;
        if self.retracted.front().is_some_and(resumes) {
            let resumed = self.retracted.pop_front()?;
            *allocated += resumed.kv_tokens();
            return Some(resumed);
        }
        // What has landed is among the allocated already.
        if room > 0 || self.running.is_empty() {
            return self.landed.pop_front();
        }
        None
    }

    fn allocated_requests(&self) -> usize {
        self.transferring.len() + self.landed.len() + self.running.len()
    }

    fn pool(&self) -> u64 {
        self.model.decode.kv_pool_tokens
    }

    fn most_running(&self) -> usize {
        self.model.decode.max_running.max(1) as usize
    }

    /// The step ended at `now`: every request of the batch has one more token.
    pub(super) fn finish_decode(&mut self, step: &DecodeStep, took: Duration, now: Instant) {
        // Where steps take no time, all of them have happened by now.
        let stride = if took.is_zero() { u32::MAX } else { 1 };
        let mut generated = 0;
        for mut queued in mem::take(&mut self.running) {
            let tokens = queued
                .tokens
                .saturating_add(stride)
                .min(queued.job.plan.tokens);
            let more = tokens - queued.tokens;
            generated += u64::from(more);
            self.count_generated(&queued, more);
            queued.tokens = tokens;
            if tokens == queued.job.plan.tokens {
                self.complete(queued);
            } else {
                queued.job.ticket.advance(tokens);
                self.running.push(queued);
            }
        }
        self.counters.decode.record(step.batch, took, generated);
        self.counters.throughput.record(now, took, generated);
    }
}
