//! Everything that isn't inference.

pub mod auth;
mod liveness;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::removal::RemovalSender;
use crate::telemetry::Metrics;
use crate::upstream::Upstream;
use crate::workers::WorkerRegistry;

#[derive(Debug, Clone)]
pub struct AdminState {
    pub registry: Arc<WorkerRegistry>,
    pub upstream: Upstream,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub config: Arc<Config>,
    pub removals: RemovalSender,
}

pub fn routes(state: AdminState) -> Router {
    Router::new()
        .route("/liveness", get(liveness::ok))
        .route("/health", get(liveness::ok))
        .route("/readiness", get(liveness::readiness))
        .route("/health_generate", get(liveness::health_generate))
        .with_state(state)
}
