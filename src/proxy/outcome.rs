//! How an accepted request ends: in exactly one way, whatever happens.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use crate::telemetry::Metrics;
use crate::telemetry::trace::RequestTrace;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer was handed to the client's connection.
    Completed,
    /// The client got an error.
    Failed,
    /// The client left first.
    ClientGone,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::ClientGone => "client_gone",
        }
    }
}

/// An accepted request. Its drop records the outcome: `ClientGone`, unless somebody said better before.
#[derive(Debug)]
pub struct Accepted {
    endpoint: Endpoint,
    metrics: Arc<Metrics>,
    since: Instant,
    outcome: Outcome,
    trace: RequestTrace,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Accepted {
    pub fn new(
        endpoint: Endpoint,
        metrics: Arc<Metrics>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        metrics
            .in_flight
            .with_label_values(&[endpoint.path()])
            .inc();
        Self {
            endpoint,
            metrics,
            since: Instant::now(),
            outcome: Outcome::ClientGone,
            trace: RequestTrace::off(),
            _permit: permit,
        }
    }

    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Takes over the request's span: from here on it ends when the request does.
    pub fn traced(&mut self, trace: RequestTrace) {
        self.trace = trace;
    }

    /// The client's response begins.
    pub fn answered(&mut self, status: StatusCode) {
        self.trace.answered(status);
    }

    /// How it ended, should nothing else happen.
    pub fn ends(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if self.outcome == Outcome::Failed {
            self.trace.broke();
        }
        self.trace.ends(self.outcome.as_str());
        let endpoint = self.endpoint.path();
        self.metrics
            .request_outcomes
            .with_label_values(&[endpoint, self.outcome.as_str()])
            .inc();
        self.metrics.in_flight.with_label_values(&[endpoint]).dec();
    }
}
