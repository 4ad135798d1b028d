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

use crate::estimate::{CapacityEstimator, DemandEstimator, Stream};
use crate::model::WorkerModel;
use crate::queue::QueueOrder;
use crate::time::Timestamp;
use crate::worker::Role;

use super::need::Need;
use super::outlook::{KNEE, LATE_SECONDS, Mix, Move, Outlook, Price};
use super::regimes::Regimes;
use super::reversals::Reversals;
use super::standing::{self, Late, QUEUE_SECONDS, Standing};
use super::{Action, Observation, Plan, Planner, Reason, present};

/// The settings of the controller. The defaults work without tuning; what each is for stands with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControllerSettings {
    /// Time that a mix lasts, before it is known.
    pub regime: Duration,
    /// A move is made when it saves this many seconds' worth of requests, after its cost.
    pub margin_seconds: f64,
    /// And this share of what is expected to be missed without it: no forecast is better than that.
    pub margin_share: f64,
    /// Standard deviations by which demand may be less than it seems: what is wished in spite of them is no noise.
    pub doubt: f64,
    /// Looks in a row that have to agree.
    pub agreement: u32,
    /// How long a worker is away when its role is changed, without its drain, where the look doesn't say.
    pub dark: Duration,
    /// What the fleet does with the requests of a worker that is to change its role.
    pub drain: Drain,
    /// The order in which the router takes waiting requests: in the order of arrival a backlog makes all late.
    pub queue_order: QueueOrder,
    /// Whether requests wait in the router for decode, too: then what decode has no room for makes only itself late.
    pub wait_for_decode: bool,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            regime: Duration::from_secs(300),
            margin_seconds: 5.0,
            margin_share: 0.1,
            doubt: 1.0,
            agreement: 2,
            dark: Duration::from_secs(30),
            drain: Drain::default(),
            queue_order: QueueOrder::default(),
            wait_for_decode: false,
        }
    }
}

/// Plans by prediction.
#[derive(Debug, Clone)]
pub struct Controller {
    /// As the workers' own counters correct it.
    model: WorkerModel,
    capacity: CapacityEstimator,
    itl_seconds: f64,
    settings: ControllerSettings,
    estimator: DemandEstimator,
    regimes: Regimes,
    last_look: Option<Timestamp>,
    /// When hardly anything waited in the router: whoever is late has waited since then at the most.
    queue_empty: Timestamp,
    trend: Trend,
    reversals: Reversals,
    standing: Standing,
    /// The donor of the last looks' wish, and how many wished it.
    wish: Option<(Role, u32)>,
}

/// What becomes of a worker's requests when its role is to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drain {
    /// They run to their ends where they are.
    #[default]
    Wait,
    /// They go elsewhere: an answer that was begun goes on from its prompt and what was written of it, both computed
    /// again, and a prompt that nobody computes yet waits in the router again.
    Migrate,
}

impl Controller {
    pub fn new(model: WorkerModel, itl_seconds: f64, settings: ControllerSettings) -> Self {
        Self {
            regimes: Regimes::new(settings.regime),
            capacity: CapacityEstimator::new(model),
            model,
            itl_seconds,
            settings,
            estimator: DemandEstimator::default(),
            last_look: None,
            queue_empty: Timestamp::ZERO,
            trend: Trend::default(),
            reversals: Reversals::default(),
            standing: Standing::default(),
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
        self.observe_capacity(seen);
        let likely = self.mix(0.0);
        self.trend.push(likely.need);
        self.regimes.observe(now, likely);
        self.reversals.observe(now, seen, self.regimes.since());
        self.observe_queue(now, seen, likely);
        let doubted = self.mix(self.settings.doubt);
        (self.as_shown(likely), self.as_shown(doubted))
    }

    fn observe_queue(&mut self, now: Timestamp, seen: &Observation, likely: Mix) {
        let behind = self.behind(seen);
        let waiting = self.model.prefill.batch_seconds(seen.queued_prompt_tokens);
        if waiting < QUEUE_SECONDS * f64::from(seen.split.prefill) {
            self.queue_empty = now;
        }
        let to_spare = seen
            .split
            .without(Role::Decode)
            .is_some_and(|split| likely.need.utilisation(split).decode < SPARE);
        // What is late already waits for its turn behind those that come: while none of these is late, nothing is short.
        let in_time = self.settings.queue_order == QueueOrder::FreshFirst && seen.turned_late == 0;
        // While answers of the mix before hold the places, requests become late for want of those.
        let crowded = self.held(seen, likely) + likely.need.decode > f64::from(seen.split.decode);
        let held_up = seen.moving
            || seen.decode_full
            || in_time
            || crowded
            || behind.decode > 0.0
            || !to_spare;
        let look = standing::Look {
            at: now,
            waiting: behind.prefill,
            late: match self.settings.queue_order {
                QueueOrder::FreshFirst => Some(Late::of(seen)),
                QueueOrder::Fifo => None,
            },
        };
        self.standing.observe(look, seen.split.prefill, held_up);
    }

    /// No less is needed than the queue shows.
    fn as_shown(&self, mut mix: Mix) -> Mix {
        mix.need.prefill = mix.need.prefill.max(self.standing.least_need());
        mix
    }

    /// What workers can do is what they have done, as far as that shows.
    fn observe_capacity(&mut self, seen: &Observation) {
        if seen.counters.is_empty() {
            return;
        }
        let decoding = seen.loads.iter().filter(|load| load.running > 0);
        let (sequences, kv_tokens) = decoding.fold((0.0, 0.0), |(sequences, tokens), load| {
            (
                sequences + f64::from(load.running),
                tokens + load.kv_tokens as f64,
            )
        });
        if sequences > 0.0 {
            self.capacity.sequences_hold(kv_tokens / sequences);
        }
        self.capacity.observe(&seen.counters);
        self.model = self.capacity.model();
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
        let running = Running::of(&streams);
        let answer_seconds = running.output_tokens * self.itl_seconds;
        let decode = &self.model.decode;
        Mix {
            requests_per_second: streams
                .iter()
                .map(|stream| stream.requests_per_second)
                .sum(),
            answer_seconds,
            empty_step: decode.step_seconds(0, 0) / self.itl_seconds,
            full_step: self.full_step(&running),
            need: Need::of(&self.model, self.itl_seconds, streams.iter().copied()),
        }
    }

    /// A step with as many sequences as a decode worker runs at most, as a share of the target.
    fn full_step(&self, running: &Running) -> f64 {
        let most = self.most_running(running.kv_tokens);
        let kv_tokens = f64::from(most) * running.kv_tokens;
        self.model.decode.step_seconds(most, kv_tokens as u64) / self.itl_seconds
    }

    /// Sequences of `mean_kv` tokens that a decode worker runs at most. Those that wait in the router are let in as the
    /// target allows.
    fn most_running(&self, mean_kv: f64) -> u32 {
        let decode = &self.model.decode;
        let within = if self.settings.wait_for_decode {
            self.itl_seconds
        } else {
            f64::INFINITY
        };
        decode.max_batch_within(within, mean_kv).max(1)
    }

    /// Workers' worth of places on decode workers that others hold than those of `mix`.
    fn held(&self, seen: &Observation, mix: Mix) -> f64 {
        let (sequences, kv_tokens) = sequences(seen);
        let most = self.most_running(kv_tokens / sequences.max(1.0));
        (sequences / f64::from(most) - mix.places(seen.split)).max(0.0)
    }

    /// The move that pays, if any does.
    fn best_move(&self, now: Timestamp, seen: &Observation, mix: Mix) -> Option<Move> {
        let outlook = Outlook {
            now: mix,
            lasted: now.since(self.regimes.since()).as_secs_f64(),
            remaining: self.regimes.remaining(now),
            other: self.regimes.previous(),
            lasting: self.regimes.mean_seconds(),
            price: self.price(seen),
            order: self.settings.queue_order,
            wait_for_decode: self.settings.wait_for_decode,
            held: self.held(seen, mix),
            late_for: now.since(self.queue_empty).as_secs_f64(),
            behind: self.behind(seen),
        };
        let best = outlook.best_move(seen.split)?;
        let worth = self.settings.margin_seconds * mix.requests_per_second;
        let uncertain = match self.settings.queue_order {
            QueueOrder::FreshFirst => best.at_stake,
            QueueOrder::Fifo => FIFO_STAKE * best.at_stake,
        };
        let worth = worth.max(self.settings.margin_share * uncertain);
        (best.saved > worth).then_some(best)
    }

    /// What a move takes, as things are.
    fn price(&self, seen: &Observation) -> Price {
        let dark = seen.away.unwrap_or(self.settings.dark).as_secs_f64();
        let (from_decode, handed_over) = match self.settings.drain {
            // Its sequences run to their ends: the one that has just begun takes all its tokens.
            Drain::Wait => {
                let longest = LONGEST * self.longest_answer();
                (longest * self.itl_seconds * DRAIN_STEP, 0.0)
            }
            Drain::Migrate => (HAND_OVER_SECONDS, self.handed_over(seen)),
        };
        Price {
            // What is in its queue is computed and sent within a few batches.
            from_prefill: PREFILL_DRAIN_SECONDS + dark,
            from_decode: from_decode + dark,
            handed_over,
        }
    }

    /// Seconds that a prefill worker takes for what a decode worker has.
    fn handed_over(&self, seen: &Observation) -> f64 {
        let tokens: u64 = seen.loads.iter().map(|load| load.kv_tokens).sum();
        let each = tokens / u64::from(seen.split.decode.max(1));
        self.model.prefill.batch_seconds(each)
    }

    /// What each role has in hand beyond what it serves in time, in seconds of a worker.
    fn behind(&self, seen: &Observation) -> Need {
        let prompts = seen.loads.iter().map(|load| load.pending_prompt_tokens);
        let queued = if seen.decode_full {
            0
        } else {
            seen.queued_prompt_tokens
        };
        let prompts = prompts.sum::<u64>() + queued;
        let (sequences, kv_tokens) = sequences(seen);
        let decode = &self.model.decode;
        let batch = decode.max_batch_within(self.itl_seconds, kv_tokens / sequences.max(1.0));
        let batch = f64::from(batch.max(1));
        let beyond = (sequences - batch * f64::from(seen.split.decode)).max(0.0);
        Need {
            prefill: self.model.prefill.batch_seconds(prompts),
            decode: beyond / batch * self.longest_answer() * self.itl_seconds,
        }
    }

    /// Whether what waits already makes all late that come, so that also a split that would suffice doesn't.
    fn is_late(&self, seen: &Observation) -> bool {
        match self.settings.queue_order {
            QueueOrder::FreshFirst => false,
            QueueOrder::Fifo => {
                let waiting = self.behind(seen).prefill / f64::from(seen.split.prefill);
                waiting > LATE_SECONDS
            }
        }
    }

    fn longest_answer(&self) -> f64 {
        let streams = self.estimator.streams();
        streams
            .map(|stream| stream.output_tokens)
            .fold(0.0, f64::max)
    }
}

/// What decode workers have in hand: how many, and their tokens of KV.
fn sequences(seen: &Observation) -> (f64, f64) {
    seen.loads
        .iter()
        .fold((0.0, 0.0), |(sequences, tokens), load| {
            (
                sequences + f64::from(load.running + load.waiting),
                tokens + load.kv_tokens as f64,
            )
        })
}

/// What decode runs at a moment, in the mean of its sequences: those with long answers are there for longer.
struct Running {
    output_tokens: f64,
    kv_tokens: f64,
}

impl Running {
    fn of(streams: &[Stream]) -> Self {
        let mut found = Self {
            output_tokens: 0.0,
            kv_tokens: 0.0,
        };
        let mut all = f64::MIN_POSITIVE;
        for stream in streams {
            let running = stream.requests_per_second * stream.output_tokens;
            found.output_tokens += running * stream.output_tokens;
            found.kv_tokens += running * (stream.prompt_tokens + stream.output_tokens / 2.0);
            all += running;
        }
        found.output_tokens /= all;
        found.kv_tokens /= all;
        found
    }
}

/// Prefill's share of the need at the last looks. While a mix gives way to another both are seen, and together they are
/// neither: nothing is decided on a share that is still on its way.
#[derive(Debug, Clone, Default)]
struct Trend(VecDeque<f64>);

/// Looks that a share has to stay the same for.
const FLAT_LOOKS: usize = 4;

/// What chance moves it by meanwhile.
const FLAT: f64 = 0.06;

impl Trend {
    fn push(&mut self, need: Need) {
        self.0.push_back(need.prefill_share());
        if self.0.len() > FLAT_LOOKS {
            self.0.pop_front();
        }
    }

    fn is_flat(&self) -> bool {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(0.0, f64::max);
        self.0.len() == FLAT_LOOKS && most - least <= FLAT
    }
}

/// A draining worker's steps are shorter than its target: its batch gets smaller.
const DRAIN_STEP: f64 = 0.6;

/// The longest answer in a batch, in means of its class: lengths differ.
const LONGEST: f64 = 1.5;

/// In the order of arrival most of what is at stake is missed whichever way is taken, since a backlog makes all late: the
/// part that a forecast decides about.
const FIFO_STAKE: f64 = 0.4;

/// Decode has a worker to spare where the others would be no fuller than this: then nothing but prefill keeps prompts
/// waiting.
const SPARE: f64 = 0.8;

/// A prefill worker's queue, which the router keeps short.
const PREFILL_DRAIN_SECONDS: f64 = 2.0;

/// What is on its way to a decode worker that hands its answers over still comes.
const HAND_OVER_SECONDS: f64 = 1.0;

impl Planner for Controller {
    fn plan(&mut self, now: Timestamp, seen: &Observation) -> Plan {
        let (likely, doubted) = self.observe(now, seen);
        let split = seen.split;
        let hold = |reason| Plan {
            action: Action::Hold,
            reason,
            target: split,
            donor: None,
            predicted: (split.prefill > 0 && split.decode > 0)
                .then(|| likely.need.utilisation(split)),
            measured: present::measured(&self.model, self.itl_seconds, seen),
            predicted_itl: present::predicted_itl(&self.model, seen),
        };
        if split.prefill == 0 || split.decode == 0 {
            return hold(Reason::RoleUnserved);
        }
        if likely.requests_per_second <= 0.0 {
            return hold(Reason::NoDemand);
        }
        // What may be too much by chance alone is no reason to move, however much would be missed if it were.
        if doubted.need.utilisation(split).highest() <= KNEE && !self.is_late(seen) {
            self.wish = None;
            return hold(Reason::Sufficient);
        }
        let Some(Move { donor, target, .. }) = self.best_move(now, seen, doubted) else {
            self.wish = None;
            return hold(Reason::NotWorthIt);
        };
        let agreed = match self.wish {
            Some((wished, times)) if wished == donor => times + 1,
            Some(_) | None => 1,
        };
        self.wish = Some((donor, agreed));
        let undoing = self.reversals.looks(donor, self.regimes.since());
        if agreed < self.settings.agreement.max(undoing) || !self.trend.is_flat() {
            return hold(Reason::Confirming);
        }
        self.wish = None;
        Plan {
            action: Action::Move,
            reason: if donor == Role::Decode {
                Reason::PrefillShort
            } else {
                Reason::DecodeShort
            },
            target,
            donor: Some(donor),
            ..hold(Reason::Sufficient)
        }
    }
}
