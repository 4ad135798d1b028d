//! Work: which requests come, and when.
//!
//! A workload is made once and then given to as many fleets as are to be compared: all of them see the same requests
//! at the same times. It knows nothing of the fleet, so it can't favour one.

use std::time::Duration;

use policies::time::Timestamp;

/// One request to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    pub prompt_tokens: u32,
    /// Tokens of the prompt that are found in the prefill worker's prefix cache.
    pub cached_tokens: u32,
    /// At least 1.
    pub output_tokens: u32,
    /// Which kind of request: the mix it was drawn from.
    pub class: u16,
}

/// When requests come.
#[derive(Debug, Clone, PartialEq)]
pub enum Workload {
    /// `concurrency` clients, each of which sends the next job when its last was answered.
    Closed { jobs: Vec<Job>, concurrency: usize },
    /// Jobs at their times, rising.
    Open { arrivals: Vec<(Timestamp, Job)> },
}

impl Workload {
    /// How many requests it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Closed { jobs, .. } => jobs.len(),
            Self::Open { arrivals } => arrivals.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From the first arrival to the last; `None` where the answers decide when requests come.
    pub fn span(&self) -> Option<Duration> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { arrivals } => {
                let first = arrivals.first()?.0;
                Some(arrivals.last()?.0.since(first))
            }
        }
    }
}
