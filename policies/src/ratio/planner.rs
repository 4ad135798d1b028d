//! Which planner decides, with its settings: what a configuration names, and what a journal of decisions begins with.

use serde::{Deserialize, Serialize};

use super::{Controller, ControllerSettings, FixedRatio, Planner, Threshold, ThresholdSettings};
use crate::model::WorkerModel;

/// A planner by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannerSettings {
    /// The split stays.
    Fixed,
    Threshold(ThresholdSettings),
    Controller(ControllerSettings),
}

impl PlannerSettings {
    /// The planner, with nothing seen yet. `itl_seconds` is what decode is to keep between tokens.
    pub fn build(&self, model: WorkerModel, itl_seconds: f64) -> Box<dyn Planner + Send> {
        match self {
            Self::Fixed => Box::new(FixedRatio { model, itl_seconds }),
            Self::Threshold(settings) => Box::new(Threshold::new(model, settings.clone())),
            Self::Controller(settings) => {
                Box::new(Controller::new(model, itl_seconds, settings.clone()))
            }
        }
    }
}
