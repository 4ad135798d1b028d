//! The ratio of prefill to decode workers: what is seen of demand and fleet, and what is decided about it.
//!
//! A decision is a value. It says what to do, why, and what the performance model makes of the present split, so that a
//! reader can hold the prediction against what was measured.

mod controller;
mod fixed;
mod guardrails;
pub mod journal;
mod need;
mod outlook;
mod planner;
mod present;
mod regimes;
mod reversals;
mod split;
mod standing;
mod threshold;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::estimate::{Traffic, WorkerCounters};
use crate::model::WorkerModel;
use crate::time::Timestamp;
use crate::worker::Role;

pub use controller::{Controller, ControllerSettings, Drain};
pub use fixed::FixedRatio;
pub use guardrails::{Guarded, GuardrailSettings};
pub use need::Need;
pub use planner::PlannerSettings;
pub use split::{BadSplit, MOST_WORKERS, Split};
pub use threshold::{Threshold, ThresholdSettings};

/// Decides about the ratio. It has no clock and no randomness of its own, so that the same looks give the same plans.
pub trait Planner {
    fn plan(&mut self, now: Timestamp, seen: &Observation) -> Plan;
}

impl<P: Planner + ?Sized> Planner for Box<P> {
    fn plan(&mut self, now: Timestamp, seen: &Observation) -> Plan {
        (**self).plan(now, seen)
    }
}

/// What requests ask for.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Demand {
    pub requests_per_second: f64,
    /// Mean lengths in tokens.
    pub prompt_tokens: f64,
    pub output_tokens: f64,
}

/// What the workers are doing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Activity {
    /// Share of the time in which prefill workers computed, 0 to 1, their mean. `None` without two reports to compare.
    pub prefill_busy: Option<f64>,
    /// Sequences that decode workers run, and tokens in their KV pools, all together.
    pub running: u64,
    pub kv_tokens: u64,
}

/// What one serving worker has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLoad {
    pub role: Role,
    /// Prompt tokens before it.
    pub pending_prompt_tokens: u64,
    /// Sequences that it decodes, and those that wait for it.
    pub running: u32,
    pub waiting: u32,
    pub kv_tokens: u64,
}

/// Everything that a decision may depend on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Observation {
    /// Workers that serve.
    pub split: Split,
    pub demand: Demand,
    pub activity: Activity,
    /// What came and ended since the last look.
    #[serde(with = "crate::estimate::sparse")]
    pub traffic: Traffic,
    /// Prompt tokens of the requests that wait in the router.
    pub queued_prompt_tokens: u64,
    /// Requests that became late while they waited there, since the last look.
    #[serde(default)]
    pub turned_late: u64,
    /// They wait because every decode worker has as many requests as it is given at a time.
    #[serde(default)]
    pub decode_full: bool,
    /// The serving workers.
    pub loads: Vec<WorkerLoad>,
    /// What they have counted of their work, where they report it.
    pub counters: Vec<WorkerCounters>,
    /// Age of the oldest load report among serving workers; `None` where one has given none.
    pub oldest_report: Option<Duration>,
    /// A worker is on its way from one role to the other.
    pub moving: bool,
    /// Workers that should serve and don't: unhealthy, starting or failed.
    pub missing: u32,
    /// Whose workers can be moved at all.
    pub movable: Movable,
    /// The split that an operator asked for.
    pub pinned: Option<Split>,
    /// Since a move ended in failure; `None` where none did.
    pub since_failed_move: Option<Duration>,
    /// How long a worker is away when its role is changed, without its drain; `None` before there was a move to tell.
    pub away: Option<Duration>,
}

/// Whether there is a worker of a role whose role can be changed: one that was given by its URL alone can only be
/// where it offers a switch in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movable {
    pub prefill: bool,
    pub decode: bool,
}

impl Default for Movable {
    fn default() -> Self {
        Self {
            prefill: true,
            decode: true,
        }
    }
}

impl Movable {
    pub const fn of(self, role: Role) -> bool {
        match role {
            Role::Prefill => self.prefill,
            Role::Decode => self.decode,
            Role::Regular => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The split is not to be changed.
    FixedRatio,
    /// No request ended lately: there is nothing to plan for.
    NoDemand,
    /// A worker has not reported its load lately: there is nothing to plan with.
    StaleReadings,
    /// A role has no serving worker.
    RoleUnserved,
    /// The split is good enough for what comes.
    Sufficient,
    /// A better split would not gain, while the mix lasts, what getting there costs.
    NotWorthIt,
    /// A move would pay; the next look has to agree.
    Confirming,
    /// Prefill can't keep up, and decode can give a worker.
    PrefillShort,
    /// Decode can't keep up, and prefill can give a worker.
    DecodeShort,
    /// A move is under way.
    Moving,
    /// The last move was a short while ago.
    Cooldown,
    /// As many moves as may were made this hour.
    BudgetSpent,
    /// The move would leave a role without a worker.
    LastWorker,
    /// A worker that should serve doesn't.
    WorkerMissing,
    /// An operator asked for this split.
    Pinned,
    /// A move failed a while ago: somebody should look.
    MoveFailed,
}

impl Reason {
    pub const ALL: [Self; 16] = [
        Self::FixedRatio,
        Self::NoDemand,
        Self::StaleReadings,
        Self::RoleUnserved,
        Self::Sufficient,
        Self::NotWorthIt,
        Self::Confirming,
        Self::PrefillShort,
        Self::DecodeShort,
        Self::Moving,
        Self::Cooldown,
        Self::BudgetSpent,
        Self::LastWorker,
        Self::WorkerMissing,
        Self::Pinned,
        Self::MoveFailed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FixedRatio => "fixed_ratio",
            Self::NoDemand => "no_demand",
            Self::StaleReadings => "stale_readings",
            Self::RoleUnserved => "role_unserved",
            Self::Sufficient => "sufficient",
            Self::NotWorthIt => "not_worth_it",
            Self::Confirming => "confirming",
            Self::PrefillShort => "prefill_short",
            Self::DecodeShort => "decode_short",
            Self::Moving => "moving",
            Self::Cooldown => "cooldown",
            Self::BudgetSpent => "budget_spent",
            Self::LastWorker => "last_worker",
            Self::WorkerMissing => "worker_missing",
            Self::Pinned => "pinned",
            Self::MoveFailed => "move_failed",
        }
    }

    /// The same in a sentence.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::FixedRatio => "the split is not to be changed",
            Self::NoDemand => "no request ended lately: there is nothing to plan for",
            Self::StaleReadings => {
                "a worker has not reported its load lately: there is nothing to plan with"
            }
            Self::RoleUnserved => "a role has no serving worker",
            Self::Sufficient => "the split is good enough for what comes",
            Self::NotWorthIt => {
                "a better split would not gain, while the mix lasts, what getting there costs"
            }
            Self::Confirming => "a move would pay; the next look has to agree",
            Self::PrefillShort => "prefill can't keep up, and decode can give a worker",
            Self::DecodeShort => "decode can't keep up, and prefill can give a worker",
            Self::Moving => "a move is under way",
            Self::Cooldown => "the last move was a short while ago",
            Self::BudgetSpent => "as many moves as may were made this hour",
            Self::LastWorker => "the move would leave a role without a worker",
            Self::WorkerMissing => "a worker that should serve doesn't",
            Self::Pinned => "an operator asked for this split",
            Self::MoveFailed => "a move failed a while ago: look at that worker",
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Utilisation {
    pub prefill: f64,
    pub decode: f64,
}

impl Utilisation {
    /// Of the fuller role.
    pub fn highest(&self) -> f64 {
        self.prefill.max(self.decode)
    }
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub action: Action,
    pub reason: Reason,
    /// The split to be had.
    pub target: Split,
    /// Whose worker is to be moved.
    pub donor: Option<Role>,
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
            (Action::Move, _) | (_, Reason::Moving) => ControllerState::Moving,
            (
                _,
                Reason::StaleReadings
                | Reason::RoleUnserved
                | Reason::WorkerMissing
                | Reason::MoveFailed,
            ) => ControllerState::Frozen,
            (Action::Hold | Action::Advise, _) => ControllerState::Holding,
        }
    }

    /// The same plan, not carried out.
    #[must_use]
    pub const fn held(self, reason: Reason, split: Split) -> Self {
        Self {
            action: Action::Hold,
            reason,
            target: split,
            donor: None,
            ..self
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
