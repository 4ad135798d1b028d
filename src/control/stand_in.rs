//! Test workers whose every answer is set by the test, and the fleet around them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use parking_lot::Mutex;
use policies::lifecycle::WorkerState;
use policies::worker::Role;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::clock::Clock;
use crate::config::{Config, HealthSettings};
use crate::telemetry::Metrics;
use crate::upstream::{InMemoryService, Segments, Upstream};
use crate::workers::{Worker, WorkerRegistry, WorkerSpec, WorkerUrl};

/// How a path is answered. A path that was not set is answered 404.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Status(u16),
    Json(String),
    Refuse,
    Hang,
}

impl Reply {
    pub(super) fn json(text: &str) -> Self {
        Self::Json(text.to_owned())
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct StandIn(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    replies: HashMap<String, Reply>,
    /// What the next request to a path gets, before the replies.
    once: HashMap<String, Reply>,
    /// Path, query and Authorization of every request.
    requests: Vec<(String, String, Option<String>)>,
}

impl StandIn {
    pub(super) fn with(self, path: &str, reply: Reply) -> Self {
        self.set(path, reply);
        self
    }

    pub(super) fn set(&self, path: &str, reply: Reply) {
        self.0.lock().replies.insert(path.to_owned(), reply);
    }

    /// The next request to `path` gets `first`, those after it `then`.
    pub(super) fn then(&self, path: &str, first: Reply, then: Reply) {
        self.set(path, then);
        self.0.lock().once.insert(path.to_owned(), first);
    }

    /// How often `path` was asked.
    pub(super) fn asked(&self, path: &str) -> usize {
        let script = self.0.lock();
        script
            .requests
            .iter()
            .filter(|(asked, ..)| asked == path)
            .count()
    }

    /// Query and Authorization of the last request to `path`.
    pub(super) fn last(&self, path: &str) -> Option<(String, Option<String>)> {
        let script = self.0.lock();
        let mut latest_first = script.requests.iter().rev();
        let (_, query, key) = latest_first.find(|(asked, ..)| asked == path)?;
        Some((query.clone(), key.clone()))
    }

    fn service(&self) -> InMemoryService {
        let stand_in = self.clone();
        InMemoryService::new(tower::service_fn(move |request: Request<Segments>| {
            let reply = stand_in.note(&request);
            async move { answer(reply).await }
        }))
    }

    fn note(&self, request: &Request<Segments>) -> Reply {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let key = request
            .headers()
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        let mut script = self.0.lock();
        script.requests.push((path.to_owned(), query, key));
        if let Some(reply) = script.once.remove(path) {
            return reply;
        }
        script
            .replies
            .get(path)
            .cloned()
            .unwrap_or(Reply::Status(404))
    }
}

async fn answer(reply: Reply) -> Result<Response<Full<Bytes>>, String> {
    let (status, body) = match reply {
        Reply::Status(status) => (StatusCode::from_u16(status).unwrap(), String::new()),
        Reply::Json(text) => (StatusCode::OK, text),
        Reply::Refuse => return Err("refused".to_owned()),
        Reply::Hang => std::future::pending().await,
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    Ok(response)
}

/// A fleet of stand-ins and the loops that run on it.
pub(super) struct Bench {
    pub(super) fleet: Fleet,
    pub(super) cancel: CancellationToken,
    pub(super) tasks: JoinSet<()>,
}

impl Bench {
    /// Stand-ins by `host:port`.
    pub(super) fn new<'a>(stand_ins: impl IntoIterator<Item = (&'a str, &'a StandIn)>) -> Self {
        // The client asks for a TLS provider when it is built. Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Config::default();
        let mut upstream = Upstream::new(config.timeouts.connect, &config.upstream_tls).unwrap();
        for (authority, stand_in) in stand_ins {
            upstream.serve_in_memory(authority, stand_in.service());
        }
        Self {
            fleet: Fleet {
                registry: Arc::new(WorkerRegistry::new(config.breaker, |_| {})),
                upstream,
                clock: Clock::start(),
                metrics: Arc::new(Metrics::default()),
            },
            cancel: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    /// The defaults, as users run them.
    pub(super) fn settings() -> HealthSettings {
        Config::default().health
    }

    pub(super) fn add(
        &self,
        authority: &str,
        role: Role,
        change: impl Fn(&mut WorkerSpec),
    ) -> Arc<Worker> {
        let mut spec = WorkerSpec::new(WorkerUrl::parse(authority).unwrap(), role);
        change(&mut spec);
        self.fleet.registry.add(&spec).unwrap()
    }

    pub(super) fn state(&self, worker: &Worker) -> WorkerState {
        let set = self.fleet.registry.snapshot();
        set.by_id(worker.id).unwrap().state
    }

    /// Lets virtual time go by.
    pub(super) async fn elapse(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    /// Cancels the loops and waits until they have ended.
    pub(super) async fn end(&mut self) {
        self.cancel.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}
