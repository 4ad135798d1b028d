//! The ratio of prefill to decode workers: what is seen of demand and fleet, and what is decided about it.
//!
//! A decision is a value. It says what to do, why, and what the performance model makes of the present split, so that a
//! reader can hold the prediction against what was measured.

mod fixed;

use std::time::Duration;

use crate::model::WorkerModel;

pub use fixed::FixedRatio;

/// Workers by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    pub prefill: u32,
    pub decode: u32,
}

/// What requests ask for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Demand {
    pub requests_per_second: f64,
    /// Mean lengths in tokens.
    pub prompt_tokens: f64,
    pub output_tokens: f64,
}

/// What the workers are doing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Activity {
    /// Share of the time in which prefill workers computed, 0 to 1, their mean. `None` without two reports to compare.
    pub prefill_busy: Option<f64>,
    /// Sequences that decode workers run, and tokens in their KV pools, all together.
    pub running: u64,
    pub kv_tokens: u64,
}

/// Everything that a decision may depend on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Workers that serve.
    pub split: Split,
    pub demand: Demand,
    pub activity: Activity,
    /// Age of the oldest load report among serving workers; `None` where one has given none.
    pub oldest_report: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Leave the split as it is.
    Hold,
    /// Move a worker to the other role.
    Move,
    /// A move would help, and nobody here can make it.
    Advise,
}

impl Action {
    pub const ALL: [Self; 3] = [Self::Hold, Self::Move, Self::Advise];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Move => "move",
            Self::Advise => "advise",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The split is not to be changed.
    FixedRatio,
    /// No request ended lately: there is nothing to plan for.
    NoDemand,
    /// A worker has not reported its load lately: there is nothing to plan with.
    StaleReadings,
    /// A role has no serving worker.
    RoleUnserved,
}

impl Reason {
    pub const ALL: [Self; 4] = [
        Self::FixedRatio,
        Self::NoDemand,
        Self::StaleReadings,
        Self::RoleUnserved,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FixedRatio => "fixed_ratio",
            Self::NoDemand => "no_demand",
            Self::StaleReadings => "stale_readings",
            Self::RoleUnserved => "role_unserved",
        }
    }
}

/// What a controller is doing, for whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControllerState {
    Off,
    Holding,
    Moving,
    Frozen,
}

impl ControllerState {
    pub const ALL: [Self; 4] = [Self::Off, Self::Holding, Self::Moving, Self::Frozen];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Holding => "holding",
            Self::Moving => "moving",
            Self::Frozen => "frozen",
        }
    }
}

/// Share of each role's capacity: 1 is all of it, more can't be kept up with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Utilisation {
    pub prefill: f64,
    pub decode: f64,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    pub action: Action,
    pub reason: Reason,
    /// The split to be had.
    pub target: Split,
    /// Of the present split under the observed demand.
    pub predicted: Option<Utilisation>,
    /// The same as the workers' own counters have it.
    pub measured: Option<Utilisation>,
    /// Seconds between tokens for what runs now.
    pub predicted_itl: Option<f64>,
}

impl Plan {
    pub const fn state(&self) -> ControllerState {
        match (self.action, self.reason) {
            (Action::Move, _) => ControllerState::Moving,
            (_, Reason::StaleReadings | Reason::RoleUnserved) => ControllerState::Frozen,
            (_, Reason::FixedRatio | Reason::NoDemand) => ControllerState::Holding,
        }
    }
}

/// The utilisation that `model` predicts for `split` under `demand`, where decode is to keep `itl_seconds` between
/// tokens. `None` where a role has no worker or nothing is asked for.
pub fn predict(
    model: &WorkerModel,
    itl_seconds: f64,
    split: Split,
    demand: &Demand,
) -> Option<Utilisation> {
    if split.prefill == 0 || split.decode == 0 || demand.requests_per_second <= 0.0 {
        return None;
    }
    let (prompt, output) = (demand.prompt_tokens as u64, demand.output_tokens as u64);
    let prefill = model.prefill.capacity(prompt, 0.0) * f64::from(split.prefill);
    let decode = model.decode.capacity(itl_seconds, prompt, output) * f64::from(split.decode);
    Some(Utilisation {
        prefill: demand.requests_per_second / prefill,
        decode: demand.requests_per_second / decode.max(f64::MIN_POSITIVE),
    })
}
