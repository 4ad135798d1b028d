//! Mixes of requests over time: since when the present one lasts, what the one before was, and how long they last.
//!
//! A regime ends when prefill's share of what is needed has become another: not when more or less of the same comes, which
//! wants the same split, and not when chance makes a class come more often for a while. Only
//! a mix that has been seen for a while is remembered, so that what is passed through on the way isn't.

use std::time::Duration;

use crate::time::Timestamp;

use super::outlook::Mix;

/// The least weight of the newest regime in the mean of their lengths; the first ones weigh more, since what was expected
/// before any was seen is a guess.
const NEWEST: f64 = 0.3;

/// The weight of that guess, in regimes.
const GUESS: f64 = 0.5;

/// The estimates of a new mix have settled after this time.
const SETTLING: Duration = Duration::from_secs(20);

/// Prefill's share of the need is another one when it has changed by this much; from 2P2D to 1P3D it is a quarter.
const ANOTHER: f64 = 0.15;

/// Where less than so many workers are needed, few requests say what the mix is, and any split does.
const LEAST_NEED: f64 = 0.5;

/// The weight of a look in the memory of a mix that has settled.
const FADING: f64 = 0.02;

#[derive(Debug, Clone, Copy)]
pub(super) struct Regimes {
    mean_seconds: f64,
    /// That have ended.
    seen: f64,
    since: Timestamp,
    /// What the present one is like, once it is known.
    settled: Option<Mix>,
    previous: Option<Mix>,
}

impl Regimes {
    /// Before anything is known, a regime is expected to last `mean`.
    pub(super) fn new(mean: Duration) -> Self {
        Self {
            mean_seconds: mean.as_secs_f64(),
            seen: 0.0,
            since: Timestamp::ZERO,
            settled: None,
            previous: None,
        }
    }

    pub(super) fn observe(&mut self, now: Timestamp, mix: Mix) {
        let lasted = now.since(self.since);
        match &mut self.settled {
            None if lasted >= SETTLING && mix.need.whole() >= LEAST_NEED => {
                self.settled = Some(mix);
            }
            None => {}
            Some(settled) if is_another(settled, &mix) => {
                self.seen += 1.0;
                let weight = (1.0 / (self.seen + GUESS)).max(NEWEST);
                self.mean_seconds += weight * (lasted.as_secs_f64() - self.mean_seconds);
                self.previous = self.settled.take();
                self.since = now;
            }
            Some(settled) => settled.fade_to(&mix, FADING),
        }
    }

    /// The mix that was before the present one.
    pub(super) fn previous(&self) -> Option<Mix> {
        self.previous
    }

    /// When the present one began.
    pub(super) const fn since(&self) -> Timestamp {
        self.since
    }

    pub(super) fn mean_seconds(&self) -> f64 {
        self.mean_seconds
    }

    /// Seconds that the present one is expected to last yet: the rest of the mean, but never less than a part of it,
    /// since one that outlasts the mean may go on. Where none has ended yet, as long again as it has lasted.
    pub(super) fn remaining(&self, now: Timestamp) -> f64 {
        let lasted = now.since(self.since).as_secs_f64();
        if self.previous.is_none() {
            return lasted.max(self.mean_seconds);
        }
        (self.mean_seconds - lasted).max(self.mean_seconds / 3.0)
    }
}

fn is_another(settled: &Mix, mix: &Mix) -> bool {
    let known = settled.need.whole().min(mix.need.whole()) >= LEAST_NEED;
    let change = settled.need.prefill_share() - mix.need.prefill_share();
    known && change.abs() > ANOTHER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::Need;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn mix(prefill: f64, decode: f64) -> Mix {
        Mix {
            need: Need { prefill, decode },
            requests_per_second: 10.0,
            answer_seconds: 10.0,
            ..Mix::default()
        }
    }

    #[test]
    fn what_lasts_is_remembered_and_what_is_passed_through_is_not() {
        let mut regimes = Regimes::new(Duration::from_secs(300));
        let (first, between, second) = (mix(1.6, 0.8), mix(0.8, 1.2), mix(0.1, 2.2));
        for second_of_it in 0..100 {
            regimes.observe(at(second_of_it), first);
        }
        assert!(regimes.previous().is_none());
        regimes.observe(at(100), between);
        for second_of_it in 101..200 {
            regimes.observe(at(second_of_it), second);
        }
        assert_eq!(regimes.previous(), Some(first));
        // 300 s expected, 100 s seen, with a weight of two thirds: 167 s, of which 99 are over.
        let remaining = regimes.remaining(at(199));
        assert!(
            (remaining - (500.0 / 3.0 - 99.0)).abs() < 1e-9,
            "{remaining}"
        );
        regimes.observe(at(200), first);
        assert_eq!(regimes.previous(), Some(second));
    }

    #[test]
    fn chance_is_no_change() {
        let mut regimes = Regimes::new(Duration::from_secs(300));
        for second in 0..1_000 {
            let wave = 1.0 + 0.2 * (second as f64).sin();
            regimes.observe(at(second), mix(1.6 * wave, 0.8 * wave));
        }
        assert!(regimes.previous().is_none());
        let remaining = regimes.remaining(at(1_000));
        assert!(
            (remaining - 1_000.0).abs() < 1e-9,
            "as long again as it has lasted: {remaining}"
        );
    }
}
