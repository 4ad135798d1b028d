//! Simulated workers on real sockets.

use axum::{Router, serve::ListenerExt};
use simulated_worker::{Config, Network, Role, SimulatedWorker};
use std::{fmt, io};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Workers that serve, until they are stopped.
pub struct Served {
    workers: Vec<SimulatedWorker>,
    servers: JoinSet<()>,
    engines: JoinSet<()>,
    stop_servers: CancellationToken,
    stop_engines: CancellationToken,
}

/// Why a worker does not serve.
#[derive(Debug)]
pub struct StartError {
    address: String,
    error: io::Error,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.error)
    }
}

impl std::error::Error for StartError {}

impl Served {
    /// Binds every port before anything serves: a port in use starts nothing.
    pub async fn start(configs: Vec<Config>) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        for config in configs {
            listeners.push(Listeners::bind(config).await?);
        }
        let mut served = Self {
            workers: Vec::new(),
            servers: JoinSet::new(),
            engines: JoinSet::new(),
            stop_servers: CancellationToken::new(),
            stop_engines: CancellationToken::new(),
        };
        for listeners in listeners {
            served.add(listeners);
        }
        Ok(served)
    }

    pub fn workers(&self) -> &[SimulatedWorker] {
        &self.workers
    }

    /// Stops accepting, lets requests in flight end, then stops the engines.
    pub async fn stop(mut self) {
        self.stop_servers.cancel();
        while self.servers.join_next().await.is_some() {}
        self.stop_engines.cancel();
        while self.engines.join_next().await.is_some() {}
    }

    fn add(&mut self, listeners: Listeners) {
        let worker = SimulatedWorker::new(listeners.config, &Network::Http);
        self.serve(listeners.http, worker.http());
        if let Some(listener) = listeners.bootstrap {
            self.serve(listener, worker.bootstrap());
        }
        let engine = worker.clone().run(self.stop_engines.clone());
        self.engines.spawn(engine);
        self.workers.push(worker);
    }

    fn serve(&mut self, listener: TcpListener, routes: Router) {
        let stop = self.stop_servers.clone();
        // Tokens are small writes that must not wait for each other.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        self.servers.spawn(async move {
            let server = axum::serve(listener, routes)
                .with_graceful_shutdown(async move { stop.cancelled().await });
            // Accept errors are retried inside; the result is always Ok.
            let _ = server.await;
        });
    }
}

struct Listeners {
    config: Config,
    http: TcpListener,
    bootstrap: Option<TcpListener>,
}

impl Listeners {
    /// Binds a worker's ports; port 0 is replaced by the one that was given.
    async fn bind(mut config: Config) -> Result<Self, StartError> {
        let http = bind(&config.host, &mut config.port).await?;
        let bootstrap = if has_bootstrap(&config) {
            Some(bind(&config.host, &mut config.bootstrap_port).await?)
        } else {
            None
        };
        Ok(Self {
            config,
            http,
            bootstrap,
        })
    }
}

async fn bind(host: &str, port: &mut u16) -> Result<TcpListener, StartError> {
    let failed = |error| StartError {
        address: format!("{host}:{port}"),
        error,
    };
    let listener = TcpListener::bind((host, *port)).await.map_err(failed)?;
    *port = listener.local_addr().map_err(failed)?.port();
    Ok(listener)
}

/// One line about a worker.
pub fn introduction(worker: &SimulatedWorker) -> String {
    let config = worker.config();
    let bootstrap = if has_bootstrap(config) {
        format!(", bootstrap port {}", config.bootstrap_port)
    } else {
        String::new()
    };
    format!(
        "{} worker ready on http://{}:{}{bootstrap}",
        config.role, config.host, config.port
    )
}

/// Every prefill has a bootstrap server, and every worker that may become one.
fn has_bootstrap(config: &Config) -> bool {
    config.role == Role::Prefill || config.enable_pd_role_switch
}

/// The command that starts a router in front of these workers.
pub fn router_command(served: &Served) -> String {
    format!(
        "adaptive-router {} --policy round_robin --host 0.0.0.0 --port 8000",
        worker_flags(served).join(" ")
    )
}

/// The flags that tell a router about these workers.
pub fn worker_flags(served: &Served) -> Vec<String> {
    let mut flags = vec!["--pd-disaggregation".to_owned()];
    for worker in served.workers() {
        let config = worker.config();
        let url = format!("http://{}:{}", config.host, config.port);
        match config.role {
            Role::Prefill => flags.extend([
                "--prefill".to_owned(),
                url,
                config.bootstrap_port.to_string(),
            ]),
            Role::Decode => flags.extend(["--decode".to_owned(), url]),
            Role::Null => {}
        }
    }
    flags
}
