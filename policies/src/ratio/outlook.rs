//! What is expected to miss its targets, by where the fleet goes from here.
//!
//! A mix that ends is followed by the one before it, as far as anybody knows: traffic that shifts once tends to shift
//! back, and again. So what is weighed is not a move but a way to go on: a split for the present mix and one for the
//! other, with all the moves between them over some turns. One of these ways is to stay for good, and where workers
//! are away for long while mixes last for short it is the best. What is left behind counts, too: a backlog is worked off
//! in the next mix, and makes its requests late.

use std::iter;

use crate::queue::QueueOrder;
use crate::worker::Role;

use super::Split;
use super::need::Need;

/// Requests of one kind of time: what they need, and how many come.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Mix {
    pub(super) need: Need,
    pub(super) requests_per_second: f64,
    /// How long those are answered that decode runs at a moment, from their first token to their last, in the mean.
    pub(super) answer_seconds: f64,
    /// Whether a decode worker that runs as many as it can is too slow for the time between tokens.
    pub(super) slow_when_full: bool,
}

/// From this load on requests begin to miss their targets: bursts no longer fit.
pub(super) const KNEE: f64 = 0.92;

/// Decode shares its time among all that it has: the fuller it is the more often chance fills it, and then all of them slow
/// down together and those behind them wait. A little beyond full nobody is in time.
const SLOWING: f64 = 0.7;
const ALL_SLOW: f64 = 1.04;

/// Where requests wait for decode, from this load on its places run out by chance: they are held for longer than prefill's,
/// and late requests hold some.
const PLACES_KNEE: f64 = 0.85;

/// A queue in the order of arrival makes all late once it takes longer than this: what is left of the usual target of
/// two seconds beside the prefill itself.
pub(super) const LATE_SECONDS: f64 = 1.5;

/// While decode works off what it is behind with, it has room for new requests only where old ones end. So much of what
/// comes meanwhile waits before its prefill.
const BLOCKED: f64 = 0.5;

/// Where requests wait for decode, those that are taken while places come free have waited as long as they may: so many
/// times as many are late as have no place.
const RAMP: f64 = 2.0;

/// Points of time at which what changes meanwhile is looked at.
const SAMPLES: u32 = 8;

/// Until a new mix is seen for what it is.
const REACTION_SECONDS: f64 = 8.0;

/// From the end of a move until the next of the same way begins: the looks that agree.
const PAUSE_SECONDS: f64 = 3.0;

/// Turns of both mixes that are looked ahead. What is gained once is not gained for ever: more would let a mistaken
/// forecast weigh more than what is known.
const TURNS: usize = 2;

/// Before any other mix has been seen, a move is held to be a mistake with this probability: that another comes for which
/// the worker would be missed where it was, all the time until it is back.
const UNKNOWN: f64 = 0.5;

impl Mix {
    fn decode_missed(&self, split: Split) -> f64 {
        let load = self.need.utilisation(split).decode;
        ((load - SLOWING) / (ALL_SLOW - SLOWING)).clamp(0.0, 1.0)
    }

    /// Moves a part of the way to another.
    pub(super) fn fade_to(&mut self, other: &Self, part: f64) {
        for (value, other) in [
            (&mut self.need.prefill, other.need.prefill),
            (&mut self.need.decode, other.need.decode),
            (&mut self.requests_per_second, other.requests_per_second),
            (&mut self.answer_seconds, other.answer_seconds),
        ] {
            *value += part * (other - *value);
        }
    }
}

/// What a move takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Price {
    /// Seconds from the closing of a worker's gate until it serves in its other role.
    pub(super) from_prefill: f64,
    pub(super) from_decode: f64,
    /// Seconds of a prefill worker for the answers that a decode worker hands over when it leaves.
    pub(super) handed_over: f64,
}

impl Price {
    const fn away(&self, donor: Role) -> f64 {
        match donor {
            Role::Prefill | Role::Regular => self.from_prefill,
            Role::Decode => self.from_decode,
        }
    }
}

/// The present mix, how long it is expected to last, and the one expected to take turns with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    pub(super) now: Mix,
    /// Seconds that it lasts yet.
    pub(super) remaining: f64,
    pub(super) other: Option<Mix>,
    /// Seconds that a mix lasts.
    pub(super) lasting: f64,
    pub(super) price: Price,
    pub(super) order: QueueOrder,
    /// Whether that queue is decode's, too.
    pub(super) wait_for_decode: bool,
    /// Workers' worth of places that answers of another mix hold.
    pub(super) held: f64,
    /// Seconds of a worker's time that each role is behind with.
    pub(super) behind: Need,
}

/// The best that begins with a move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Move {
    pub(super) donor: Role,
    /// Where the way leads for the present mix: its worker may not be the only one.
    pub(super) target: Split,
    /// Requests that meet their targets because of it.
    pub(super) saved: f64,
    /// Requests that miss them without it.
    pub(super) at_stake: f64,
}

/// Moves that a way may take to a split: with more, the forecast is the wrong tool.
const MOST_MOVES: u32 = 4;

impl Outlook {
    /// The best way that leaves `split`, against the best that stays for now.
    pub(super) fn best_move(&self, split: Split) -> Option<Move> {
        let near: Vec<_> = near(split).collect();
        let best = |target: Split| {
            let ways = near.iter().map(|other| self.missed(split, target, *other));
            ways.fold(f64::INFINITY, f64::min)
        };
        let staying = best(split);
        // Nothing is moved ahead of a need: when a mix will end is known too badly.
        let fullest = |split: Split| self.now.need.utilisation(split).highest();
        let better = |target: &&Split| fullest(**target) < fullest(split);
        let targets = near.iter().filter(better);
        let moves = targets.map(|target| Move {
            donor: if target.prefill > split.prefill {
                Role::Decode
            } else {
                Role::Prefill
            },
            target: *target,
            saved: staying - best(*target),
            at_stake: staying,
        });
        moves.max_by(|one, other| one.saved.total_cmp(&other.saved))
    }

    /// Requests that miss their targets where the fleet goes from `split` to `target` for the present mix, and to `other`
    /// whenever the other one comes.
    fn missed(&self, split: Split, target: Split, other: Split) -> f64 {
        let mut course = Course {
            outlook: self,
            split,
            behind: self.behind,
            held: self.held(split),
            missed: 0.0,
        };
        course.stretch(&self.now, target, self.remaining, 0.0);
        if let Some(mix) = &self.other {
            for _ in 0..TURNS {
                course.stretch(mix, other, self.lasting, REACTION_SECONDS);
                course.stretch(&self.now, target, self.lasting, REACTION_SECONDS);
            }
        } else {
            let back = steps(target, split).map(|(donor, _)| self.price.away(donor));
            course.missed += UNKNOWN * back.sum::<f64>() * self.now.requests_per_second;
        }
        course.missed
    }
}

impl Outlook {
    /// By what decode runs now.
    fn held(&self, split: Split) -> Held {
        let before = self.other.as_ref().unwrap_or(&self.now);
        Held {
            workers: self.held,
            ..Held::by(before, split)
        }
    }
}

/// Splits within reach of a way, this one among them.
fn near(split: Split) -> impl Iterator<Item = Split> {
    let workers = split.prefill + split.decode;
    let first = split.prefill.saturating_sub(MOST_MOVES).max(1);
    let last = (split.prefill + MOST_MOVES).min(workers.saturating_sub(1));
    (first..=last).map(move |prefill| Split {
        prefill,
        decode: workers - prefill,
    })
}

/// The moves from one split to another of as many workers: whose worker is moved, and the split after it.
fn steps(from: Split, to: Split) -> impl Iterator<Item = (Role, Split)> {
    let donor = if to.prefill > from.prefill {
        Role::Decode
    } else {
        Role::Prefill
    };
    let after = iter::successors(Some(from), move |split| split.moved(donor)).skip(1);
    after
        .take(from.distance(to) as usize)
        .map(move |split| (donor, split))
}

/// Time as it passes: where the fleet is, what is missed, and what is left behind.
struct Course<'a> {
    outlook: &'a Outlook,
    split: Split,
    behind: Need,
    held: Held,
    missed: f64,
}

/// Places on decode workers that answers of the mix before hold, until they end one by one.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Workers' worth of them.
    workers: f64,
    /// Of that, what becomes free in a second.
    freed: f64,
}

impl Held {
    /// By a mix that `split` has served for long.
    fn by(mix: &Mix, split: Split) -> Self {
        let workers = mix.need.decode.min(f64::from(split.decode));
        Self {
            workers,
            freed: workers / mix.answer_seconds.max(f64::MIN_POSITIVE),
        }
    }

    fn after(self, seconds: f64) -> f64 {
        (self.workers - self.freed * seconds).max(0.0)
    }
}

impl Course<'_> {
    /// `seconds` of `mix`, in which the fleet goes to `target` after `reaction`.
    fn stretch(&mut self, mix: &Mix, target: Split, seconds: f64, reaction: f64) {
        self.go(mix, target, seconds, reaction);
        self.held = Held::by(mix, self.split);
    }

    fn go(&mut self, mix: &Mix, target: Split, seconds: f64, reaction: f64) {
        let mut left = seconds;
        let mut pause = reaction;
        for (donor, after) in steps(self.split, target) {
            left -= self.pass(mix, self.split, pause.min(left));
            if left <= 0.0 {
                return;
            }
            if donor == Role::Decode {
                self.hand_over(mix);
            }
            let transit = self.split.without(donor).unwrap_or(self.split);
            left -= self.pass(mix, transit, self.outlook.price.away(donor).min(left));
            self.split = after;
            pause = PAUSE_SECONDS;
        }
        self.pass(mix, self.split, left);
    }

    /// What a decode worker hands over is computed again, in the place of others where prefill is full.
    fn hand_over(&mut self, mix: &Mix) {
        let work = self.outlook.price.handed_over;
        match self.outlook.order {
            QueueOrder::Fifo => self.behind.prefill += work,
            QueueOrder::FreshFirst => {
                let full = mix.need.utilisation(self.split).prefill > KNEE;
                let each = mix.need.prefill / mix.requests_per_second.max(f64::MIN_POSITIVE);
                if full && each > 0.0 {
                    self.missed += work / each;
                }
            }
        }
    }

    /// `seconds` of `mix` on `split`. Answers them.
    fn pass(&mut self, mix: &Mix, split: Split, seconds: f64) -> f64 {
        let decode = self.decode_missed(mix, split, seconds);
        let prefill = self.prefill_missed(mix, split, seconds);
        self.missed += mix.requests_per_second * seconds * prefill.max(decode);
        seconds
    }

    fn prefill_missed(&mut self, mix: &Mix, split: Split, seconds: f64) -> f64 {
        let load = mix.need.utilisation(split).prefill;
        match self.outlook.order {
            // Those that are late already are taken last, and hold up nobody: what doesn't fit is late.
            QueueOrder::FreshFirst => 1.0 - (KNEE / load).min(1.0),
            // A queue makes all late that come while it is too long.
            QueueOrder::Fifo => {
                let workers = f64::from(split.prefill);
                let before = self.behind.prefill;
                let growth = mix.need.prefill - workers;
                self.behind.prefill = (before + growth * seconds).max(0.0);
                let late = share_above(before, growth, seconds, LATE_SECONDS * workers);
                let bursts = ((load - KNEE) / (1.0 - KNEE)).clamp(0.0, 1.0);
                late.max(bursts)
            }
        }
    }

    fn decode_missed(&mut self, mix: &Mix, split: Split, seconds: f64) -> f64 {
        if self.outlook.wait_for_decode && self.outlook.order == QueueOrder::FreshFirst {
            return self.without_place(mix, split, seconds);
        }
        let before = self.behind.decode;
        let growth = mix.need.decode - f64::from(split.decode);
        self.behind.decode = (before + growth * seconds).max(0.0);
        let late = share_above(before, growth, seconds, 0.0);
        if growth < 0.0 {
            self.behind.prefill += BLOCKED * late * seconds * mix.need.prefill;
            late + (1.0 - late) * mix.decode_missed(split)
        } else {
            mix.decode_missed(split)
        }
    }

    /// The share of those that come that get no place on a decode worker in time: what doesn't fit, and what has to wait
    /// until answers of the mix before have ended.
    fn without_place(&mut self, mix: &Mix, split: Split, seconds: f64) -> f64 {
        let need = mix.need.decode / PLACES_KNEE;
        let too_much = (1.0 - f64::from(split.decode) / need).max(0.0);
        let step = seconds / f64::from(SAMPLES);
        let at = |sample: u32| {
            let held = self.held.after(step * (f64::from(sample) + 0.5));
            let free = (f64::from(split.decode) - held).max(0.0);
            let meanwhile = RAMP * (1.0 - free / need - too_much).max(0.0);
            (too_much + meanwhile).min(1.0)
        };
        let missed = (0..SAMPLES).map(at).sum::<f64>() / f64::from(SAMPLES);
        self.held.workers = self.held.after(seconds);
        if mix.slow_when_full {
            missed.max(mix.decode_missed(split))
        } else {
            missed
        }
    }
}

/// The share of `seconds` for which something is above `level` that is `before` now and grows by `growth` a second.
fn share_above(before: f64, growth: f64, seconds: f64, level: f64) -> f64 {
    if seconds <= 0.0 {
        return 0.0;
    }
    let crossing = (level - before) / growth;
    let share = if growth.abs() < f64::EPSILON {
        f64::from(u8::from(before > level))
    } else if growth > 0.0 {
        1.0 - crossing / seconds
    } else {
        crossing / seconds
    };
    share.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests;
