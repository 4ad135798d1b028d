//! Who decides about the split, and what the router does besides.

use std::time::Duration;

use policies::{
    model::WorkerModel,
    queue::QueueOrder,
    ratio::{
        ControllerSettings, Drain, GuardrailSettings, PlannerSettings, Split, ThresholdSettings,
    },
    route::PolicyKind,
};

use crate::sim::{Control, Dispatch, Setup, Slo};

/// What every request is held to.
pub const SLO: Slo = Slo {
    ttft: Duration::from_secs(2),
    itl: Duration::from_millis(25),
};

/// Where every arm that moves workers begins.
pub const START: Split = Split {
    prefill: 2,
    decode: 2,
};

/// Prompt tokens that a prefill worker has before it while the router holds further requests: a batch that is computed
/// and one that is ready.
const PENDING_TOKENS: u64 = 16_384;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning {
    Fixed(Split),
    Threshold,
    Controller,
}

impl Planning {
    pub fn name(self) -> String {
        match self {
            Self::Fixed(split) => split.to_string(),
            Self::Threshold => "threshold".to_owned(),
            Self::Controller => "controller".to_owned(),
        }
    }

    pub const fn is_fixed(self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Threshold | Self::Controller => false,
        }
    }
}

/// What the router does besides, with any planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measures {
    /// Requests wait in the router until a prefill worker has room, and those that can still be in time go first; else
    /// they go to the workers at once.
    pub fresh_first: bool,
    /// A worker that is to move hands its answers over; else they run to their ends.
    pub migrate: bool,
}

impl Measures {
    pub const NONE: Self = Self {
        fresh_first: false,
        migrate: false,
    };
    pub const BOTH: Self = Self {
        fresh_first: true,
        migrate: true,
    };
    pub const ALL: [Self; 4] = [
        Self::NONE,
        Self {
            migrate: true,
            ..Self::NONE
        },
        Self {
            fresh_first: true,
            ..Self::NONE
        },
        Self::BOTH,
    ];

    pub const fn name(self) -> &'static str {
        match (self.fresh_first, self.migrate) {
            (false, false) => "neither",
            (false, true) => "migration",
            (true, false) => "fresh-first",
            (true, true) => "fresh-first and migration",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arm {
    pub planning: Planning,
    pub measures: Measures,
}

impl Arm {
    /// The fixed splits and the planners.
    pub fn all_with(measures: Measures) -> Vec<Self> {
        let fixed = Split::all(START.workers()).into_iter().map(Planning::Fixed);
        fixed
            .chain([Planning::Threshold, Planning::Controller])
            .map(|planning| Self { planning, measures })
            .collect()
    }

    pub fn name(&self) -> String {
        self.planning.name()
    }

    pub const fn is_fixed(&self) -> bool {
        self.planning.is_fixed()
    }

    /// A fleet of `model`s under this arm, where a worker that changes its role is away for `dark`.
    pub fn setup(&self, model: WorkerModel, dark: Duration, seed: u64) -> Setup {
        let split = match self.planning {
            Planning::Fixed(split) => split,
            Planning::Threshold | Planning::Controller => START,
        };
        Setup {
            prefill_policy: PolicyKind::PowerOfTwo,
            decode_policy: PolicyKind::PowerOfTwo,
            dispatch: if self.measures.fresh_first {
                Dispatch::WhenThereIsRoom {
                    order: self.order(),
                    pending_tokens: PENDING_TOKENS,
                }
            } else {
                Dispatch::AtOnce
            },
            drain: self.drain(),
            slo: SLO,
            warm: true,
            control: self.planner(dark).map(|planner| Control {
                planner,
                guardrails: GuardrailSettings::default(),
                dark,
            }),
            seed,
            ..Setup::study(model, split.prefill, split.decode)
        }
    }

    const fn drain(&self) -> Drain {
        if self.measures.migrate {
            Drain::Migrate
        } else {
            Drain::Wait
        }
    }

    const fn order(&self) -> QueueOrder {
        if self.measures.fresh_first {
            QueueOrder::FreshFirst
        } else {
            QueueOrder::Fifo
        }
    }

    fn planner(&self, dark: Duration) -> Option<PlannerSettings> {
        match self.planning {
            Planning::Fixed(_) => None,
            Planning::Threshold => Some(PlannerSettings::Threshold(ThresholdSettings {
                ttft_seconds: SLO.ttft.as_secs_f64(),
                itl_seconds: SLO.itl.as_secs_f64(),
                ..ThresholdSettings::default()
            })),
            Planning::Controller => Some(PlannerSettings::Controller(ControllerSettings {
                dark,
                drain: self.drain(),
                queue_order: self.order(),
                ..ControllerSettings::default()
            })),
        }
    }
}
