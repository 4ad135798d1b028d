//! Everything that isn't inference.

mod ask;
pub mod auth;
mod engine_metrics;
mod flush;
mod info;
mod liveness;
mod loads;
mod metrics;
mod models;
mod ratio;
mod workers;

#[cfg(test)]
mod stand_in;

use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Router, middleware};

use crate::clock::Clock;
use crate::config::Config;
use crate::control::ratio::Steering;
use crate::control::removal::RemovalSender;
use crate::telemetry::Metrics;
use crate::upstream::Upstream;
use crate::workers::{Member, WorkerRegistry, WorkerSet};

/// How long a worker may take to tell about itself. It answers from memory, but behind a busy tokenizer process.
const INFO_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct AdminState {
    pub registry: Arc<WorkerRegistry>,
    pub upstream: Upstream,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub config: Arc<Config>,
    pub removals: RemovalSender,
    /// Where the ratio controller runs.
    pub steering: Option<Arc<Steering>>,
}

pub fn routes(state: AdminState) -> Router {
    let guarded = Router::new()
        .route("/workers", get(workers::list).post(workers::add))
        .route(
            "/workers/{id}",
            get(workers::show)
                .put(workers::update)
                .delete(workers::remove),
        )
        .route("/ratio", get(ratio::show).post(ratio::steer))
        .route("/decisions", get(ratio::decisions))
        .route("/get_loads", get(loads::tokens))
        .route(
            "/flush_cache",
            get(flush::flush_cache).post(flush::flush_cache),
        )
        .route("/abort_request", post(flush::abort_request))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&state.config),
            auth::require_admin,
        ));
    Router::new()
        .route("/liveness", get(liveness::ok))
        .route("/health", get(liveness::ok))
        .route("/readiness", get(liveness::readiness))
        .route("/health_generate", get(liveness::health_generate))
        .route("/v1/models", get(models::models))
        .route("/model_info", get(models::model_info))
        .route("/get_model_info", get(models::model_info))
        .route("/server_info", get(info::server_info))
        .route("/get_server_info", get(info::server_info))
        .route("/v1/loads", get(loads::loads))
        .route("/metrics", get(metrics::own))
        .route("/engine_metrics", get(engine_metrics::engine_metrics))
        .merge(guarded)
        .with_state(state)
}

/// The members that serve, to be asked: one that doesn't would only cost the time limit.
fn serving(set: &WorkerSet) -> Vec<Member> {
    let serves = |member: &&Member| member.state.admits_requests();
    set.members().iter().filter(serves).cloned().collect()
}
