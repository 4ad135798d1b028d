//! The HTTP side of a worker: which path is answered by what.

mod admin;
mod chat;
mod choice;
mod completions;
pub(crate) mod crash;
mod errors;
mod generate;
mod instant;
mod json;
mod loads;
mod metrics;
mod openai;
mod pooling;
mod request;
pub(crate) mod reset;
mod responses;
mod serve;
mod sse;
mod tokenize;
mod wire;

use crate::SimulatedWorker;
use ::http::StatusCode;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::Response,
    routing::{get, post},
};
use std::sync::Arc;

/// The largest request body: a context full of token ids fits many times over.
const BODY_LIMIT: usize = 256 * 1024 * 1024;

pub(crate) fn routes(worker: SimulatedWorker) -> Router {
    let engine = Arc::clone(&worker.engine);
    let routes = all_routes(worker);
    if engine.config.caches_prompts() && engine.config.enable_pd_role_switch {
        routes.layer(middleware::from_fn_with_state(
            engine,
            crash::unless_crashed,
        ))
    } else {
        // Nothing else crashes a worker, and no answer is to pass through a layer for nothing.
        routes
    }
}

fn all_routes(worker: SimulatedWorker) -> Router {
    let chat = match worker.config().instant {
        Some(_) => post(instant::handle),
        None => post(chat::handle),
    };
    Router::new()
        .route("/generate", post(generate::handle).put(generate::handle))
        .route("/v1/completions", post(completions::handle))
        .route("/v1/chat/completions", chat)
        .route("/v1/responses", post(responses::handle))
        .route("/v1/embeddings", post(pooling::embeddings))
        .route("/v1/rerank", post(pooling::rerank))
        .route("/rerank", post(pooling::rerank))
        .route("/v1/classify", post(pooling::classify))
        .route("/v1/score", post(pooling::score))
        .route("/v1/tokenize", post(tokenize::tokenize))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/v1/detokenize", post(tokenize::detokenize))
        .route("/detokenize", post(tokenize::detokenize))
        .route("/ready", get(admin::ready))
        .route("/health", get(admin::health))
        .route("/health_generate", get(admin::health))
        .route("/server_info", get(admin::server_info))
        .route("/get_server_info", get(admin::server_info))
        .route("/model_info", get(admin::model_info))
        .route("/get_model_info", get(admin::model_info))
        .route("/v1/models", get(admin::models))
        .route("/v1/models/{*model}", get(admin::model))
        .route("/v1/loads", get(loads::loads))
        .route("/metrics", get(metrics::metrics))
        .route("/abort_request", post(admin::abort_request))
        .route(
            "/flush_cache",
            get(admin::flush_cache).post(admin::flush_cache),
        )
        .route("/pd_role_switch", post(admin::role_switch))
        .route(
            "/simulated/faults",
            get(admin::faults).post(admin::set_faults),
        )
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(worker)
}

async fn not_found() -> Response {
    errors::failed(StatusCode::NOT_FOUND, "Not Found")
}

async fn method_not_allowed() -> Response {
    errors::failed(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}
