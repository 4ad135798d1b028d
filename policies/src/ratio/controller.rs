//! The ratio by prediction: what comes says what will be needed, and a worker is moved where that pays.
//!
//! It acts on arrivals and not on the queues that they cause: the classes of requests that come tell what prefill needs at
//! once and what decode will need, before either falls behind. A move has a price (the worker drains, is away, and
//! meanwhile the others carry its load), and it pays only if what it gains lasts longer than that. So a move is made
//! when the requests that it saves, over the time that the present mix is expected to last, outweigh those that it
//! costs.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::estimate::{DemandEstimator, Stream};
use crate::model::WorkerModel;
use crate::time::Timestamp;
use crate::worker::Role;

use super::need::Need;
use super::outlook::{KNEE, Mix, Next, Outlook, Way};
use super::regimes::Regimes;
use super::{Action, Observation, Plan, Planner, Reason, Split};

/// The settings of the controller. The defaults work without tuning; what each is for stands with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControllerSettings {
    /// Time that a mix lasts, before it is known.
    pub regime: Duration,
    /// A move is made when it saves this many seconds' worth of requests, after its cost.
    pub margin_seconds: f64,
    /// Standard deviations by which demand may be less than it seems: what is wished in spite of them is no noise.
    pub doubt: f64,
    /// Looks in a row that have to agree.
    pub agreement: u32,
    /// How long a worker is away when its role is changed, without its drain.
    pub dark: Duration,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            regime: Duration::from_secs(300),
            margin_seconds: 5.0,
            doubt: 1.5,
            agreement: 2,
            dark: Duration::from_secs(30),
        }
    }
}

/// Plans by prediction.
#[derive(Debug, Clone)]
pub struct Controller {
    model: WorkerModel,
    itl_seconds: f64,
    settings: ControllerSettings,
    estimator: DemandEstimator,
    regimes: Regimes,
    last_look: Option<Timestamp>,
    trend: Trend,
    /// The donor of the last looks' wish, and how many wished it.
    wish: Option<(Role, u32)>,
}

/// A move that could be made.
struct Candidate {
    donor: Role,
    /// After it.
    target: Split,
    /// Requests that meet their targets because of it.
    saved: f64,
}

impl Controller {
    pub fn new(model: WorkerModel, itl_seconds: f64, settings: ControllerSettings) -> Self {
        Self {
            regimes: Regimes::new(settings.regime),
            model,
            itl_seconds,
            settings,
            estimator: DemandEstimator::default(),
            last_look: None,
            trend: Trend::default(),
            wish: None,
        }
    }

    /// The mix that comes, as it seems, and as it is if chance made it seem more.
    fn observe(&mut self, now: Timestamp, seen: &Observation) -> (Mix, Mix) {
        let interval = self
            .last_look
            .map_or(Duration::ZERO, |last| now.since(last));
        self.last_look = Some(now);
        self.estimator.observe(interval, &seen.traffic);
        let likely = self.mix(0.0);
        self.trend.push(likely.need);
        self.regimes.observe(now, likely);
        (likely, self.mix(self.settings.doubt))
    }

    fn mix(&self, doubt: f64) -> Mix {
        let streams: Vec<_> = self
            .estimator
            .streams()
            .map(|stream| Stream {
                requests_per_second: (stream.requests_per_second - doubt * stream.deviation)
                    .max(0.0),
                ..stream
            })
            .collect();
        Mix {
            requests_per_second: streams
                .iter()
                .map(|stream| stream.requests_per_second)
                .sum(),
            need: Need::of(&self.model, self.itl_seconds, streams.into_iter()),
        }
    }

    /// The move worth most, if any is worth it.
    fn best_move(&self, now: Timestamp, split: Split, mix: Mix) -> Option<Candidate> {
        let next = self.regimes.previous().map(|mix| Next {
            mix,
            lasting: self.regimes.mean_seconds(),
            suited: mix.best_split(split.prefill + split.decode),
        });
        let outlook = Outlook {
            now: mix,
            remaining: self.regimes.remaining(now),
            next,
        };
        let worth = self.settings.margin_seconds * mix.requests_per_second;
        [Role::Prefill, Role::Decode]
            .into_iter()
            .filter_map(|donor| self.candidate(donor, split, &outlook))
            .filter(|candidate| candidate.saved > worth)
            .max_by(|one, other| one.saved.total_cmp(&other.saved))
    }

    /// The best that begins with a worker of `donor`: one move, or as many as there are workers to move.
    fn candidate(&self, donor: Role, split: Split, outlook: &Outlook) -> Option<Candidate> {
        let receiver = if donor == Role::Prefill {
            Role::Decode
        } else {
            Role::Prefill
        };
        let first = split.moved(donor).filter(|_| split.of(donor) >= 2)?;
        let (mut target, mut moves) = (first, 1.0);
        let mut most: f64 = f64::NEG_INFINITY;
        loop {
            let way = Way {
                transit: split.without(donor)?,
                target,
                away: self.away_seconds(donor) * moves,
                back: self.away_seconds(receiver) * moves,
            };
            most = most.max(outlook.staying(split, way.back) - outlook.moving(&way));
            if target.of(donor) < 2 {
                break;
            }
            target = target.moved(donor)?;
            moves += 1.0;
        }
        Some(Candidate {
            donor,
            target: first,
            saved: most,
        })
    }

    /// Seconds from the closing of a worker's gate until it serves in its new role.
    fn away_seconds(&self, donor: Role) -> f64 {
        let dark = self.settings.dark.as_secs_f64();
        let drain = match donor {
            // What is in its queue is computed and sent within a few batches.
            Role::Prefill | Role::Regular => 2.0,
            // Its sequences run to their ends: the one that has just begun takes all its tokens.
            Role::Decode => self.longest_answer() * self.itl_seconds * DRAIN_STEP,
        };
        drain + dark
    }

    fn longest_answer(&self) -> f64 {
        let streams = self.estimator.streams();
        streams
            .map(|stream| stream.output_tokens)
            .fold(0.0, f64::max)
    }
}

/// The need at the last looks. While a mix gives way to another both are seen, and together they are neither: nothing is
/// decided on a need that is still on its way.
#[derive(Debug, Clone, Default)]
struct Trend(VecDeque<Need>);

/// Looks that a need has to stay the same for.
const FLAT_LOOKS: usize = 4;

/// What chance moves it by meanwhile, as a share of it or of a worker.
const FLAT: f64 = 0.12;

impl Trend {
    fn push(&mut self, need: Need) {
        self.0.push_back(need);
        if self.0.len() > FLAT_LOOKS {
            self.0.pop_front();
        }
    }

    fn is_flat(&self) -> bool {
        let flat = |part: fn(&Need) -> f64| {
            let (least, most) = self
                .0
                .iter()
                .map(part)
                .fold((f64::INFINITY, 0.0_f64), |(least, most), need| {
                    (least.min(need), most.max(need))
                });
            most - least <= FLAT * most.max(1.0)
        };
        self.0.len() == FLAT_LOOKS && flat(|need| need.prefill) && flat(|need| need.decode)
    }
}

/// A draining worker's steps are shorter than its target: its batch gets smaller.
const DRAIN_STEP: f64 = 0.5;

impl Planner for Controller {
    fn plan(&mut self, now: Timestamp, seen: &Observation) -> Plan {
        let (likely, doubted) = self.observe(now, seen);
        let split = seen.split;
        let hold = |reason| Plan {
            action: Action::Hold,
            reason,
            target: split,
            donor: None,
            predicted: Some(likely.need.utilisation(split)),
            measured: None,
            predicted_itl: None,
        };
        if split.prefill == 0 || split.decode == 0 {
            return hold(Reason::RoleUnserved);
        }
        if likely.requests_per_second <= 0.0 {
            return hold(Reason::NoDemand);
        }
        // Nothing is moved ahead of a need: when the mix will change is known too badly.
        if likely.need.utilisation(split).highest() <= KNEE {
            self.wish = None;
            return hold(Reason::Sufficient);
        }
        let Some(best) = self.best_move(now, split, doubted) else {
            self.wish = None;
            return hold(Reason::NotWorthIt);
        };
        let agreed = match self.wish {
            Some((donor, times)) if donor == best.donor => times + 1,
            _ => 1,
        };
        self.wish = Some((best.donor, agreed));
        if agreed < self.settings.agreement || !self.trend.is_flat() {
            return hold(Reason::Confirming);
        }
        self.wish = None;
        Plan {
            action: Action::Move,
            reason: if best.donor == Role::Decode {
                Reason::PrefillShort
            } else {
                Reason::DecodeShort
            },
            target: best.target,
            donor: Some(best.donor),
            ..hold(Reason::Sufficient)
        }
    }
}
