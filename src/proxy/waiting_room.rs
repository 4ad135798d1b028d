//! How many requests wait in the router, whatever for: a bound and a count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::QueueSettings;
use crate::telemetry::Queued;

/// Shared by those who make requests wait.
#[derive(Debug)]
pub struct WaitingRoom {
    waiting: AtomicUsize,
    size: usize,
    /// How long a request waits at most, all in all.
    pub patience: Duration,
    /// The same for whoever looks.
    queued: Queued,
}

impl WaitingRoom {
    /// `queued` is kept at what waits.
    pub fn new(settings: &QueueSettings, queued: Queued) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            size: settings.size,
            patience: settings.timeout,
            queued,
        })
    }

    /// Counts requests that have become late while they waited.
    pub fn became_late(&self, requests: u64) {
        self.queued.became_late(requests);
    }

    /// Counts a request as waiting; `None` where as many wait as may.
    pub fn join(&self, prompt_tokens: u32) -> Option<Waiting<'_>> {
        let joined = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| {
                (n < self.size).then_some(n + 1)
            });
        joined.is_ok().then(|| self.counted(prompt_tokens))
    }

    /// Counts a request in the place of one that was told to leave: until it has, there is one more than may be.
    pub fn join_for_another(&self, prompt_tokens: u32) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.counted(prompt_tokens)
    }

    fn counted(&self, prompt_tokens: u32) -> Waiting<'_> {
        self.queued.joined(prompt_tokens);
        Waiting {
            room: self,
            prompt_tokens,
        }
    }
}

/// A request that waits. It is counted out on drop: also when its client leaves.
#[derive(Debug)]
pub struct Waiting<'a> {
    room: &'a WaitingRoom,
    prompt_tokens: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::AcqRel);
        self.room.queued.left(self.prompt_tokens);
    }
}
