//! Test workers with set answers, and the admin API before them.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use policies::lifecycle::WorkerEvent;
use policies::worker::Role;
use serde_json::Value;
use tower::ServiceExt as _;

use super::{AdminState, routes};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::removal;
use crate::telemetry::Metrics;
use crate::upstream::{InMemoryService, Segments, Upstream};
use crate::workers::{Worker, WorkerRegistry, WorkerSpec, WorkerUrl};

/// How a path is answered. A path that was not set is answered 404.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Status(u16),
    Text(String),
    Hang,
}

impl Reply {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "reads as the literal it is given"
    )]
    pub(super) fn json(value: Value) -> Self {
        Self::Text(value.to_string())
    }
}

/// What a worker was asked: authority, method, path with query, body.
pub(super) type Heard = (String, Method, String, Vec<u8>);

type Replies = Vec<(&'static str, Reply)>;

pub(super) struct Bench {
    pub(super) state: AdminState,
    pub(super) workers: Vec<Arc<Worker>>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// What the router answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Bench {
    /// Serving workers: `host:port`, role and answers.
    pub(super) fn new<const N: usize>(workers: [(&'static str, Role, Replies); N]) -> Self {
        Self::with_config(Config::default(), workers)
    }

    pub(super) fn with_config<const N: usize>(
        config: Config,
        workers: [(&'static str, Role, Replies); N],
    ) -> Self {
        // The client asks for a TLS provider when it is built. Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let heard = Arc::default();
        let registry = WorkerRegistry::new(config.breaker.clone(), |_| {});
        let mut upstream = Upstream::new(config.timeouts.connect, &config.upstream_tls).unwrap();
        let mut added = Vec::new();
        for (authority, role, replies) in workers {
            let spec = WorkerSpec::new(WorkerUrl::parse(authority).unwrap(), role);
            let worker = registry.add(&spec).unwrap();
            registry.apply(worker.id, WorkerEvent::Passed);
            added.push(worker);
            upstream.serve_in_memory(authority, service(authority, replies, &heard));
        }
        let (removals, _) = removal::channel();
        let state = AdminState {
            registry: Arc::new(registry),
            upstream,
            clock: Clock::start(),
            metrics: Arc::new(Metrics::default()),
            config: Arc::new(config),
            removals,
            steering: None,
        };
        Self {
            state,
            workers: added,
            heard,
        }
    }

    /// What the workers were asked, in no order that matters.
    pub(super) fn heard(&self) -> Vec<Heard> {
        let mut heard = self.heard.lock().clone();
        heard.sort_by(|one, other| one.0.cmp(&other.0));
        heard
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "").await
    }

    pub(super) async fn call(&self, method: Method, path: &str, body: &'static str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::from(body))
            .unwrap();
        let (head, body) = routes(self.state.clone())
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let content_type = head
            .headers
            .get(CONTENT_TYPE)
            .map(|value| value.to_str().unwrap());
        Answer {
            status: head.status,
            content_type: content_type.unwrap_or_default().to_owned(),
            body: body.collect().await.unwrap().to_bytes(),
        }
    }
}

fn service(
    authority: &'static str,
    replies: Replies,
    heard: &Arc<Mutex<Vec<Heard>>>,
) -> InMemoryService {
    let replies: HashMap<_, _> = replies.into_iter().collect();
    let heard = Arc::clone(heard);
    InMemoryService::new(tower::service_fn(move |request: Request<Segments>| {
        let reply = replies.get(request.uri().path()).cloned();
        let target = request.uri().path_and_query().unwrap().to_string();
        let body = request.body().to_vec();
        heard
            .lock()
            .push((authority.to_owned(), request.method().clone(), target, body));
        async move { answer(reply.unwrap_or(Reply::Status(404))).await }
    }))
}

async fn answer(reply: Reply) -> Result<Response<Full<Bytes>>, String> {
    let (status, body) = match reply {
        Reply::Status(status) => (StatusCode::from_u16(status).unwrap(), String::new()),
        Reply::Text(text) => (StatusCode::OK, text),
        Reply::Hang => std::future::pending().await,
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    Ok(response)
}
