//! A scenario's keys, with units last in their names, and what they mean to the simulator.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use policies::{
    model::WorkerModel,
    queue::{self, QueueOrder},
    ratio::{ControllerSettings, GuardrailSettings, PlannerSettings, Split, ThresholdSettings},
    route::PolicyKind,
    time::Timestamp,
    worker::Role,
};
use serde::Deserialize;

use super::{Scenario, ValueError};
use crate::{
    model_file,
    sim::{Control, Dispatch, Failure, RoleChange, Setup, Slo},
    workload::WorkloadSpec,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioFile {
    description: String,
    fleet: Fleet,
    #[serde(default)]
    routing: Routing,
    #[serde(default)]
    slo: Targets,
    workload: WorkloadSpec,
    /// Launchers by name.
    #[serde(default)]
    launchers: BTreeMap<String, Launcher>,
    #[serde(default)]
    role_changes: Vec<Change>,
    /// Who decides about the split; where absent, it stays.
    control: Option<Planning>,
    #[serde(default)]
    failures: Vec<WorkerFailure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fleet {
    splits: Vec<String>,
    /// Model file, relative to the scenario; where absent, the one that comes with the program.
    model: Option<PathBuf>,
    /// Whether the workers have had their first batch already.
    #[serde(default = "warm")]
    warm: bool,
}

fn warm() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Routing {
    prefill: PolicyKind,
    decode: PolicyKind,
    /// Where absent, requests go straight to the workers and wait there.
    queue: Option<Queue>,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            prefill: PolicyKind::RoundRobin,
            decode: PolicyKind::RoundRobin,
            queue: None,
        }
    }
}

/// Requests wait in the router while every prefill worker has this much before it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Queue {
    order: QueueOrder,
    pending_tokens: u64,
    /// Whether requests wait for a place on a decode worker, too: `--wait-for-decode`.
    #[serde(default)]
    decode_places: bool,
}

/// The router's own defaults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Targets {
    ttft_ms: u64,
    itl_ms: u64,
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            ttft_ms: 2000,
            itl_ms: 25,
        }
    }
}

/// What changes a worker's role, by what it costs: how long a worker that has nothing left to do is away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Launcher {
    dark_s: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Planning {
    planner: Planner,
    launcher: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Planner {
    Threshold,
    Controller,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    at_s: f64,
    from: Role,
    launcher: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerFailure {
    at_s: f64,
    worker: usize,
    down_s: f64,
}

impl ScenarioFile {
    pub(super) fn into_scenario(self, folder: PathBuf) -> Result<Scenario, ValueError> {
        let splits = self.splits()?;
        let away = self.away()?;
        let setup = Setup {
            prefill_policy: self.routing.prefill,
            decode_policy: self.routing.decode,
            dispatch: self.dispatch(),
            queue_timeout: Some(queue::TIMEOUT),
            slo: Slo {
                ttft: Duration::from_millis(self.slo.ttft_ms),
                itl: Duration::from_millis(self.slo.itl_ms),
            },
            warm: self.fleet.warm,
            changes: self.changes()?,
            control: self.control()?,
            failures: self.failures(&splits)?,
            // Split and seed are those of each run.
            ..Setup::study(self.model(&folder)?, 0, 0)
        };
        Ok(Scenario {
            description: self.description,
            splits,
            away,
            setup,
            workload: self.workload,
            folder,
        })
    }

    fn model(&self, folder: &Path) -> Result<WorkerModel, ValueError> {
        let file = self.fleet.model.as_ref().map(|file| folder.join(file));
        model_file::load_or_default(file.as_deref()).map_err(ValueError::Model)
    }

    fn splits(&self) -> Result<Vec<Split>, ValueError> {
        let splits = self.fleet.splits.iter().map(|text| text.parse());
        let splits = splits
            .collect::<Result<Vec<_>, _>>()
            .map_err(ValueError::Split)?;
        if splits.is_empty() {
            return Err(ValueError::NoSplit);
        }
        Ok(splits)
    }

    fn away(&self) -> Result<Vec<Duration>, ValueError> {
        let launchers = self.launchers.values();
        let away = launchers.map(|launcher| seconds("launchers.dark_s", launcher.dark_s));
        let mut away = away.collect::<Result<Vec<_>, _>>()?;
        away.sort_unstable();
        away.dedup();
        Ok(away)
    }

    fn dispatch(&self) -> Dispatch {
        match &self.routing.queue {
            None => Dispatch::AtOnce,
            Some(queue) => Dispatch::WhenThereIsRoom {
                order: queue.order,
                pending_tokens: queue.pending_tokens,
                decode_places: queue.decode_places,
            },
        }
    }

    fn changes(&self) -> Result<Vec<RoleChange>, ValueError> {
        self.role_changes
            .iter()
            .map(|change| {
                if change.from == Role::Regular {
                    return Err(ValueError::Role);
                }
                Ok(RoleChange {
                    at: moment("role_changes.at_s", change.at_s)?,
                    from: change.from,
                    dark: self.dark(&change.launcher)?,
                })
            })
            .collect()
    }

    fn control(&self) -> Result<Option<Control>, ValueError> {
        let Some(planning) = &self.control else {
            return Ok(None);
        };
        let dark = self.dark(&planning.launcher)?;
        let (ttft, itl) = (self.slo.ttft_ms, self.slo.itl_ms);
        let planner = match planning.planner {
            Planner::Threshold => PlannerSettings::Threshold(ThresholdSettings {
                ttft_seconds: ttft as f64 / 1000.0,
                itl_seconds: itl as f64 / 1000.0,
                ..ThresholdSettings::default()
            }),
            Planner::Controller => PlannerSettings::Controller(ControllerSettings {
                dark,
                queue_order: self.queue_order(),
                wait_for_decode: self.waits_for_decode(),
                ..ControllerSettings::default()
            }),
        };
        Ok(Some(Control {
            planner,
            guardrails: GuardrailSettings::default(),
            dark,
        }))
    }

    fn waits_for_decode(&self) -> bool {
        let queue = self.routing.queue.as_ref();
        queue.is_some_and(|queue| queue.decode_places)
    }

    fn queue_order(&self) -> QueueOrder {
        let queue = self.routing.queue.as_ref();
        queue.map_or(QueueOrder::Fifo, |queue| queue.order)
    }

    /// How long a worker is away that `launcher` changes the role of.
    fn dark(&self, launcher: &str) -> Result<Duration, ValueError> {
        let known = self.launchers.get(launcher);
        let launcher = known.ok_or_else(|| ValueError::UnknownLauncher {
            named: launcher.to_owned(),
            known: self.launchers.keys().cloned().collect(),
        })?;
        seconds("launchers.dark_s", launcher.dark_s)
    }

    fn failures(&self, splits: &[Split]) -> Result<Vec<Failure>, ValueError> {
        let known = |worker: usize, split: &Split| worker < (split.prefill + split.decode) as usize;
        self.failures
            .iter()
            .map(|failure| {
                let worker = failure.worker;
                if let Some(split) = splits.iter().find(|split| !known(worker, split)) {
                    let split = *split;
                    return Err(ValueError::UnknownWorker { worker, split });
                }
                Ok(Failure {
                    at: moment("failures.at_s", failure.at_s)?,
                    worker,
                    down: seconds("failures.down_s", failure.down_s)?,
                })
            })
            .collect()
    }
}

fn moment(key: &'static str, found: f64) -> Result<Timestamp, ValueError> {
    Ok(Timestamp::ZERO.after(seconds(key, found)?))
}

/// A year at most: more is a slip, and sums of it stay far from overflowing.
fn seconds(key: &'static str, found: f64) -> Result<Duration, ValueError> {
    if (0.0..=365.0 * 86_400.0).contains(&found) {
        Ok(Duration::from_secs_f64(found))
    } else {
        Err(ValueError::Seconds { key, found })
    }
}
