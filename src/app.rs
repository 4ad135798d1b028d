//! The program put together: who owns which state and which task, and how it all ends.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::{Router, middleware};
use http::Method;
use policies::model::WorkerModel;
use policies::ratio::FixedRatio;
use policies::worker::{Role, WorkerId};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::admin::{self, AdminState};
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::control::{Fleet, health, loads, ratio, removal};
use crate::error::ERROR_CODE;
use crate::live::{self, Live};
use crate::proxy::{self, Admission, Policies, Proxy, abort};
use crate::server::{self, BindError, Ending, TlsError};
use crate::simulate;
use crate::telemetry::trace::{TraceError, Traces};
use crate::telemetry::{Buckets, Metrics, Slo, Telemetry};
use crate::ui;
use crate::upstream::{Upstream, UpstreamBuildError};
use crate::workers::{AddError, WorkerRegistry, WorkerSpec, WorkerUrl, WorkerUrlError};

/// Workers that may wait for a check out of turn.
const SUSPECTS: usize = 256;

/// Why the router did not start.
#[derive(Debug)]
pub enum StartError {
    Upstream(UpstreamBuildError),
    Tls(TlsError),
    Bind(BindError),
    WorkerUrl(WorkerUrlError),
    Worker(AddError),
    Traces(TraceError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(cause) => cause.fmt(f),
            Self::Tls(cause) => cause.fmt(f),
            Self::Bind(cause) => cause.fmt(f),
            Self::WorkerUrl(cause) => cause.fmt(f),
            Self::Worker(cause) => cause.fmt(f),
            Self::Traces(cause) => cause.fmt(f),
        }
    }
}

impl Error for StartError {}

/// A router that is bound and ready to serve.
pub struct App {
    config: Arc<Config>,
    proxy: Arc<Proxy>,
    listeners: Listeners,
    router: Router,
    metrics_router: Router,
    live: Live,
    /// The background tasks. They end with `background`.
    tasks: JoinSet<()>,
    background: CancellationToken,
}

impl App {
    /// Builds everything, binds both ports and starts the background tasks.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let mut upstream = Upstream::new(config.timeouts.connect, &config.upstream_tls)
            .map_err(StartError::Upstream)?;
        let listeners = Listeners::bind(&config).await?;
        let background = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut specs = specs(&config).map_err(StartError::WorkerUrl)?;
        if let Some(settings) = &config.fleet.simulate {
            specs.extend(simulate::start(
                settings,
                &mut upstream,
                &mut tasks,
                &background,
            ));
        }

        let clock = Clock::start();
        let telemetry = telemetry(&config);
        let policies = Arc::new(Policies::new(&config.routing));
        let registry = registry(&config, clock, &policies, &telemetry);
        for spec in &specs {
            registry.add(spec).map_err(StartError::Worker)?;
        }

        let (aborter, aborts) = abort::channel();
        let (suspects, suspected) = mpsc::channel(SUSPECTS);
        let (removals, removed) = removal::channel();
        let metrics = Arc::clone(&telemetry.metrics);
        let proxy = Arc::new(Proxy {
            admission: Admission::new(&config.admission, metrics.requests.queued.clone()),
            config: Arc::clone(&config),
            registry: Arc::clone(&registry),
            policies,
            upstream: upstream.clone(),
            clock,
            telemetry: Arc::clone(&telemetry),
            traces: Traces::start(&config.tracing).map_err(StartError::Traces)?,
            aborter,
            suspects,
        });
        let inboxes = Inboxes {
            suspected,
            removed,
            aborts,
        };
        start_background(&proxy, inboxes, &mut tasks, &background);
        let live = Live::new(Arc::clone(&registry), telemetry, Arc::clone(&config), clock);
        tasks.spawn(live.clone().run(background.clone()));

        let admin = AdminState {
            registry,
            upstream,
            clock,
            metrics,
            config: Arc::clone(&config),
            removals,
        };
        Ok(Self {
            router: router(&proxy, admin, live.clone()),
            metrics_router: metrics_router(Arc::clone(&proxy)),
            config,
            proxy,
            listeners,
            live,
            tasks,
            background,
        })
    }

    /// The main port as bound: useful where the configured one is 0.
    pub fn port(&self) -> u16 {
        self.listeners
            .main
            .local_addr()
            .map_or(self.config.server.port, |address| address.port())
    }

    pub fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// What runs, for whoever started it.
    pub fn announce(&self) {
        // Nobody reads it: no reason not to serve.
        let _ = std::io::stdout().write_all(self.announcement().as_bytes());
    }

    fn announcement(&self) -> String {
        let Config {
            server,
            metrics,
            routing,
            fleet,
            ..
        } = &*self.config;
        let set = self.proxy.registry.snapshot();
        let host = if server.host == "0.0.0.0" {
            "127.0.0.1"
        } else {
            &server.host
        };
        let scheme = if self.listeners.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let base = format!("{scheme}://{host}:{}", self.port());
        let mut text = match fleet.mode {
            Mode::Pd => format!(
                "adaptive-router: {} prefill and {} decode workers{}, policies {} and {}\n",
                set.count(Role::Prefill),
                set.count(Role::Decode),
                if fleet.simulate.is_some() {
                    " (simulated, in this process)"
                } else {
                    ""
                },
                routing.prefill.as_str(),
                routing.decode.as_str(),
            ),
            Mode::Regular => format!(
                "adaptive-router: {} regular workers, policy {}\n",
                set.count(Role::Regular),
                routing.prefill.as_str()
            ),
        };
        for member in set.members() {
            let _ = writeln!(text, "  {:8} {}", member.role.as_str(), member.worker.url);
        }
        if routing.ratio_controller {
            text += "  ratio    fixed: this version has no controller yet, so the split stays as it starts\n";
        }
        let body = r#"{"model":"m","messages":[{"role":"user","content":"Hello"}],"stream":true,"max_tokens":16}"#;
        let _ = write!(
            text,
            "  page     {base}/ui\n  metrics  http://{}:{}/metrics\n  try      curl -N {base}/v1/chat/completions -H 'content-type: application/json' -d '{body}'\n",
            metrics.host, metrics.port,
        );
        text
    }

    /// Serves until `drain` is cancelled and what runs has ended, or until `abort` is.
    pub async fn run(mut self, drain: CancellationToken, abort: CancellationToken) {
        let ending = Ending {
            drain,
            abort,
            grace: self.config.server.shutdown_grace_period,
        };
        let metrics_ending = Ending {
            grace: std::time::Duration::ZERO,
            ..ending.clone()
        };
        let Listeners { main, tls, metrics } = self.listeners;
        let connections = Some(self.proxy.telemetry.metrics.http.connections.clone());
        let (live, draining) = (self.live, ending.drain.clone());
        let listeners_end = async {
            draining.cancelled().await;
            live.end();
        };
        tokio::join!(
            listeners_end,
            server::serve(main, tls, self.router, ending, connections),
            server::serve(metrics, None, self.metrics_router, metrics_ending, None),
        );
        self.background.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.proxy.traces.shutdown().await;
    }
}

/// The ports.
struct Listeners {
    main: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
    metrics: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, StartError> {
        let Config {
            server, metrics, ..
        } = config;
        let tls = match (&server.tls_cert_path, &server.tls_key_path) {
            (Some(certificate), Some(key)) => {
                Some(server::tls_acceptor(certificate, key).map_err(StartError::Tls)?)
            }
            _ => None,
        };
        let main = server::bind(&server.host, server.port, "--port");
        let metrics = server::bind(&metrics.host, metrics.port, "--prometheus-port");
        Ok(Self {
            main: main.await.map_err(StartError::Bind)?,
            tls,
            metrics: metrics.await.map_err(StartError::Bind)?,
        })
    }
}

/// What the background tasks are sent.
struct Inboxes {
    suspected: mpsc::Receiver<WorkerId>,
    removed: mpsc::Receiver<WorkerId>,
    aborts: mpsc::Receiver<abort::Abort>,
}

/// Starts what runs beside the requests, on `tasks` and until `cancel`.
fn start_background(
    proxy: &Proxy,
    inboxes: Inboxes,
    tasks: &mut JoinSet<()>,
    cancel: &CancellationToken,
) {
    let Proxy {
        config,
        registry,
        upstream,
        clock,
        telemetry,
        ..
    } = proxy;
    let fleet = Fleet {
        registry: Arc::clone(registry),
        upstream: upstream.clone(),
        clock: *clock,
        metrics: Arc::clone(&telemetry.metrics),
    };
    let health = config.health.clone();
    tasks.spawn(health::run(
        fleet.clone(),
        health.clone(),
        inboxes.suspected,
        cancel.clone(),
    ));
    tasks.spawn(loads::run(fleet, health, cancel.clone()));
    let registry = Arc::clone(registry);
    tasks.spawn(removal::run(
        Arc::clone(&registry),
        inboxes.removed,
        cancel.clone(),
    ));
    tasks.spawn(abort::run(upstream.clone(), inboxes.aborts, cancel.clone()));
    if config.routing.ratio_controller {
        let telemetry = Arc::clone(telemetry);
        let planner = planner(config);
        tasks.spawn(ratio::run(
            registry,
            telemetry,
            *clock,
            planner,
            cancel.clone(),
        ));
    }
}

/// The registry, with those who want to know what becomes of workers.
fn registry(
    config: &Config,
    clock: Clock,
    policies: &Arc<Policies>,
    telemetry: &Arc<Telemetry>,
) -> Arc<WorkerRegistry> {
    let (policies, telemetry) = (Arc::clone(policies), Arc::clone(telemetry));
    Arc::new(WorkerRegistry::new(config.breaker.clone(), move |notice| {
        if let Some(id) = notice.retires() {
            policies.forget(id);
        }
        telemetry.notice(clock.now(), &notice);
    }))
}

fn telemetry(config: &Config) -> Arc<Telemetry> {
    let metrics = &config.metrics;
    let buckets = Buckets::new(
        &metrics.duration_buckets,
        &metrics.ttft_buckets,
        &metrics.itl_buckets,
    );
    let slo = Slo {
        ttft: config.slo.ttft,
        itl: config.slo.itl,
    };
    Arc::new(Telemetry::new(Metrics::new(&buckets), slo))
}

/// The planner of the ratio. Simulated workers take as many times the model's durations as they are told to.
fn planner(config: &Config) -> FixedRatio {
    let scale = config
        .fleet
        .simulate
        .as_ref()
        .map_or(1.0, |settings| settings.time_scale);
    FixedRatio {
        model: WorkerModel::default().scaled(scale),
        itl_seconds: config.slo.itl.as_secs_f64(),
    }
}

/// The workers that the command line names.
fn specs(config: &Config) -> Result<Vec<WorkerSpec>, WorkerUrlError> {
    let fleet = &config.fleet;
    let named = |url: &str, role| Ok(WorkerSpec::new(WorkerUrl::parse(url)?, role));
    let prefill = fleet.prefill.iter().map(|prefill| {
        Ok(WorkerSpec {
            bootstrap_port: prefill.bootstrap_port,
            ..named(&prefill.url, Role::Prefill)?
        })
    });
    let decode = fleet.decode.iter().map(|url| named(url, Role::Decode));
    let regular = fleet
        .worker_urls
        .iter()
        .map(|url| named(url, Role::Regular));
    prefill.chain(decode).chain(regular).collect()
}

fn router(proxy: &Arc<Proxy>, admin: AdminState, live: Live) -> Router {
    let config = Arc::clone(&proxy.config);
    let inference = proxy::routes(proxy).route_layer(middleware::from_fn_with_state(
        Arc::clone(&config),
        admin::auth::require_api_key,
    ));
    inference
        .merge(admin::routes(admin))
        .merge(ui::routes())
        .merge(live::routes(live))
        .fallback(proxy::not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(proxy), count))
        .layer(CatchPanicLayer::new())
        .layer(cors(&config.server.cors_allowed_origins))
}

/// Counts requests and responses. The path is the route's pattern, so that ids in paths make no series of their own.
async fn count(State(proxy): State<Arc<Proxy>>, request: Request, next: Next) -> Response {
    let received = Instant::now();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let path = matched.as_ref().map_or("unknown", MatchedPath::as_str);
    let method = method_label(&method);
    let http = &proxy.telemetry.metrics.http;
    http.received(method, path);
    let response = next.run(request).await;
    let code = response.headers().get(ERROR_CODE);
    let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
    let status = response.status();
    http.responded(method, path, status.as_str(), code, received.elapsed());
    response
}

/// A method that clients make up makes no series.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
    ];
    const NAMES: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    let position = KNOWN.iter().position(|known| known == method);
    position.map_or("other", |position| NAMES[position])
}

/// The metrics port answers every path with the metrics, as the peer's does.
fn metrics_router(proxy: Arc<Proxy>) -> Router {
    Router::new().fallback(move || {
        let text = proxy.metrics_text();
        async move {
            (
                [(http::header::CONTENT_TYPE, prometheus::TEXT_FORMAT)],
                text,
            )
        }
    })
}

/// Any origin unless some are named, as the peer has it.
fn cors(origins: &[String]) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods(tower_http::cors::Any)
        .allow_headers(tower_http::cors::Any);
    if origins.is_empty() {
        return layer.allow_origin(tower_http::cors::Any);
    }
    layer.allow_origin(AllowOrigin::list(
        origins.iter().filter_map(|origin| origin.parse().ok()),
    ))
}
