//! A request on its way through the fleet.

use policies::time::Timestamp;

use super::outcome::{End, Served};
use crate::workload::Job;

pub(super) struct Request {
    pub(super) job: Job,
    pub(super) arrived: Timestamp,
    pub(super) attempt: u32,
    pub(super) prefill: usize,
    pub(super) decode: usize,
    /// Whether its place on the prefill worker is held.
    pub(super) prefilling: bool,
    pub(super) first_token: Option<Timestamp>,
    pub(super) ended: Option<(Timestamp, End)>,
}

impl Request {
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
