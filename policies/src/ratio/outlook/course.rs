//! Time as it passes on a way: where the fleet is, what is missed, and what is left behind.
//!
//! What a load makes late was measured in the simulator: Poisson arrivals of four kinds for 15 minutes on every split that
//! suits them, for two engines, with requests that wait in the router. At 0.95 of what workers can do all were in time, at
//! 1.0 they were but for two or three in a hundred, and from there on what doesn't fit is late.

use crate::queue::{self, QueueOrder};
use crate::ratio::Split;
use crate::ratio::need::Need;
use crate::worker::Role;

use super::held::Held;
use super::{KNEE, LATE_SECONDS, Mix, Outlook, steps};

/// What a role serves in time under more than it can do, as a share of that.
pub(super) const FULL: f64 = 0.98;

/// Those that are late are owed turns once they have waited for long enough, a ninth of them at most. Under a load of 1.1
/// to 1.6 that made 0.06 to 0.04 of a role's work late besides.
const OWED: f64 = 0.07;

/// Where requests wait for decode, those that are taken while places come free have waited as long as they may: so many
/// times as many are late as have no place.
const RAMP: f64 = 2.0;

/// While decode works off what it is behind with, it has room for new requests only where old ones end. So much of what
/// comes meanwhile waits before its prefill.
const BLOCKED: f64 = 0.5;

/// Points of time at which what changes meanwhile is looked at.
const SAMPLES: u32 = 8;

/// From the end of a move until the next of the same way begins: the looks that agree.
const PAUSE_SECONDS: f64 = 3.0;

#[derive(Debug, Clone)]
pub(super) struct Course<'a> {
    pub(super) outlook: &'a Outlook,
    pub(super) split: Split,
    pub(super) behind: Need,
    pub(super) held: Held,
    pub(super) missed: f64,
    /// Seconds for which late requests have waited.
    late_for: f64,
    /// Share of what passes now for which they are owed turns.
    owed: f64,
    /// Seconds for which the mix has come.
    lasted: f64,
}

impl<'a> Course<'a> {
    pub(super) fn new(outlook: &'a Outlook, split: Split) -> Self {
        let before = outlook.other.as_ref().unwrap_or(&outlook.now);
        Self {
            outlook,
            split,
            behind: outlook.behind,
            held: Held::by(before, split).of_workers(outlook.held),
            missed: 0.0,
            late_for: outlook.late_for,
            owed: 0.0,
            lasted: outlook.lasted,
        }
    }

    /// `seconds` of `mix`, in which the fleet goes to `target` after `reaction`.
    pub(super) fn stretch(&mut self, mix: &Mix, target: Split, seconds: f64, reaction: f64) {
        self.go(mix, target, seconds, reaction);
        self.held = Held::by(mix, self.split);
        self.lasted = 0.0;
    }

    fn go(&mut self, mix: &Mix, target: Split, seconds: f64, reaction: f64) {
        let mut left = seconds;
        let mut pause = reaction;
        for (donor, after) in steps(self.split, target) {
            // Whether the first move of all is made at once is the question.
            if pause > 0.0 && donor == Role::Decode {
                pause += self.until_there_is_room(mix, after, pause);
            }
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

    /// How much longer than `pause` a decode worker is better kept: until so many answers of the mix before have ended that
    /// the workers of `after` have room, where fewer are late meanwhile on the split as it is.
    fn until_there_is_room(&self, mix: &Mix, after: Split, pause: f64) -> f64 {
        let held = self.held.of_workers(self.held.after(pause, self.split));
        let room = (f64::from(after.decode) - mix.need.decode / FULL).max(0.0);
        let wait = held.until(room);
        let late = |split: Split| {
            let mut meanwhile = Self {
                held,
                missed: 0.0,
                ..self.clone()
            };
            meanwhile.pass(mix, split, wait);
            meanwhile.missed
        };
        if late(self.split) < late(after) {
            wait
        } else {
            0.0
        }
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
    pub(super) fn pass(&mut self, mix: &Mix, split: Split, seconds: f64) -> f64 {
        self.grow_late(mix, split, seconds);
        let decode = self.decode_missed(mix, split, seconds);
        let prefill = self.prefill_missed(mix, split, seconds);
        self.lasted += seconds;
        self.missed += mix.requests_per_second * seconds * prefill.max(decode);
        seconds
    }

    /// Late requests wait while there is more than fits, and are served where there is room.
    fn grow_late(&mut self, mix: &Mix, split: Split, seconds: f64) {
        if mix.need.utilisation(split).highest() > FULL {
            let gives_way = queue::gives_way(queue::TIMEOUT).as_secs_f64();
            self.late_for += seconds;
            let owed = self.late_for - gives_way;
            self.owed = (owed / seconds.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        } else {
            (self.late_for, self.owed) = (0.0, 0.0);
        }
    }

    /// The share that is late under `load` where those that are late hold up nobody: what doesn't fit, and as many again
    /// for which those have their turns that were late before, within what they are owed.
    fn too_much(&self, load: f64) -> f64 {
        let fresh = (1.0 - FULL / load).max(0.0);
        fresh + self.owed * fresh.min(OWED / load)
    }

    fn prefill_missed(&mut self, mix: &Mix, split: Split, seconds: f64) -> f64 {
        let load = mix.need.utilisation(split).prefill;
        match self.outlook.order {
            QueueOrder::FreshFirst => self.too_much(load),
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
            late + (1.0 - late) * mix.slowed(split)
        } else {
            mix.slowed(split)
        }
    }

    /// The share of those that come that get no place on a decode worker in time: what doesn't fit, and what has to wait
    /// until answers of the mix before have ended.
    fn without_place(&mut self, mix: &Mix, split: Split, seconds: f64) -> f64 {
        let too_much = self.too_much(mix.need.utilisation(split).decode);
        let workers = f64::from(split.decode);
        let late = |seconds: f64| {
            let held = self.held.after(seconds, split);
            let taken = mix.taken_after(self.lasted + seconds);
            if taken + held < FULL * workers {
                return 0.0;
            }
            let free = (workers - held).max(0.0);
            let meanwhile = RAMP * (1.0 - free * FULL / mix.need.decode - too_much).max(0.0);
            (too_much + meanwhile).min(1.0)
        };
        // Closer together at first, where things change.
        let until = |sample: u32| seconds * (f64::from(sample) / f64::from(SAMPLES)).powi(2);
        let missed = (0..SAMPLES).map(|sample| {
            let (from, to) = (until(sample), until(sample + 1));
            late(f64::midpoint(from, to)) * (to - from)
        });
        let missed = missed.sum::<f64>() / seconds.max(f64::MIN_POSITIVE);
        self.held = self.held.of_workers(self.held.after(seconds, split));
        missed
    }
}

/// The share of `seconds` for which something is above `level` that is `before` now and grows by `growth` a second.
pub(super) fn share_above(before: f64, growth: f64, seconds: f64, level: f64) -> f64 {
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
