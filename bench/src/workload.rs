//! Work: which requests come, and when.
//!
//! A workload is made once and then given to as many fleets as are to be compared: all of them see the same requests
//! at the same times. It knows nothing of the fleet, so it can't favour one.
//!
//! [`spec`] is how a file asks for one, [`lengths`] and [`arrivals`] draw what is not given, [`trace`] reads what was
//! recorded.

pub mod arrivals;
pub mod dice;
pub mod lengths;
pub mod spec;
pub mod trace;

use std::time::Duration;

use policies::time::Timestamp;

pub use self::{
    lengths::{Lengths, Mix},
    spec::{WorkloadError, WorkloadSpec},
};

/// Requests in one workload, at most. A day of 50 a second; all of them are in memory, and their outcomes too.
pub const MAX_REQUESTS: usize = 5_000_000;

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

    /// The same requests at `factor` times the rate: every time since the start is divided by it, so that bursts stay
    /// bursts and become denser. A closed loop has no rate and stays as it is.
    #[must_use]
    pub fn accelerated(self, factor: f64) -> Self {
        match self {
            Self::Closed { .. } => self,
            Self::Open { arrivals } => Self::Open {
                arrivals: arrivals
                    .into_iter()
                    .map(|(at, job)| (compressed(at, factor), job))
                    .collect(),
            },
        }
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

fn compressed(at: Timestamp, factor: f64) -> Timestamp {
    Timestamp::from_micros((at.as_micros() as f64 / factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_rate_is_half_the_time_and_the_same_requests() {
        let job = Job {
            prompt_tokens: 10,
            cached_tokens: 0,
            output_tokens: 1,
            class: 0,
        };
        let arrivals = [0, 10, 30].map(|second| (Timestamp::from_micros(second * 1_000_000), job));
        let open = Workload::Open {
            arrivals: arrivals.into(),
        };
        let faster = open.clone().accelerated(2.0);
        assert_eq!(faster.len(), 3);
        assert_eq!(open.span(), Some(Duration::from_secs(30)));
        assert_eq!(faster.span(), Some(Duration::from_secs(15)));
    }
}
