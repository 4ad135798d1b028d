//! Everything that isn't inference.

pub mod auth;
mod liveness;
mod workers;

use std::sync::Arc;

use axum::routing::get;
use axum::{Router, middleware};

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
    let guarded = Router::new()
        .route("/workers", get(workers::list).post(workers::add))
        .route("/workers/{id}", get(workers::show).delete(workers::remove))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&state.config),
            auth::require_admin,
        ));
    Router::new()
        .route("/liveness", get(liveness::ok))
        .route("/health", get(liveness::ok))
        .route("/readiness", get(liveness::readiness))
        .route("/health_generate", get(liveness::health_generate))
        .merge(guarded)
        .with_state(state)
}
