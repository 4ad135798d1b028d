//! Is the router up, and could it serve a request?

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use policies::worker::Role;
use serde_json::json;

use super::AdminState;
use crate::config::Mode;
use crate::workers::WorkerSet;

pub(super) async fn ok() -> &'static str {
    "OK"
}

pub(super) async fn readiness(State(state): State<AdminState>) -> Response {
    let set = state.registry.snapshot();
    if can_serve(&set, state.config.fleet.mode) {
        let body = json!({ "status": "ready", "healthy_workers": serving(&set), "total_workers": set.members().len() });
        return Json(body).into_response();
    }
    let body = json!({ "status": "not ready", "reason": "insufficient healthy workers" });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

pub(super) async fn health_generate(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    if can_serve(&state.registry.snapshot(), state.config.fleet.mode) {
        (StatusCode::OK, "At least one router has healthy workers")
    } else {
        let nobody = "No routers with healthy workers available";
        (StatusCode::SERVICE_UNAVAILABLE, nobody)
    }
}

fn can_serve(set: &WorkerSet, mode: Mode) -> bool {
    let any = |role| !set.serving(role).is_empty();
    match mode {
        Mode::Pd => any(Role::Prefill) && any(Role::Decode),
        Mode::Regular => any(Role::Regular),
    }
}

fn serving(set: &WorkerSet) -> usize {
    Role::ALL
        .into_iter()
        .map(|role| set.serving(role).len())
        .sum()
}
