//! What waits in the router at this moment.

use prometheus::{IntCounter, IntGauge};

/// Requests that wait for a place or for a prefill worker with room, and their prompts. Cloning shares the counts,
/// which are those that Prometheus reads.
#[derive(Debug, Clone)]
pub struct Queued {
    requests: IntGauge,
    prompt_tokens: IntGauge,
    late: IntCounter,
}

impl Queued {
    pub fn new(requests: IntGauge, prompt_tokens: IntGauge, late: IntCounter) -> Self {
        Self {
            requests,
            prompt_tokens,
            late,
        }
    }

    pub fn requests(&self) -> u64 {
        u64::try_from(self.requests.get()).unwrap_or(0)
    }

    /// Estimated, as long as they wait nobody counts them better.
    pub fn prompt_tokens(&self) -> u64 {
        u64::try_from(self.prompt_tokens.get()).unwrap_or(0)
    }

    /// That have become late while they waited, since the start.
    pub fn late(&self) -> u64 {
        self.late.get()
    }

    pub fn became_late(&self, requests: u64) {
        self.late.inc_by(requests);
    }

    pub fn joined(&self, prompt_tokens: u32) {
        self.requests.inc();
        self.prompt_tokens.add(i64::from(prompt_tokens));
    }

    pub fn left(&self, prompt_tokens: u32) {
        self.requests.dec();
        self.prompt_tokens.sub(i64::from(prompt_tokens));
    }
}
