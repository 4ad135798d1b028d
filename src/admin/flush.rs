//! Calls that go to every worker: flush the prefix caches, abort a request.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::AdminState;
use super::ask::{Asked, ask_all};
use crate::upstream::UpstreamRequest;
use crate::workers::Worker;

/// A worker flushes at once or, while it runs requests, refuses.
const WORKER_LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn flush_cache(State(state): State<AdminState>) -> Response {
    let answers = everyone(&state, "/flush_cache", Bytes::new()).await;
    let (failed, successful): (Vec<_>, Vec<_>) =
        answers.iter().partition(|(_, answer)| answer.is_err());
    let total = answers.len();
    if failed.is_empty() {
        let body = json!({
            "status": "success",
            "message": format!("Flushed the cache of all {total} workers"),
            "workers_flushed": total,
            "total_http_workers": total,
            "total_workers": total,
        });
        return Json(body).into_response();
    }
    let message = format!(
        "Flushed the cache of {} of {total} workers",
        successful.len()
    );
    let body = json!({
        "status": "partial_success",
        "message": message,
        "successful": successful.into_iter().map(url).collect::<Vec<_>>(),
        "failed": failed.into_iter().map(|asked| (url(asked), reason(asked))).collect::<Vec<_>>(),
        "total_http_workers": total,
        "total_workers": total,
    });
    (StatusCode::PARTIAL_CONTENT, Json(body)).into_response()
}

/// Every worker gets the call: which ones run the request is known only to the client's request id, and a worker
/// ignores an id that it doesn't have.
pub(super) async fn abort_request(State(state): State<AdminState>, body: Bytes) {
    for (member, answer) in everyone(&state, "/abort_request", body).await {
        if let Err(error) = answer {
            tracing::warn!(worker = %member.worker.url, %error, "a worker did not take an abort");
        }
    }
}

async fn everyone(state: &AdminState, path: &str, body: Bytes) -> Vec<Asked> {
    let set = Arc::clone(&state.registry.snapshot());
    let request = |worker: &Worker| {
        UpstreamRequest::post_json(worker.url.join(path), body.clone())
            .bearer(worker.api_key.as_deref())
    };
    ask_all(
        &state.upstream,
        set.members().to_vec(),
        WORKER_LIMIT,
        request,
    )
    .await
}

fn url((member, _): &Asked) -> &str {
    member.worker.url.as_str()
}

fn reason((_, answer): &Asked) -> Option<String> {
    answer.as_ref().err().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::stand_in::{Bench, Reply};
    use crate::config::Config;
    use http::Method;
    use policies::worker::Role;

    fn flushes() -> Vec<(&'static str, Reply)> {
        vec![("/flush_cache", Reply::Status(200))]
    }

    #[tokio::test]
    async fn a_flush_reaches_every_worker() {
        for method in [Method::GET, Method::POST] {
            let bench = Bench::new([
                ("p:1", Role::Prefill, flushes()),
                ("d:1", Role::Decode, flushes()),
            ]);
            let answer = bench.call(method, "/flush_cache", "").await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.json()["status"], "success");
            assert_eq!(answer.json()["workers_flushed"], 2);
            assert_eq!(bench.heard().len(), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_tells_which_workers_failed_and_why() {
        let bench = Bench::new([
            ("p:1", Role::Prefill, flushes()),
            (
                "d:1",
                Role::Decode,
                vec![("/flush_cache", Reply::Status(400))],
            ),
            ("d:2", Role::Decode, vec![("/flush_cache", Reply::Hang)]),
        ]);
        let answer = bench.call(Method::POST, "/flush_cache", "").await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        let expected = json!({
            "status": "partial_success",
            "message": "Flushed the cache of 1 of 3 workers",
            "successful": ["http://p:1"],
            "failed": [
                ["http://d:1", "answered 400 Bad Request"],
                ["http://d:2", "no answer within 5 s"],
            ],
            "total_http_workers": 3,
            "total_workers": 3,
        });
        assert_eq!(answer.json(), expected);
    }

    #[tokio::test]
    async fn an_abort_goes_to_every_worker_as_it_came() {
        let bench = Bench::new([
            (
                "p:1",
                Role::Prefill,
                vec![("/abort_request", Reply::Status(200))],
            ),
            ("d:1", Role::Decode, vec![]),
        ]);
        let answer = bench
            .call(Method::POST, "/abort_request", r#"{"rid":"x"}"#)
            .await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, ""));
        let body = br#"{"rid":"x"}"#.to_vec();
        let expected = ["d:1", "p:1"].map(|worker| {
            (
                worker.to_owned(),
                Method::POST,
                "/abort_request".to_owned(),
                body.clone(),
            )
        });
        assert_eq!(bench.heard(), expected);
    }

    #[tokio::test]
    async fn whoever_has_no_key_reaches_no_worker() {
        let mut config = Config::default();
        config.auth.api_key = Some("k".to_owned());
        let bench = Bench::with_config(config, [("p:1", Role::Prefill, flushes())]);
        for path in ["/flush_cache", "/abort_request"] {
            let answer = bench.call(Method::POST, path, "{}").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        }
        assert!(bench.heard().is_empty());
    }
}
