//! What model is served: answered by a worker, for every worker of a fleet serves the same one.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use policies::worker::Role;

use super::ask::{self, AskError, ask};
use super::{AdminState, INFO_LIMIT, serving};
use crate::error::error_response;
use crate::workers::{Member, Worker};

/// The two spellings, the current one first. A worker may know only one of them.
const MODEL_INFO: [&str; 2] = ["/model_info", "/get_model_info"];

pub(super) async fn models(State(state): State<AdminState>) -> Response {
    match first_answer(&state, serving(&state.registry.snapshot()), &["/v1/models"]).await {
        Some(body) => json(body),
        None => error_response(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_workers_available",
            "no worker that serves told its models",
        ),
    }
}

pub(super) async fn model_info(State(state): State<AdminState>) -> Response {
    let set = Arc::clone(&state.registry.snapshot());
    let prefill = set.serving(Role::Prefill).iter();
    let candidates = prefill.chain(set.serving(Role::Regular).iter()).cloned();
    match first_answer(&state, candidates.collect(), &MODEL_INFO).await {
        Some(body) => json(body),
        None => error_response(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_prefill_servers",
            "no prefill or regular worker that serves told about its model",
        ),
    }
}

/// Asks one worker after the other until one answers.
async fn first_answer(
    state: &AdminState,
    members: Vec<Member>,
    spellings: &[&str],
) -> Option<Bytes> {
    for member in members {
        let answer = by_any_spelling(state, &member.worker, spellings).await;
        if answer.is_some() {
            return answer;
        }
    }
    None
}

/// Goes on to the next spelling only where the worker doesn't know the last.
async fn by_any_spelling(state: &AdminState, worker: &Worker, spellings: &[&str]) -> Option<Bytes> {
    for path in spellings {
        match ask(&state.upstream, ask::get(worker, path), INFO_LIMIT).await {
            Ok(body) => return Some(body),
            Err(AskError::Status(StatusCode::NOT_FOUND)) => {}
            Err(error) => {
                tracing::debug!(worker = %worker.url, path, %error, "a worker told nothing about its model");
                return None;
            }
        }
    }
    None
}

fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::stand_in::{Bench, Reply};
    use serde_json::json;

    #[tokio::test]
    async fn models_come_from_the_first_worker_that_answers() {
        let bench = Bench::new([
            (
                "p:1",
                Role::Prefill,
                vec![("/v1/models", Reply::Status(500))],
            ),
            (
                "d:1",
                Role::Decode,
                vec![(
                    "/v1/models",
                    Reply::json(json!({"object": "list", "data": []})),
                )],
            ),
        ]);
        let answer = bench.get("/v1/models").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.content_type, "application/json");
        assert_eq!(answer.json(), json!({"object": "list", "data": []}));
    }

    #[tokio::test]
    async fn both_spellings_of_model_info_reach_a_worker_that_knows_one() {
        for known in MODEL_INFO {
            let info = json!({"model_path": "m"});
            let bench = Bench::new([
                (
                    "d:1",
                    Role::Decode,
                    vec![(known, Reply::json(json!({"model_path": "not this"})))],
                ),
                (
                    "p:1",
                    Role::Prefill,
                    vec![(known, Reply::json(info.clone()))],
                ),
            ]);
            for asked in MODEL_INFO {
                assert_eq!(
                    bench.get(asked).await.json(),
                    info,
                    "{known}, asked {asked}"
                );
            }
        }
    }

    #[tokio::test]
    async fn without_a_worker_the_error_has_the_code_that_clients_know() {
        let bench = Bench::new([]);
        for (path, code) in [
            ("/v1/models", "no_workers_available"),
            ("/model_info", "no_prefill_servers"),
            ("/get_model_info", "no_prefill_servers"),
        ] {
            let answer = bench.get(path).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(answer.json()["error"]["code"], code, "{path}");
        }
    }
}
