//! What runs beside the requests.

use std::sync::Arc;

use policies::model::WorkerModel;
use policies::ratio::FixedRatio;
use policies::worker::WorkerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::{Fleet, health, loads, ratio, removal};
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

/// How long workers are thought to take. Simulated ones take as many times the model's durations as they are told to.
pub(super) fn model(config: &Config) -> WorkerModel {
    let scale = config
        .fleet
        .simulate
        .as_ref()
        .map_or(1.0, |settings| settings.time_scale);
    WorkerModel::default().scaled(scale)
}

/// The planner of the ratio.
fn planner(config: &Config) -> FixedRatio {
    FixedRatio {
        model: model(config),
        itl_seconds: config.slo.itl.as_secs_f64(),
    }
}
