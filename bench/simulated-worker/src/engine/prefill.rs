//! The prefill side: prompts become batches, and their KV is sent, one request's after another's.
//!
//! A batch takes prompts in their order until its tokens are spent; what does not fit of the last one is computed in
//! the next batch, so that a long prompt takes several (chunked prefill). A token found in the prefix cache costs a
//! fraction of one that is computed.

use super::{
    job::{Kv, Parcel, Queued, Work},
    prefix_cache::PrefixCache,
    queues::State,
};
use crate::{config::Config, timing::Timing};
use std::{mem, time::Duration};
use tokio::time::Instant;

pub(super) struct PrefillSide {
    /// Had its first batch in this role.
    warm: bool,
    cache: Option<PrefixCache>,
    /// When the last KV that was computed so far will have been sent.
    line_free: Option<Instant>,
}

/// A batch of prompts, or of parts of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Tokens that take as long, cached ones included at their fraction.
    pub(super) work: u64,
    pub(super) uncached: u64,
    pub(super) cached: u64,
    /// Requests that wait for this first batch, or 0 where it isn't the first.
    pub(super) warms_up_for: usize,
}

impl PrefillSide {
    pub(super) fn new(config: &Config) -> Self {
        let tokens = config.timing.model.decode.kv_pool_tokens;
        Self {
            warm: false,
            cache: config
                .caches_prompts()
                .then(|| PrefixCache::holding(tokens)),
            line_free: None,
        }
    }

    pub(super) fn forget_prefixes(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.clear();
        }
    }

    /// A decode worker that kept its cache takes a prompt in; `true` where it knows the beginning. It then counts that
    /// KV as its own and as the cache's, and finds more memory in use than there is.
    pub(super) fn counts_twice(&mut self, blocks: &[u64]) -> bool {
        self.cache.as_mut().is_some_and(|cache| {
            let known = cache.find(blocks) > 0;
            cache.keep(blocks);
            known
        })
    }

    /// A worker starts anew in this role: its cache was dropped, its first batch is slow again.
    pub(super) fn restart(&mut self) {
        self.warm = false;
        self.forget_prefixes();
    }

    /// Prompt tokens that need no computing. The last one always does: it is what the first answer token comes from.
    fn cached_tokens(&mut self, queued: &Queued) -> u64 {
        let found = self
            .cache
            .as_mut()
            .map(|cache| cache.find(&queued.job.blocks));
        found.map_or(0, |found| {
            found.min(queued.job.prompt_tokens.saturating_sub(1))
        })
    }

    /// When KV that was computed at `computed` is at its decode worker. The line is taken from now on, and is not given
    /// back where the request goes away: that is rare, and short.
    fn send(&mut self, computed: Instant, tokens: u64, timing: &Timing) -> Instant {
        let begins = self.line_free.map_or(computed, |free| free.max(computed));
        self.line_free = Some(begins + timing.sending(tokens));
        begins + timing.transfer(tokens)
    }
}

impl State {
    /// Takes waiting prompts into a batch.
    pub(super) fn form_prefill(&mut self) -> Option<Batch> {
        let waiting = self.waiting.len();
        let most = u64::from(self.model.prefill.max_batch_tokens.max(1));
        let mut batch = Batch::default();
        while batch.work < most
            && let Some(mut next) = self.waiting.pop_front()
        {
            self.look_up(&mut next, &mut batch);
            next.left = batch.take(next.left, most);
            self.prefilling.push(next);
        }
        if self.prefilling.is_empty() {
            return None;
        }
        if !mem::replace(&mut self.prefill.warm, true) {
            batch.warms_up_for = waiting;
        }
        Some(batch)
    }

    /// Asks the cache for a prompt that nothing was computed of yet.
    fn look_up(&mut self, queued: &mut Queued, batch: &mut Batch) {
        if queued.left != Work::Whole {
            return;
        }
        let cached = self.prefill.cached_tokens(queued);
        queued.job.ticket.found_cached(cached);
        batch.cached += cached;
        let cost = self.model.prefill.computed_tokens(cached, 1.0);
        queued.left = Work::Part {
            uncached: queued.job.prompt_tokens - cached,
            cached_cost: cost.round() as u64,
        };
    }

    /// The batch ended at `now`.
    pub(super) fn finish_prefill(
        &mut self,
        batch: &Batch,
        took: Duration,
        now: Instant,
        timing: &Timing,
    ) {
        self.counters
            .count_prefill(batch.uncached, batch.cached, took);
        let mut unfinished = None;
        for queued in mem::take(&mut self.prefilling) {
            if queued.left.is_done() {
                if let Some(cache) = &mut self.prefill.cache {
                    cache.keep(&queued.job.blocks);
                }
                self.hand_over(queued, now, timing);
            } else {
                unfinished = Some(queued);
            }
        }
        // Only the last prompt of a batch can be cut.
        if let Some(cut) = unfinished {
            self.waiting.push_front(cut);
        }
    }

    fn hand_over(&mut self, mut queued: Queued, computed: Instant, timing: &Timing) {
        let Some(partner) = queued.partner.take() else {
            self.start_answer(queued);
            return;
        };
        let tokens = queued.job.prompt_tokens;
        let arrives = self.prefill.send(computed, tokens, timing);
        queued.tokens = 1;
        self.count_generated(&queued, 1);
        let kv = Kv {
            answer: queued.carried.key(),
            cached_tokens: queued.job.ticket.cached_tokens(),
        };
        // A decode that left between two locks takes its job out by itself, from among those in flight.
        let _ = partner.kv.send(Parcel {
            job: queued.id,
            kv,
            tokens,
            computed,
            arrives,
        });
        self.inflight.insert(queued.id, queued);
    }
}

impl Batch {
    /// Takes as much of a prompt as fits, and answers what is left of it.
    fn take(&mut self, left: Work, most: u64) -> Work {
        let Work::Part {
            uncached,
            cached_cost,
        } = left
        else {
            return left;
        };
        let room = most.saturating_sub(self.work);
        let lookup = cached_cost.min(room);
        let computed = uncached.min(room - lookup);
        self.work += lookup + computed;
        self.uncached += computed;
        Work::Part {
            uncached: uncached - computed,
            cached_cost: cached_cost - lookup,
        }
    }
}
