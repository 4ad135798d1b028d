//! Who decides about the split, and what the router does besides.

use std::time::Duration;

use policies::{
    queue::{self, QueueOrder},
    ratio::{
        ControllerSettings, Drain, GuardrailSettings, PlannerSettings, Split, ThresholdSettings,
    },
    route::PolicyKind,
};

use serde::{Deserialize, Serialize};

use super::engines::Fleet;
use crate::sim::{self, ChunkCost, Control, Dispatch, Setup, Slo};

/// What every request is held to, unless a scenario says otherwise.
pub const SLO: Slo = Slo {
    ttft: Duration::from_secs(2),
    itl: Duration::from_millis(25),
};

/// Where every arm of the standard grid begins that moves workers.
pub const START: Split = Split {
    prefill: 2,
    decode: 2,
};

/// Prompt tokens that a prefill worker has before it while the router holds further requests: a batch that is computed
/// and one that is ready.
const PENDING_TOKENS: u64 = 16_384;

/// Where a chunk costs as much as a prefill worker's batch, a worker that does both has to let prompts come together. Best
/// of 0, 5, 10, 20 and 40 for both engines, on phases of 5 minutes at a load of about 0.8 with seed 1.
const STEPS_BETWEEN_CHUNKS: u32 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning {
    Fixed(Split),
    Threshold,
    Controller,
    /// The controller decides and nothing is moved: the same as the split that it begins with.
    Advise,
    /// The controller is told how long answers will be as their requests come.
    KnownLengths,
    /// The best schedule that was found for the very requests it is scored on.
    Oracle,
    /// No disaggregation: all workers do both.
    Aggregated(ChunkCost),
}

impl Planning {
    /// What moves workers without knowing what comes.
    pub const PLANNERS: [Self; 2] = [Self::Threshold, Self::Controller];
    pub const AGGREGATED: [Self; 2] = [
        Self::Aggregated(ChunkCost::AsPrefill),
        Self::Aggregated(ChunkCost::TokensAlone),
    ];

    pub fn name(self) -> String {
        match self {
            Self::Fixed(split) => split.to_string(),
            Self::Threshold => "threshold".to_owned(),
            Self::Controller => "controller".to_owned(),
            Self::Advise => "controller, advise only".to_owned(),
            Self::KnownLengths => "controller, known lengths".to_owned(),
            Self::Oracle => "oracle".to_owned(),
            Self::Aggregated(ChunkCost::AsPrefill) => "aggregated".to_owned(),
            Self::Aggregated(ChunkCost::TokensAlone) => "aggregated, at best".to_owned(),
        }
    }

    /// Whether workers keep their roles whatever happens, so that it makes no difference what a move would cost.
    pub const fn stays(self) -> bool {
        match self {
            Self::Fixed(_) | Self::Aggregated(_) | Self::Advise => true,
            Self::Threshold | Self::Controller | Self::KnownLengths | Self::Oracle => false,
        }
    }

    pub const fn is_fixed(self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Threshold
            | Self::Controller
            | Self::Advise
            | Self::KnownLengths
            | Self::Oracle
            | Self::Aggregated(_) => false,
        }
    }
}

/// What the router does besides, with any planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Measures {
    /// Requests wait in the router until a prefill worker has room, and those that can still be in time go first; else
    /// they go to the workers at once.
    pub fresh_first: bool,
    /// A worker that is to move hands its answers over; else they run to their ends.
    pub migrate: bool,
    /// Requests wait in the router for a place on a decode worker, too, in the same line; else there, in the order of
    /// arrival.
    #[serde(default)]
    pub wait_for_decode: bool,
}

impl Measures {
    pub const NONE: Self = Self {
        fresh_first: false,
        migrate: false,
        wait_for_decode: false,
    };
    pub const EVERY: Self = Self {
        fresh_first: true,
        migrate: true,
        wait_for_decode: true,
    };
    /// From none to every one, and what there is between them.
    pub const ALL: [Self; 6] = [
        Self::NONE,
        Self {
            migrate: true,
            ..Self::NONE
        },
        Self {
            fresh_first: true,
            ..Self::NONE
        },
        Self {
            wait_for_decode: false,
            ..Self::EVERY
        },
        Self {
            migrate: false,
            ..Self::EVERY
        },
        Self::EVERY,
    ];

    pub fn name(self) -> String {
        let named = [
            (self.fresh_first, "fresh-first"),
            (self.wait_for_decode, "waiting for decode"),
            (self.migrate, "migration"),
        ];
        let used: Vec<_> = named
            .into_iter()
            .filter_map(|(used, name)| used.then_some(name))
            .collect();
        match used.split_last() {
            None => "none".to_owned(),
            Some((last, [])) => (*last).to_owned(),
            Some((last, before)) => format!("{} and {last}", before.join(", ")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arm {
    pub planning: Planning,
    pub measures: Measures,
}

impl Arm {
    /// The fixed splits of so many workers and the planners: what every contest has.
    pub fn all_with(measures: Measures, workers: u32) -> Vec<Self> {
        let fixed = Split::all(workers).into_iter().map(Planning::Fixed);
        let arms = fixed.chain(Planning::PLANNERS);
        arms.map(|planning| Self { planning, measures }).collect()
    }

    /// The same, and workers that do both.
    pub fn all_and_aggregated(measures: Measures, workers: u32) -> Vec<Self> {
        let mut arms = Self::all_with(measures, workers);
        let aggregated = Planning::AGGREGATED.map(|planning| Self { planning, measures });
        arms.extend(aggregated);
        arms
    }

    /// The same and the oracle, with every measure.
    pub fn with_bounds(workers: u32) -> Vec<Self> {
        let mut arms = Self::all_and_aggregated(Measures::EVERY, workers);
        arms.push(Self {
            planning: Planning::Oracle,
            measures: Measures::EVERY,
        });
        arms
    }

    /// All that there are, with every measure.
    pub fn all_of_them(workers: u32) -> Vec<Self> {
        let mut arms = Self::with_bounds(workers);
        let others = [Planning::Advise, Planning::KnownLengths].map(|planning| Self {
            planning,
            measures: Measures::EVERY,
        });
        arms.extend(others);
        arms
    }

    /// The same, and what every contest has with fewer of the router's measures.
    pub fn with_measures_apart(workers: u32) -> Vec<Self> {
        let apart = Measures::ALL
            .into_iter()
            .filter(|used| *used != Measures::EVERY);
        let apart = apart.flat_map(|measures| Self::all_with(measures, workers));
        apart.chain(Self::all_of_them(workers)).collect()
    }

    pub fn name(&self) -> String {
        self.planning.name()
    }

    /// The arm that does the same with the fewest measures, and what a move costs it: one that never moves never drains.
    #[must_use]
    pub fn plainest(mut self, dark: Duration) -> (Self, Duration) {
        if self.planning.stays() {
            self.measures.migrate = false;
            (self, Duration::ZERO)
        } else {
            (self, dark)
        }
    }

    /// `fleet` under this arm, where a worker that changes its role is away for `dark`. The oracle's begins where planners
    /// begin, and is given its schedule by who has it.
    pub fn setup(&self, fleet: &Fleet, dark: Duration, seed: u64) -> Setup {
        let (split, regular, model) = match self.planning {
            Planning::Fixed(split) => (split, 0, fleet.model),
            Planning::Aggregated(cost) => {
                let model = sim::aggregated(fleet.model, cost);
                (Split::default(), fleet.workers, model)
            }
            Planning::Threshold
            | Planning::Controller
            | Planning::Advise
            | Planning::KnownLengths
            | Planning::Oracle => (fleet.start(), 0, fleet.model),
        };
        Setup {
            prefill_policy: PolicyKind::PowerOfTwo,
            decode_policy: PolicyKind::PowerOfTwo,
            regular,
            steps_between_chunks: match self.planning {
                Planning::Aggregated(ChunkCost::AsPrefill) => STEPS_BETWEEN_CHUNKS,
                Planning::Aggregated(ChunkCost::TokensAlone)
                | Planning::Fixed(_)
                | Planning::Threshold
                | Planning::Controller
                | Planning::Advise
                | Planning::KnownLengths
                | Planning::Oracle => 0,
            },
            dispatch: self.dispatch(),
            queue_timeout: Some(queue::TIMEOUT),
            drain: self.drain(),
            slo: fleet.slo,
            warm: fleet.warm,
            control: self.planner(&fleet.slo, dark).map(|planner| Control {
                planner,
                guardrails: GuardrailSettings {
                    advise_only: self.planning == Planning::Advise,
                    ..GuardrailSettings::default()
                },
                dark,
            }),
            lengths_known: self.planning == Planning::KnownLengths,
            seed,
            ..Setup::study(model, split.prefill, split.decode)
        }
    }

    const fn dispatch(&self) -> Dispatch {
        if self.measures.fresh_first {
            Dispatch::WhenThereIsRoom {
                order: self.order(),
                pending_tokens: PENDING_TOKENS,
                decode_places: self.measures.wait_for_decode,
            }
        } else {
            Dispatch::AtOnce
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

    fn planner(&self, slo: &Slo, dark: Duration) -> Option<PlannerSettings> {
        match self.planning {
            Planning::Fixed(_) | Planning::Oracle | Planning::Aggregated(_) => None,
            Planning::Threshold => Some(PlannerSettings::Threshold(ThresholdSettings {
                ttft_seconds: slo.ttft.as_secs_f64(),
                itl_seconds: slo.itl.as_secs_f64(),
                ..ThresholdSettings::default()
            })),
            Planning::Controller | Planning::Advise | Planning::KnownLengths => {
                Some(PlannerSettings::Controller(ControllerSettings {
                    dark,
                    drain: self.drain(),
                    queue_order: self.order(),
                    wait_for_decode: self.measures.wait_for_decode,
                    ..ControllerSettings::default()
                }))
            }
        }
    }
}
