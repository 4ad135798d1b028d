//! How an accepted request ends: in exactly one way, whatever happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use crate::telemetry::Metrics;

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
            _permit: permit,
        }
    }

    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// How it ended, should nothing else happen.
    pub fn ends(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        let endpoint = self.endpoint.path();
        self.metrics
            .request_outcomes
            .with_label_values(&[endpoint, self.outcome.as_str()])
            .inc();
        self.metrics.in_flight.with_label_values(&[endpoint]).dec();
    }
}
