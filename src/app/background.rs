//! What runs beside the requests.

use std::sync::Arc;

use policies::worker::WorkerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::control::{Fleet, health, loads, removal};
use crate::proxy::{Proxy, abort};

/// What the background tasks are sent.
pub(super) struct Inboxes {
    pub(super) suspected: mpsc::Receiver<WorkerId>,
    pub(super) removed: mpsc::Receiver<WorkerId>,
    pub(super) aborts: mpsc::Receiver<abort::Abort>,
}

/// Starts what runs beside the requests, on `tasks` and until `cancel`.
pub(super) fn start(
    proxy: &Proxy,
    fleet: Fleet,
    inboxes: Inboxes,
    tasks: &mut JoinSet<()>,
    cancel: &CancellationToken,
) {
    let Proxy {
        config,
        registry,
        upstream,
        ..
    } = proxy;
    let health = config.health.clone();
    tasks.spawn(health::run(
        fleet.clone(),
        health.clone(),
        inboxes.suspected,
        cancel.clone(),
    ));
    tasks.spawn(loads::run(fleet, health, cancel.clone()));
    tasks.spawn(removal::run(
        Arc::clone(registry),
        inboxes.removed,
        cancel.clone(),
    ));
    tasks.spawn(upstream.clone().close_idle(cancel.clone()));
    tasks.spawn(abort::run(upstream.clone(), inboxes.aborts, cancel.clone()));
}
