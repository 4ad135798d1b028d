//! The HTTP side of a worker.

pub(crate) mod reset;

use crate::SimulatedWorker;
use ::http::StatusCode;
use axum::{Router, extract::State, routing::get};

pub(crate) fn routes(worker: SimulatedWorker) -> Router {
    Router::new().route("/ready", get(ready)).with_state(worker)
}

async fn ready(State(worker): State<SimulatedWorker>) -> StatusCode {
    if worker.engine.is_up() && !worker.engine.faults.unready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
