//! A request on its way through the fleet.

use std::time::Duration;

use policies::queue::Place;
use policies::time::Timestamp;

use super::outcome::{End, Served};
use crate::workload::Job;

pub(super) struct Request {
    pub(super) job: Job,
    pub(super) arrived: Timestamp,
    pub(super) attempt: u32,
    /// Where it waits in the router, and since when.
    pub(super) waiting: Option<(Place, Timestamp)>,
    /// How long it has waited there before that.
    pub(super) waited: Duration,
    /// Whether it was late when it got its place on a decode worker.
    pub(super) late: bool,
    pub(super) prefill: usize,
    pub(super) decode: usize,
    /// Whether its place on the prefill worker is held.
    pub(super) prefilling: bool,
    /// Whether its KV is at its decode worker.
    pub(super) decoding: bool,
    /// Tokens that it had when its KV last came, that one included, or when it last left a decode worker.
    pub(super) written: u32,
    /// When it got the last of those.
    pub(super) last_token: Timestamp,
    pub(super) first_token: Option<Timestamp>,
    pub(super) ended: Option<(Timestamp, End)>,
}

impl Request {
    pub(super) fn new(job: Job, arrived: Timestamp) -> Self {
        Self {
            job,
            arrived,
            attempt: 0,
            waiting: None,
            waited: Duration::ZERO,
            late: false,
            prefill: 0,
            decode: 0,
            prefilling: false,
            decoding: false,
            written: 0,
            last_token: arrived,
            first_token: None,
            ended: None,
        }
    }

    /// What prefill computes for it: its prompt, and what was written of its answer before it had to go elsewhere.
    pub(super) fn to_compute(&self) -> Job {
        Job {
            prompt_tokens: self.job.prompt_tokens + self.written,
            ..self.job
        }
    }

    pub(super) fn served(&self, end_of_time: Timestamp) -> Served {
        let (ended, end) = self.ended.unwrap_or((end_of_time, End::Stranded));
        Served {
            job: self.job,
            arrived: self.arrived,
            first_token: self.first_token,
            ended,
            end,
        }
    }
}
