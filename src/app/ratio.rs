//! The ratio controller put together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policies::model::WorkerModel;
use policies::queue::QueueOrder;
use policies::ratio::journal::Head;

use crate::config::Config;
use crate::control::Fleet;
use crate::control::ratio::{Ratio, Steering};
use crate::control::transition::Mover;
use crate::launch::Processes;
use crate::telemetry::{LineLog, LineLogError, Telemetry};

/// The model file can't be used.
#[derive(Debug)]
pub struct WorkerModelError {
    path: PathBuf,
    cause: String,
}

impl fmt::Display for WorkerModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot use the performance model {}: {}; name another file with --worker-model",
            self.path.display(),
            self.cause
        )
    }
}

impl std::error::Error for WorkerModelError {}

/// How long workers are thought to take. Simulated ones take as many times the model's durations as they are told to.
pub(super) fn model(config: &Config) -> Result<WorkerModel, WorkerModelError> {
    let model = match &config.ratio.worker_model {
        None => WorkerModel::default(),
        Some(path) => read(path).map_err(|cause| WorkerModelError {
            path: path.clone(),
            cause,
        })?,
    };
    let scale = config
        .fleet
        .simulate
        .as_ref()
        .map_or(1.0, |settings| settings.time_scale);
    Ok(model.scaled(scale))
}

fn read(path: &Path) -> Result<WorkerModel, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    WorkerModel::from_toml(&text).map_err(|error| error.to_string())
}

/// Who decides, and within which bounds.
pub(super) fn head(config: &Config, model: WorkerModel) -> Head {
    // Without a bound requests wait at the workers, which take them in the order of arrival.
    let bound = config.queue.prefill_tokens;
    let order = bound.map_or(QueueOrder::Fifo, |_| config.queue.order);
    Head {
        model,
        itl_seconds: config.slo.itl.as_secs_f64(),
        planner: config
            .ratio
            .planner(&config.slo, order, config.queue.wait_for_decode),
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
        wait_for_decode: config.queue.wait_for_decode,
    })
}
