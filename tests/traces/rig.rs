//! A router as it runs in production, with one prefill and one decode worker on real sockets that remember who called.

use std::sync::Arc;
use std::time::Duration;

use adaptive_router::app::App;
use adaptive_router::config::{Config, Parsed};
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::json;
use simulated_worker::{Config as WorkerConfig, Network, Role, SimulatedWorker};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Both are in every request and must be in no span.
pub(crate) const PROMPT: &str = "a recognisable prompt";
pub(crate) const KEY: &str = "a-recognisable-key";

/// Longer than anything here takes; so long only a test that fails waits.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    url: String,
    client: reqwest::Client,
    pub(crate) prefill: Worker,
    pub(crate) decode: Worker,
    drain: CancellationToken,
    router: JoinSet<()>,
    _workers: JoinSet<()>,
}

pub(crate) struct Worker {
    pub(crate) simulated: SimulatedWorker,
    pub(crate) url: String,
    calls: Calls,
}

/// The headers of the inference requests that a worker got.
type Calls = Arc<Mutex<Vec<HeaderMap>>>;

impl Rig {
    /// A router with these flags beside its workers.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        // Only so that a client can be built: nothing is encrypted here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut workers = JoinSet::new();
        let prefill = worker(Role::Prefill, &mut workers).await;
        let decode = worker(Role::Decode, &mut workers).await;
        let bootstrap_port = prefill.simulated.config().bootstrap_port.to_string();
        let flags = [
            &[
                "--pd-disaggregation",
                "--disable-health-check",
                "--port=0",
                "--prometheus-port=0",
                "--retry-initial-backoff-ms=1",
                "--api-key",
                KEY,
                "--prefill",
                &prefill.url,
                &bootstrap_port,
                "--decode",
                &decode.url,
            ],
            flags,
        ]
        .concat();
        let parsed = Config::from_sources(flags.into_iter().map(Into::into), &|_| None);
        let Ok(Parsed::Run(config)) = parsed else {
            panic!("{parsed:?}")
        };
        let app = App::start(*config).await.expect("free ports");
        let url = format!("http://127.0.0.1:{}", app.port());
        let drain = CancellationToken::new();
        let mut router = JoinSet::new();
        router.spawn(app.run(drain.clone(), CancellationToken::new()));
        Self {
            url,
            client: reqwest::Client::new(),
            prefill,
            decode,
            drain,
            router,
            _workers: workers,
        }
    }

    /// A streamed chat of `tokens` tokens, with more headers; its body is unread.
    pub(crate) async fn chat(&self, tokens: u32, headers: &[(&str, &str)]) -> reqwest::Response {
        let body = json!({
            "model": "any", "stream": true, "max_tokens": tokens, "ignore_eos": true,
            "messages": [{"role": "user", "content": PROMPT}],
        });
        let mut request = self
            .client
            .post(format!("{}/v1/chat/completions", self.url))
            .bearer_auth(KEY)
            .json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = tokio::time::timeout(LIMIT, request.send());
        sent.await.expect("in time").expect("an answer")
    }

    /// The same, read to its end.
    pub(crate) async fn whole_chat(&self, headers: &[(&str, &str)]) -> String {
        let answer = self.chat(8, headers).await.text();
        tokio::time::timeout(LIMIT, answer)
            .await
            .expect("in time")
            .expect("a whole answer")
    }

    /// Stops the router as a signal would: by then it has sent its traces.
    pub(crate) async fn stop(mut self) {
        self.drain.cancel();
        let stopped = tokio::time::timeout(LIMIT, self.router.join_next()).await;
        stopped
            .expect("in time")
            .expect("it ran")
            .expect("it did not panic");
    }
}

impl Worker {
    /// The values of a header in the inference requests so far; "-" where one had none.
    pub(crate) fn got(&self, name: &str) -> Vec<String> {
        let calls = self.calls.lock();
        let values = calls.iter().map(|headers| match headers.get(name) {
            Some(value) => value.to_str().expect("text").to_owned(),
            None => "-".to_owned(),
        });
        values.collect()
    }
}

async fn worker(role: Role, tasks: &mut JoinSet<()>) -> Worker {
    let http = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let bootstrap = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = |listener: &TcpListener| listener.local_addr().expect("a bound port").port();
    let config = WorkerConfig {
        port: port(&http),
        bootstrap_port: port(&bootstrap),
        ..WorkerConfig::instant(role)
    };
    let url = format!("http://127.0.0.1:{}", config.port);
    let simulated = SimulatedWorker::new(config, &Network::Http);
    let calls = Calls::default();
    let remembering = middleware::from_fn_with_state(Arc::clone(&calls), remember);
    let routes = simulated.http().layer(remembering);
    tasks.spawn(async move { axum::serve(http, routes).await.expect("it serves") });
    let routes = simulated.bootstrap();
    tasks.spawn(async move { axum::serve(bootstrap, routes).await.expect("it serves") });
    tasks.spawn(simulated.clone().run(CancellationToken::new()));
    Worker {
        simulated,
        url,
        calls,
    }
}

async fn remember(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/v1/chat/completions" {
        calls.lock().push(request.headers().clone());
    }
    next.run(request).await
}
