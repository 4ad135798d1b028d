//! The workers API: list, add, look at, remove.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::LOCATION;
use policies::lifecycle::{WorkerEvent, WorkerState};
use policies::worker::Role;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::AdminState;
use crate::workers::{Member, WorkerSet, WorkerSpec, WorkerUrl};

#[derive(Deserialize)]
pub(super) struct NewWorker {
    url: String,
    #[serde(default = "regular")]
    worker_type: Role,
    bootstrap_port: Option<u16>,
    model_id: Option<String>,
    api_key: Option<String>,
    priority: Option<u32>,
    cost: Option<f32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    disable_health_check: bool,
}

const fn regular() -> Role {
    Role::Regular
}

#[derive(Deserialize)]
pub(super) struct Removal {
    #[serde(default)]
    force: bool,
}

pub(super) async fn list(State(state): State<AdminState>) -> Json<Value> {
    let set = state.registry.snapshot();
    let workers: Vec<_> = set
        .members()
        .iter()
        .map(|member| shown(&state, member))
        .collect();
    Json(json!({
        "total": workers.len(),
        "workers": workers,
        "stats": {
            "prefill_count": set.count(Role::Prefill),
            "decode_count": set.count(Role::Decode),
            "regular_count": set.count(Role::Regular),
        },
    }))
}

pub(super) async fn show(State(state): State<AdminState>, Path(id): Path<String>) -> Response {
    match find(&state.registry.snapshot(), &id) {
        Ok(member) => Json(shown(&state, &member)).into_response(),
        Err(refusal) => refusal.respond(),
    }
}

pub(super) async fn add(State(state): State<AdminState>, Json(new): Json<NewWorker>) -> Response {
    let spec = match new.into_spec() {
        Ok(spec) => spec,
        Err(reason) => return Refusal::BadRequest(reason).respond(),
    };
    match state.registry.add(&spec) {
        Err(error) => Refusal::Exists(error.to_string()).respond(),
        Ok(worker) => {
            let location = format!("/workers/{}", worker.uuid);
            let body = json!({
                "status": "accepted",
                "worker_id": worker.uuid.to_string(),
                "url": worker.url.as_str(),
                "location": location,
                "message": "Worker added; it serves once its checks pass",
            });
            (StatusCode::ACCEPTED, [(LOCATION, location)], Json(body)).into_response()
        }
    }
}

/// What may change while a worker serves. Its address and role may not: remove it and add it anew, so that what is in
/// flight on it ends as it began.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    priority: Option<u32>,
    cost: Option<f32>,
    labels: Option<BTreeMap<String, String>>,
}

pub(super) async fn update(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let update: Update = match serde_json::from_slice(&body) {
        Ok(update) => update,
        Err(error) => {
            let reason = format!("only priority, cost and labels can be changed: {error}");
            return Refusal::BadRequest(reason).respond();
        }
    };
    let member = match find(&state.registry.snapshot(), &id) {
        Ok(member) => member,
        Err(refusal) => return refusal.respond(),
    };
    member.worker.update_metadata(|metadata| {
        metadata.priority = update.priority.unwrap_or(metadata.priority);
        metadata.cost = update.cost.unwrap_or(metadata.cost);
        if let Some(labels) = &update.labels {
            metadata.labels.clone_from(labels);
        }
    });
    accepted(&member)
}

pub(super) async fn remove(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    Query(removal): Query<Removal>,
) -> Response {
    let member = match find(&state.registry.snapshot(), &id) {
        Ok(member) => member,
        Err(refusal) => return refusal.respond(),
    };
    let worker = &member.worker;
    if removal.force {
        state.registry.apply(worker.id, WorkerEvent::Removed);
    } else {
        // The place in the queue first: a worker must not be left draining with nobody to remove it.
        let Ok(place) = state.removals.try_reserve() else {
            return Refusal::Busy.respond();
        };
        state.registry.apply(worker.id, WorkerEvent::DrainRequested);
        place.send(worker.id);
    }
    accepted(&member)
}

fn accepted(member: &Member) -> Response {
    let worker = &member.worker;
    let body = json!({ "status": "accepted", "worker_id": worker.uuid.to_string(), "url": worker.url.as_str() });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

impl NewWorker {
    fn into_spec(self) -> Result<WorkerSpec, String> {
        let url = WorkerUrl::parse(&self.url).map_err(|error| error.to_string())?;
        let defaults = WorkerSpec::new(url, self.worker_type);
        Ok(WorkerSpec {
            bootstrap_port: self.bootstrap_port,
            model_id: self.model_id,
            api_key: self.api_key,
            priority: self.priority.unwrap_or(defaults.priority),
            cost: self.cost.unwrap_or(defaults.cost),
            labels: self.labels,
            check_health: !self.disable_health_check,
            ..defaults
        })
    }
}

enum Refusal {
    BadRequest(String),
    NotFound(Uuid),
    Exists(String),
    Busy,
}

impl Refusal {
    fn respond(self) -> Response {
        let (status, code, error) = match self {
            Self::BadRequest(reason) => (StatusCode::BAD_REQUEST, "BAD_REQUEST", reason),
            Self::NotFound(id) => (
                StatusCode::NOT_FOUND,
                "WORKER_NOT_FOUND",
                format!("worker {id} not found"),
            ),
            Self::Exists(reason) => (StatusCode::CONFLICT, "WORKER_ALREADY_EXISTS", reason),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "TOO_MANY_REMOVALS",
                "too many removals wait already".to_owned(),
            ),
        };
        (status, Json(json!({ "error": error, "code": code }))).into_response()
    }
}

fn find(set: &WorkerSet, id: &str) -> Result<Member, Refusal> {
    let id = Uuid::parse_str(id)
        .map_err(|_| Refusal::BadRequest(format!("'{id}' is not a worker id")))?;
    set.by_uuid(id).cloned().ok_or(Refusal::NotFound(id))
}

fn shown(state: &AdminState, member: &Member) -> Value {
    let worker = &member.worker;
    let metadata = worker.metadata();
    let mut object = json!({
        "id": worker.uuid.to_string(),
        "url": worker.url.as_str(),
        "model_id": metadata.model_id,
        "priority": metadata.priority,
        "cost": metadata.cost,
        "worker_type": member.role.as_str(),
        "is_healthy": member.state.admits_requests(),
        "load": worker.in_flight(),
        "connection_mode": "HTTP",
        "metadata": metadata.labels,
        "disable_health_check": !worker.check_health,
        "state": member.state.as_str(),
        "circuit_breaker": worker.breaker.state(state.clock.now()).as_str(),
    });
    if let Some(port) = member.bootstrap.port {
        object["bootstrap_port"] = port.into();
    }
    if let Some(trouble) = &metadata.trouble {
        object["trouble"] = trouble.as_str().into();
    }
    if matches!(member.state, WorkerState::Starting | WorkerState::Failed) {
        let status = if member.state == WorkerState::Failed {
            "failed"
        } else {
            "processing"
        };
        object["job_status"] = json!({
            "job_type": "AddWorker", "worker_url": worker.url.as_str(), "status": status, "message": metadata.trouble,
        });
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Request};
    use policies::lifecycle::WorkerEvent;
    use tower::ServiceExt as _;

    /// The API as somebody without keys calls it, over one serving worker with a request in flight.
    struct Api {
        state: AdminState,
        ticket: crate::workers::Ticket,
        uuid: Uuid,
        _removed: tokio::sync::mpsc::Receiver<policies::worker::WorkerId>,
    }

    impl Api {
        fn new() -> Self {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let config = std::sync::Arc::new(crate::config::Config::default());
            let registry = crate::workers::WorkerRegistry::new(config.breaker.clone(), |_| {});
            let url = WorkerUrl::parse("http://a:1").unwrap();
            let worker = registry.add(&WorkerSpec::new(url, Role::Decode)).unwrap();
            registry.apply(worker.id, WorkerEvent::Passed).unwrap();
            let (removals, removed) = crate::control::removal::channel();
            let state = AdminState {
                registry: registry.into(),
                upstream: crate::upstream::Upstream::new(
                    config.timeouts.connect,
                    &config.upstream_tls,
                )
                .unwrap(),
                clock: crate::clock::Clock::start(),
                metrics: crate::telemetry::Metrics::default().into(),
                config,
                removals,
                steering: None,
            };
            let (ticket, uuid) = (worker.enter().unwrap(), worker.uuid);
            Self {
                state,
                ticket,
                uuid,
                _removed: removed,
            }
        }

        async fn call(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("content-type", "application/json")
                .body(axum::body::Body::from(body.to_owned()))
                .unwrap();
            let response = crate::admin::routes(self.state.clone())
                .oneshot(request)
                .await
                .unwrap();
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX)
                .await
                .unwrap();
            (status, serde_json::from_slice(&body).unwrap_or_default())
        }
    }

    #[tokio::test]
    async fn a_worker_is_added_once_and_shown_until_it_passes() {
        let api = Api::new();
        let new = r#"{"url":"http://b:1","worker_type":"prefill","bootstrap_port":9000}"#;
        let (status, added) = api.call(Method::POST, "/workers", new).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        let (_, shown) = api
            .call(Method::GET, added["location"].as_str().unwrap(), "")
            .await;
        assert_eq!(shown["job_status"]["status"], "processing");
        assert_eq!(
            (&shown["worker_type"], &shown["bootstrap_port"]),
            (&json!("prefill"), &json!(9000))
        );
        let (status, error) = api.call(Method::POST, "/workers", new).await;
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::CONFLICT, &json!("WORKER_ALREADY_EXISTS"))
        );
        let (status, _) = api
            .call(Method::POST, "/workers", r#"{"url":"grpc://b:1"}"#)
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn removal_drains_unless_forced() {
        let api = Api::new();
        let path = format!("/workers/{}", api.uuid);
        assert_eq!(
            api.call(Method::DELETE, &path, "").await.0,
            StatusCode::ACCEPTED
        );
        let (_, shown) = api.call(Method::GET, &path, "").await;
        assert_eq!(
            (&shown["state"], &shown["load"]),
            (&json!("draining"), &json!(1))
        );
        assert!(api.ticket.worker().enter().is_none());
        let forced = format!("{path}?force=true");
        assert_eq!(
            api.call(Method::DELETE, &forced, "").await.0,
            StatusCode::ACCEPTED
        );
        assert_eq!(
            api.call(Method::GET, &path, "").await.0,
            StatusCode::NOT_FOUND
        );
    }

    #[tokio::test]
    async fn only_what_describes_a_worker_can_be_changed() {
        let api = Api::new();
        let path = format!("/workers/{}", api.uuid);
        let change = r#"{"priority":7,"labels":{"rack":"a"}}"#;
        assert_eq!(
            api.call(Method::PUT, &path, change).await.0,
            StatusCode::ACCEPTED
        );
        let (_, shown) = api.call(Method::GET, &path, "").await;
        assert_eq!(
            (&shown["priority"], &shown["metadata"]["rack"]),
            (&json!(7), &json!("a"))
        );
        assert_eq!((&shown["cost"], &shown["load"]), (&json!(1.0), &json!(1)));
        let (status, _) = api
            .call(Method::PUT, &path, r#"{"worker_type":"prefill"}"#)
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}
