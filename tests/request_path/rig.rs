//! A router with two prefill and two decode workers, all in memory and in virtual time.

use std::sync::Arc;
use std::time::Duration;

use adaptive_router::clock::Clock;
use adaptive_router::config::{Config, Parsed};
use adaptive_router::proxy::{
    self, Admission, KeptBytes, Policies, PrefillQueue, Proxy, WaitingRoom, abort,
};
use adaptive_router::simulate;
use adaptive_router::telemetry::trace::Traces;
use adaptive_router::telemetry::{Metrics, Slo, Telemetry};
use adaptive_router::upstream::Upstream;
use adaptive_router::workers::{Worker, WorkerRegistry, WorkerSpec, WorkerUrl};
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use policies::lifecycle::WorkerEvent;
use policies::worker::Role;
use serde_json::Value;
use simulated_worker::{
    Config as WorkerConfig, Fault, Network, Role as WorkerRole, SimulatedWorker, Switchboard,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(crate) struct Rig {
    pub(crate) router: Router,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) prefill: Vec<SimulatedWorker>,
    pub(crate) decode: Vec<SimulatedWorker>,
    /// Engines and the aborter; ended with the rig.
    _tasks: JoinSet<()>,
    _suspected: mpsc::Receiver<policies::worker::WorkerId>,
}

/// An answer read to its end, or to where it broke.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) broke: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// The JSON of each event of a stream, `[DONE]` aside.
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self
            .body
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).expect("a JSON event"))
            .collect()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.body.ends_with("data: [DONE]\n\n")
    }
}

impl Rig {
    /// Two prefill and two decode workers with model timing, and more flags.
    pub(crate) fn new(flags: &[&str]) -> Self {
        Self::with(flags, |_| {})
    }

    pub(crate) fn with(flags: &[&str], change: impl Fn(&mut WorkerConfig)) -> Self {
        let flags = ["--pd-disaggregation", "--policy", "round_robin"]
            .iter()
            .chain(flags)
            .map(Into::into);
        let Ok(Parsed::Run(config)) = Config::from_sources(flags, &|_| None) else {
            panic!("good flags")
        };
        // Only so that a client can be built: nothing is encrypted here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut upstream =
            Upstream::new(config.timeouts.connect, &config.upstream_tls).expect("no files to read");
        let policies = Arc::new(Policies::new(&config.routing));
        let slo = Slo {
            ttft: config.slo.ttft,
            itl: config.slo.itl,
        };
        let telemetry = Arc::new(Telemetry::new(Metrics::default(), slo));
        let room = WaitingRoom::new(&config.queue, telemetry.queued.clone());
        let model = policies::model::WorkerModel::default().prefill;
        let queue = PrefillQueue::new(&config, model, 7, Arc::clone(&room));
        let registry = Arc::new(WorkerRegistry::new(config.breaker.clone(), {
            let (policies, queue) = (Arc::clone(&policies), queue.clone());
            move |notice| {
                if let Some(id) = notice.retires() {
                    policies.forget(id);
                }
                if let Some(queue) = &queue {
                    queue.room_may_be();
                }
            }
        }));
        let board = Switchboard::default();
        let cancel = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut start = |role: Role, number: u16| {
            let (host, port) = (format!("{role}-{number}"), 9000);
            let worker_role = if role == Role::Prefill {
                WorkerRole::Prefill
            } else {
                WorkerRole::Decode
            };
            let mut config = WorkerConfig {
                role: worker_role,
                host: host.clone(),
                bootstrap_port: port,
                ..WorkerConfig::default()
            };
            change(&mut config);
            let worker = SimulatedWorker::new(config, &Network::InMemory(board.clone()));
            board.connect(&host, port, worker.bootstrap());
            upstream.serve_in_memory(format!("{host}:30000"), simulate::in_memory(worker.http()));
            upstream.serve_in_memory(
                format!("{host}:{port}"),
                simulate::in_memory(worker.bootstrap()),
            );
            tasks.spawn(worker.clone().run(cancel.clone()));
            let url = WorkerUrl::parse(&format!("http://{host}:30000")).expect("a good URL");
            let spec = WorkerSpec {
                bootstrap_port: Some(port),
                ..WorkerSpec::new(url, role)
            };
            let id = registry.add(&spec).expect("registered once").id;
            registry
                .apply(id, WorkerEvent::Passed)
                .expect("a starting worker may pass");
            worker
        };
        let prefill = (0..2).map(|number| start(Role::Prefill, number)).collect();
        let decode = (0..2).map(|number| start(Role::Decode, number)).collect();
        let (aborter, aborts) = abort::channel();
        tasks.spawn(abort::run(upstream.clone(), aborts, cancel));
        let (suspects, suspected) = mpsc::channel(16);
        let kept_bytes = KeptBytes::new(
            &config.continuation,
            telemetry.metrics.continuations.kept_bytes(),
        );
        let proxy = Arc::new(Proxy {
            admission: Admission::new(&config.admission, room, &telemetry.metrics.http),
            queue,
            registry,
            policies,
            upstream,
            clock: Clock::start(),
            telemetry,
            traces: Traces::off(),
            kept_bytes,
            aborter,
            suspects,
            config: Arc::from(config),
        });
        Self {
            router: proxy::routes(&proxy),
            proxy,
            prefill,
            decode,
            _tasks: tasks,
            _suspected: suspected,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let response = self.open(path, body).await;
        let (head, body) = response.into_parts();
        let (mut text, mut broke) = (Vec::new(), false);
        let mut body = body;
        loop {
            match body.frame().await {
                None => break,
                Some(Ok(frame)) => text.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(_)) => {
                    broke = true;
                    break;
                }
            }
        }
        let body = String::from_utf8(text).expect("UTF-8");
        Answer {
            status: head.status,
            headers: head.headers,
            body,
            broke,
        }
    }

    /// The response with its body unread.
    pub(crate) async fn open(&self, path: &str, body: impl Into<Body>) -> axum::response::Response {
        let request = Request::post(path)
            .body(body.into())
            .expect("a good request");
        self.router
            .clone()
            .oneshot(request)
            .await
            .expect("the router never fails")
    }

    pub(crate) fn fault(workers: &[SimulatedWorker], fault: &Fault) {
        for worker in workers {
            worker.faults().set([fault.clone().into()]);
        }
    }

    /// Requests by how they ended, and those that have not.
    pub(crate) fn ledger(&self) -> Ledger {
        let name = "adaptive_router_requests_finished_total";
        let ended = |outcome: &str| self.metric(name, &[("outcome", outcome)]) as u64;
        Ledger {
            completed: ended("completed"),
            failed: ended("failed"),
            refused: ended("refused"),
            client_gone: ended("client_gone"),
        }
    }

    /// The sum of a family's samples with these labels, as Prometheus would read them.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = String::from_utf8(self.proxy.metrics_text()).expect("text");
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '))
            .filter(|(set, _)| set.is_empty() || set.starts_with('{'))
            .filter(|(set, _)| labels.iter().all(|label| set.contains(label)))
            .map(|(_, value)| value.parse::<f64>().expect("a number"))
            .sum()
    }

    /// The events of a streamed answer, and how long after the request was sent each came, in virtual time.
    pub(crate) async fn timed(&self, path: &str, body: String) -> Vec<(Duration, Value)> {
        let sent = tokio::time::Instant::now();
        let mut body = self.open(path, body).await.into_body();
        let mut events = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.expect("a whole answer").into_data();
            let text = String::from_utf8(data.expect("data").to_vec()).expect("UTF-8");
            for event in text.split_terminator("\n\n") {
                let data = event.strip_prefix("data: ").expect("an event");
                if data != "[DONE]" {
                    let json = serde_json::from_str(data).expect("JSON");
                    events.push((sent.elapsed(), json));
                }
            }
        }
        events
    }

    /// The router's side of a worker.
    pub(crate) fn worker(&self, url: &str) -> Arc<Worker> {
        let set = self.proxy.registry.snapshot();
        let mut members = set.members().iter();
        let member = members.find(|member| member.worker.url.as_str() == url);
        Arc::clone(&member.expect("a worker of the rig").worker)
    }

    /// In flight on the router's side, over all workers.
    pub(crate) fn in_flight(&self) -> u32 {
        self.proxy
            .registry
            .snapshot()
            .members()
            .iter()
            .map(|member| member.worker.in_flight())
            .sum()
    }
}

#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Ledger {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) client_gone: u64,
}

/// Waits (in virtual time) until `holds`, at most `limit`.
pub(crate) async fn within(limit: Duration, holds: impl Fn() -> bool) -> bool {
    let until = tokio::time::Instant::now() + limit;
    while !holds() {
        if tokio::time::Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}
