//! What this router measures of a worker while it serves: shared by every request on it, written without waiting.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::window::LatencyWindow;

/// The live measurements of one worker.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Time to first token of the requests that it prefilled or decoded.
    pub ttft: LatencyWindow,
    /// Time between tokens, one entry a token. Empty for a prefill worker.
    pub itl: LatencyWindow,
    pending_prompt_tokens: AtomicU64,
    late: AtomicU32,
    streams: AtomicU32,
}

impl WorkerStats {
    /// Prompt tokens (estimated) of the requests that this router has in flight on the worker. On a prefill worker that
    /// is the work before it, since its part of a request ends with the prefill.
    pub fn pending_prompt_tokens(&self) -> u64 {
        self.pending_prompt_tokens.load(Ordering::Relaxed)
    }

    /// Streams that are past their first token.
    pub fn streams(&self) -> u32 {
        self.streams.load(Ordering::Relaxed)
    }

    pub(super) fn add_prompt(&self, tokens: u32) {
        self.pending_prompt_tokens
            .fetch_add(u64::from(tokens), Ordering::Relaxed);
    }

    pub(super) fn remove_prompt(&self, tokens: u32) {
        self.pending_prompt_tokens
            .fetch_sub(u64::from(tokens), Ordering::Relaxed);
    }

    /// Requests in flight that were late when they got their place.
    pub fn late(&self) -> u32 {
        self.late.load(Ordering::Relaxed)
    }

    pub(super) fn late_came(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn late_left(&self) {
        self.late.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn stream_began(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub fn stream_ended(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// A worker in a new role has no past.
    pub(super) fn clear_latencies(&self) {
        self.ttft.clear();
        self.itl.clear();
    }
}
