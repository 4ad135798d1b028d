//! What comes at one kind of time, and what it asks of a split.

use crate::ratio::Split;
use crate::ratio::need::Need;

/// Where requests wait in the decode workers: those share their time among all that they have, so the fuller they are the
/// more often chance fills them, and then all slow down together and those behind them wait. A little beyond full nobody is
/// in time.
const SLOWING: f64 = 0.7;
const ALL_SLOW: f64 = 1.04;

/// Requests of one kind of time: what they need, and how many come.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in crate::ratio) struct Mix {
    pub(in crate::ratio) need: Need,
    pub(in crate::ratio) requests_per_second: f64,
    /// How long those are answered that decode runs at a moment, from their first token to their last, in the mean.
    pub(in crate::ratio) answer_seconds: f64,
    /// A decode worker's step with nothing in it, and one with as many sequences as it runs at most, as shares of the
    /// target between tokens.
    pub(in crate::ratio) empty_step: f64,
    pub(in crate::ratio) full_step: f64,
}

impl Mix {
    /// The share that is late where requests wait in the decode workers.
    pub(super) fn slowed(&self, split: Split) -> f64 {
        let load = self.need.utilisation(split).decode;
        ((load - SLOWING) / (ALL_SLOW - SLOWING)).clamp(0.0, 1.0)
    }

    /// Workers' worth of places that it holds. They are fewer than the workers' worth of work: while few run, steps are
    /// short and answers end soon. By Little's law, with steps that grow by the sequence.
    pub(in crate::ratio) fn places(&self, split: Split) -> f64 {
        let load = self.need.utilisation(split).decode.min(1.0);
        let fixed = self.empty_step / self.full_step.max(f64::MIN_POSITIVE);
        let share = load * fixed / (1.0 - load * (1.0 - fixed)).max(f64::MIN_POSITIVE);
        f64::from(split.decode) * share.min(1.0)
    }

    /// Workers' worth of places that it holds once it has come for so long, where it finds as many as it needs: they fill up
    /// one by one, until the first answers end.
    pub(super) fn taken_after(&self, seconds: f64) -> f64 {
        let part = seconds / self.answer_seconds.max(f64::MIN_POSITIVE);
        self.need.decode * part.min(1.0)
    }

    /// Moves a part of the way to another.
    pub(in crate::ratio) fn fade_to(&mut self, other: &Self, part: f64) {
        for (value, other) in [
            (&mut self.need.prefill, other.need.prefill),
            (&mut self.need.decode, other.need.decode),
            (&mut self.requests_per_second, other.requests_per_second),
            (&mut self.answer_seconds, other.answer_seconds),
            (&mut self.empty_step, other.empty_step),
            (&mut self.full_step, other.full_step),
        ] {
            *value += part * (other - *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(decode: f64) -> Mix {
        Mix {
            need: Need {
                prefill: 1.0,
                decode,
            },
            empty_step: 0.25,
            full_step: 1.0,
            ..Mix::default()
        }
    }

    const TWO: Split = Split {
        prefill: 2,
        decode: 2,
    };

    #[test]
    fn a_worker_that_is_not_full_has_few_places_taken() {
        // Half of a full worker's tokens with steps of 0.4: a fifth of its places.
        for (decode, places) in [(0.0, 0.0), (1.0, 0.4), (2.0, 2.0), (5.0, 2.0)] {
            let found = mix(decode).places(TWO);
            assert!((found - places).abs() < 1e-9, "{decode}: {found}");
        }
    }
}
