//! An SGLang prefill/decode worker without a GPU.
//!
//! It speaks the worker's HTTP side (SGLang 0.5.23) and its bootstrap server, forms batches, takes as long as a
//! [`Timing`] says, and answers with text that is a pure function of the prompt ([`answer`]). It shares no type with
//! any router: what it sends and accepts was written down from the real worker, so that a router tested against it is
//! tested against SGLang's wire format and not against its own idea of it.
//!
//! ```
//! # async fn example() {
//! use simulated_worker::{Config, Network, Role, SimulatedWorker};
//! use tokio_util::sync::CancellationToken;
//!
//! let worker = SimulatedWorker::new(Config::instant(Role::Null), &Network::Http);
//! let routes = worker.http(); // an axum Router: serve it, or call it in memory
//! worker.run(CancellationToken::new()).await; // the engine; whoever starts a worker owns this future
//! # }
//! ```
//!
//! One thing is unlike a real worker where it is called in memory: a decode fetches its KV while its response is
//! polled. A caller that holds a response without reading it holds up the transfer.

pub mod answer;
mod backend;
mod config;
mod counters;
mod engine;
mod faults;
mod http;
mod network;
mod rendezvous;
pub mod stamp;
mod ticket;
mod timing;

pub use crate::{
    backend::{TransferBackend, UnknownBackend},
    config::{Config, Pace, Role, UnknownRole},
    counters::Stats,
    faults::{Fault, Faults, Rule, RuleError},
    http::reset::ConnectionReset,
    network::{Network, Switchboard},
    timing::Timing,
};

use axum::Router;
use engine::Engine;
use network::Dial;
use rendezvous::Receiver;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// One worker; a cheap handle.
#[derive(Clone)]
pub struct SimulatedWorker {
    engine: Arc<Engine>,
    receiver: Arc<Receiver>,
}

impl SimulatedWorker {
    pub fn new(config: Config, network: &Network) -> Self {
        Self {
            engine: Arc::new(Engine::new(config)),
            receiver: Arc::new(Receiver::new(Dial::new(network))),
        }
    }

    /// The worker's HTTP side.
    pub fn http(&self) -> Router {
        http::routes(self.clone())
    }

    /// The bootstrap server's HTTP side. A prefill worker has one, and with `enable_pd_role_switch` every worker.
    pub fn bootstrap(&self) -> Router {
        rendezvous::server(Arc::clone(&self.engine))
    }

    /// The engine: nothing is computed unless this runs. Ends when cancelled; requests in flight then stay unanswered.
    /// Ends by itself in a crash, which breaks them.
    pub async fn run(self, cancel: CancellationToken) {
        self.engine.run(cancel).await;
    }

    /// Waits until the scheduler dies. Nothing is answered after that; a worker that is a process of its own ends.
    pub async fn crashed(&self) {
        self.engine.crashed().await;
    }

    pub fn config(&self) -> &Config {
        &self.engine.config
    }

    /// The live role.
    pub fn role(&self) -> Role {
        self.engine.role()
    }

    pub fn faults(&self) -> &Faults {
        &self.engine.faults
    }

    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }
}
