//! What the router counts and shows of itself.

pub mod demand;
pub mod journal;
mod line_log;
mod metrics;
mod queued;
mod request_log;
mod requests;
mod told;
pub mod trace;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use policies::lifecycle::WorkerState;
use policies::ratio::Plan;
use policies::time::Timestamp;

use crate::workers::Notice;
pub use demand::Demand;
pub use journal::Journal;
use journal::{Event, Kind};
pub use line_log::{LineLog, LineLogError};
pub use metrics::{
    Buckets, Continuation, HttpFamilies, LaunchFamilies, LaunchReason, Metrics, RequestLabels,
};
pub use queued::Queued;
pub use request_log::RequestLog;
pub use requests::{FinishedRequest, FinishedRequests, Outcome, Slo, TokenCount, Verdict};
pub use told::Told;

/// Everything that is written while requests are served.
#[derive(Debug)]
pub struct Telemetry {
    pub metrics: Arc<Metrics>,
    pub journal: Journal,
    pub finished: FinishedRequests,
    pub demand: Demand,
    /// What waits in the router now.
    pub queued: Queued,
    pub slo: Slo,
    /// The ratio controller's last decision, where there is one.
    pub plan: ArcSwapOption<Plan>,
    pub request_log: Option<RequestLog>,
}

impl Telemetry {
    pub fn new(metrics: Metrics, slo: Slo) -> Self {
        metrics.requests.hold_to(slo);
        Self {
            queued: metrics.requests.queued(),
            metrics: Arc::new(metrics),
            journal: Journal::default(),
            finished: FinishedRequests::default(),
            demand: Demand::default(),
            slo,
            plan: ArcSwapOption::empty(),
            request_log: None,
        }
    }

    /// Notes what became of a worker.
    pub fn notice(&self, at: Timestamp, notice: &Notice<'_>) {
        let (kind, worker, from, to) = match notice {
            Notice::Added { worker, .. } => {
                (Kind::State, worker, None, WorkerState::Starting.as_str())
            }
            Notice::State { worker, change, .. } => {
                self.metrics.workers.state_changed(*change);
                let from = Some(change.from.as_str());
                (Kind::State, worker, from, change.to.as_str())
            }
            Notice::Role { worker, from, to } => {
                self.metrics.workers.role_changed(*from, *to);
                (Kind::Role, worker, Some(from.as_str()), to.as_str())
            }
        };
        let event = Event {
            kind,
            worker: Some(worker.url.as_str().into()),
            from,
            to: Some(to),
            reason: worker.metadata().trouble.clone(),
        };
        self.journal.note(at, event);
    }
}
