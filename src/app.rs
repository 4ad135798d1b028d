//! The program put together: who owns which state and which task, and how it all ends.

mod background;
mod listeners;
mod ratio;
mod routes;

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use policies::worker::Role;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::background::Inboxes;
use self::listeners::Listeners;
use self::ratio::WorkerModelError;
use crate::admin::AdminState;
use crate::clock::Clock;
use crate::config::{ClusterSettings, Config, Mode};
use crate::control::ratio::Steering;
use crate::control::{self, Fleet, removal};
use crate::launch::Processes;
use crate::launch::process::{
    Patience as ProcessPatience, ProcessLauncher, ProcessSettings, StartError as LaunchStartError,
    Supervisor, Surroundings,
};
use crate::live::Live;
use crate::proxy::{Admission, KeptBytes, Policies, PrefillQueue, Proxy, WaitingRoom, abort};
use crate::server::{self, BindError, Ending, Patience, TlsError};
use crate::simulate;
use crate::telemetry::trace::{TraceError, Traces};
use crate::telemetry::{Buckets, LineLogError, Metrics, RequestLog, Slo, Telemetry};
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
    Log(LineLogError),
    Model(WorkerModelError),
    Launch(LaunchStartError),
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
            Self::Log(cause) => cause.fmt(f),
            Self::Model(cause) => cause.fmt(f),
            Self::Launch(cause) => cause.fmt(f),
        }
    }
}

impl Error for StartError {}

/// A router that is bound and ready to serve.
pub struct App {
    config: Arc<Config>,
    proxy: Arc<Proxy>,
    /// Where there is a cluster file: starts workers in another role.
    launcher: Option<ProcessLauncher>,
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
        let model = ratio::model(&config).map_err(StartError::Model)?;
        let telemetry = telemetry(&config, clock).map_err(StartError::Log)?;
        let policies = Arc::new(Policies::new(&config.routing));
        let room = WaitingRoom::new(&config.queue, telemetry.queued.clone());
        let queue = PrefillQueue::new(&config, model.prefill, fastrand::u64(..), Arc::clone(&room));
        let registry = registry(&config, clock, &policies, &telemetry, queue.clone());
        for spec in &specs {
            registry.add(spec).map_err(StartError::Worker)?;
        }
        let surroundings = Surroundings {
            registry: Arc::clone(&registry),
            upstream: upstream.clone(),
            metrics: Arc::clone(&telemetry.metrics),
        };
        let launcher = supervise(&config, surroundings, &mut tasks, &background)
            .await
            .map_err(StartError::Launch)?;

        let (aborter, aborts) = abort::channel();
        let (suspects, suspected) = mpsc::channel(SUSPECTS);
        let (removals, removed) = removal::channel();
        let metrics = Arc::clone(&telemetry.metrics);
        let kept_bytes = KeptBytes::new(&config.continuation, metrics.continuations.kept_bytes());
        let proxy = Arc::new(Proxy {
            admission: Admission::new(&config.admission, room, &telemetry.metrics.http),
            queue,
            config: Arc::clone(&config),
            registry: Arc::clone(&registry),
            policies,
            upstream: upstream.clone(),
            clock,
            telemetry: Arc::clone(&telemetry),
            traces: Traces::start(&config.tracing).map_err(StartError::Traces)?,
            kept_bytes,
            aborter,
            suspects,
        });
        let inboxes = Inboxes {
            suspected,
            removed,
            aborts,
        };
        let fleet = Fleet {
            registry: Arc::clone(&registry),
            upstream: upstream.clone(),
            clock,
            metrics: Arc::clone(&metrics),
        };
        background::start(&proxy, fleet.clone(), inboxes, &mut tasks, &background);
        let steering = (config.routing.ratio_controller)
            .then(|| Arc::new(Steering::new(ratio::head(&config, model))));
        let processes = launcher
            .clone()
            .map(|launcher| Arc::new(launcher) as Arc<dyn Processes>);
        if let Some(steering) = &steering {
            let controller = ratio::controller(&config, steering, fleet, &telemetry, processes)
                .map_err(StartError::Log)?;
            tasks.spawn(control::ratio::run(controller, background.clone()));
        }
        let live = Live::new(&registry, telemetry, steering.clone(), &config, clock);
        tasks.spawn(live.clone().run(background.clone()));

        let admin = AdminState {
            registry,
            upstream,
            clock,
            metrics,
            config: Arc::clone(&config),
            removals,
            steering,
        };
        Ok(Self {
            router: routes::main_port(&proxy, admin, live.clone()),
            metrics_router: routes::metrics_port(Arc::clone(&proxy)),
            config,
            proxy,
            launcher,
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

    pub fn launcher(&self) -> Option<&ProcessLauncher> {
        self.launcher.as_ref()
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
                match (&fleet.simulate, &fleet.cluster) {
                    (Some(_), _) => " (simulated, in this process)".to_owned(),
                    (None, Some(settings)) =>
                        format!(" (logs in {})", settings.state_dir.display()),
                    (None, None) => String::new(),
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
            let _ = writeln!(text, "  ratio    {base}/ratio");
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
        let patience = Patience {
            head: self.config.server.head_timeout,
            stall: self.config.server.stall_timeout,
        };
        let connections = Some(self.proxy.telemetry.metrics.http.connections.clone());
        let (live, draining) = (self.live, ending.drain.clone());
        let listeners_end = async {
            draining.cancelled().await;
            live.end();
        };
        tokio::join!(
            listeners_end,
            server::serve(main, tls, self.router, patience, ending, connections),
            server::serve(
                metrics,
                None,
                self.metrics_router,
                patience,
                metrics_ending,
                None
            ),
        );
        self.background.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.proxy.traces.shutdown().await;
    }
}

/// The registry, with those who want to know what becomes of workers.
fn registry(
    config: &Config,
    clock: Clock,
    policies: &Arc<Policies>,
    telemetry: &Arc<Telemetry>,
    queue: Option<Arc<PrefillQueue>>,
) -> Arc<WorkerRegistry> {
    let (policies, telemetry) = (Arc::clone(policies), Arc::clone(telemetry));
    let registry = WorkerRegistry::new(config.breaker.clone(), move |notice| {
        if let Some(id) = notice.retires() {
            policies.forget(id);
        }
        telemetry.notice(clock.now(), &notice);
        if let Some(queue) = &queue {
            queue.room_may_be();
        }
    });
    let first_epoch = if config.routing.ratio_controller {
        fastrand::u32(..)
    } else {
        0
    };
    let itl_target = config.queue.wait_for_decode.then_some(config.slo.itl);
    Arc::new(registry.keeping(itl_target).beginning_in(first_epoch))
}

/// Takes care of the workers of a cluster file, where there is one.
async fn supervise(
    config: &Config,
    surroundings: Surroundings,
    tasks: &mut JoinSet<()>,
    background: &CancellationToken,
) -> Result<Option<ProcessLauncher>, LaunchStartError> {
    let Some(settings) = &config.fleet.cluster else {
        return Ok(None);
    };
    let cluster = Arc::clone(&settings.cluster);
    let (launcher, supervisor) =
        Supervisor::start(cluster, surroundings, processes(settings)).await?;
    tasks.spawn(supervisor.run(background.clone()));
    Ok(Some(launcher))
}

fn processes(settings: &ClusterSettings) -> ProcessSettings {
    ProcessSettings {
        state_dir: settings.state_dir.clone(),
        stop_timeout: settings.stop_timeout,
        stop_on_exit: settings.stop_on_exit,
        patience: ProcessPatience::default(),
        log_bytes: ProcessSettings::LOG_BYTES,
    }
}

fn telemetry(config: &Config, clock: Clock) -> Result<Arc<Telemetry>, LineLogError> {
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
    let mut telemetry = Telemetry::new(Metrics::new(&buckets), slo);
    if let Some(path) = &config.logging.request_log {
        telemetry.request_log = Some(RequestLog::open(path, clock)?);
    }
    Ok(Arc::new(telemetry))
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
