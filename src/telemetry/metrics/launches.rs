//! Families of the workers' processes that the router starts.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::catalogue::Catalogue;
use crate::workers::Worker;

/// Why a worker's process was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchReason {
    /// It was not there yet.
    Start,
    RoleChange,
    Crash,
}

impl LaunchReason {
    const ALL: [Self; 3] = [Self::Start, Self::RoleChange, Self::Crash];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::RoleChange => "role_change",
            Self::Crash => "crash",
        }
    }
}

#[derive(Debug)]
pub struct LaunchFamilies {
    launches: IntCounterVec,
    given_up: IntGaugeVec,
}

impl LaunchFamilies {
    pub(super) fn new(make: &mut Catalogue) -> Self {
        Self {
            launches: make.counter(
                "adaptive_router_worker_launches_total",
                "Starts of the worker's process by this router, by reason: start, role_change or crash",
                &["worker", "reason"],
            ),
            given_up: make.gauge(
                "adaptive_router_worker_given_up",
                "1 where the worker's process crashed so often in a row that the router does not start it again, else 0",
                &["worker"],
            ),
        }
    }

    pub fn started(&self, worker: &Worker, reason: LaunchReason) {
        let url = worker.url.as_str();
        for each in LaunchReason::ALL {
            // An increase is seen only of a series that was there before.
            let series = self.launches.with_label_values(&[url, each.as_str()]);
            series.inc_by(u64::from(each == reason));
        }
        self.given_up(worker, false);
    }

    pub fn given_up(&self, worker: &Worker, is: bool) {
        self.given_up
            .with_label_values(&[worker.url.as_str()])
            .set(i64::from(is));
    }

    /// Starts of the worker for `reason` so far.
    pub fn count(&self, worker: &Worker, reason: LaunchReason) -> u64 {
        self.launches
            .with_label_values(&[worker.url.as_str(), reason.as_str()])
            .get()
    }
}
