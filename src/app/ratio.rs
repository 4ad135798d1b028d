//! The ratio controller put together.

use std::sync::Arc;

use policies::model::WorkerModel;
use policies::ratio::journal::Head;

use crate::config::Config;
use crate::control::Fleet;
use crate::control::ratio::{Ratio, Steering};
use crate::control::transition::Mover;
use crate::launch::Processes;
use crate::telemetry::{LineLog, LineLogError, Telemetry};

/// How long workers are thought to take. Simulated ones take as many times the model's durations as they are told to.
pub(super) fn model(config: &Config) -> WorkerModel {
    let scale = config
        .fleet
        .simulate
        .as_ref()
        .map_or(1.0, |settings| settings.time_scale);
    WorkerModel::default().scaled(scale)
}

/// Who decides, and within which bounds.
pub(super) fn head(config: &Config) -> Head {
    Head {
        model: model(config),
        itl_seconds: config.slo.itl.as_secs_f64(),
        planner: config.ratio.planner(&config.slo),
        guardrails: config.ratio.guardrails(),
    }
}

/// The control tick, to be run.
pub(super) fn controller(
    config: &Config,
    steering: &Arc<Steering>,
    fleet: Fleet,
    telemetry: &Arc<Telemetry>,
    processes: Option<Arc<dyn Processes>>,
) -> Result<Ratio, LineLogError> {
    let log = config.ratio.decision_log.as_deref();
    let log = log.map(|path| LineLog::open(path, "--decision-log"));
    Ok(Ratio {
        head: steering.head().clone(),
        mover: Mover {
            fleet,
            processes,
            settings: config.ratio.transition.clone(),
            health: config.health.clone(),
        },
        steering: Arc::clone(steering),
        telemetry: Arc::clone(telemetry),
        decision_log: log.transpose()?,
    })
}
