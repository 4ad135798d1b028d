//! What a split is expected to cost in requests that miss their targets: while the present mix lasts, and in the one that
//! follows.
//!
//! A mix that ends is followed by the one before it, as far as anybody knows: traffic that shifts once tends to shift
//! back. So a split is judged by both: what it loses now, what it leaves behind for later (a queue that has to be worked
//! off) and how it is placed when the other mix returns and moving back takes its time.

use super::Split;
use super::need::Need;

/// Requests of one kind of time: what they need, and how many come.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Mix {
    pub(super) need: Need,
    pub(super) requests_per_second: f64,
}

/// From this load on requests begin to miss their targets: bursts no longer fit.
pub(super) const KNEE: f64 = 0.92;

/// Decode shares its time among all that it has: from the knee on all of them slow down together, and a little beyond
/// full nobody keeps the time between tokens.
const ALL_SLOW: f64 = 1.04;

impl Mix {
    /// Share of the requests that miss their targets on `split`.
    pub(super) fn missed(&self, split: Split) -> f64 {
        let load = self.need.utilisation(split);
        let prefill = if load.prefill <= KNEE {
            0.0
        } else {
            // The queue takes those first that can still be in time: what doesn't fit is late.
            1.0 - KNEE / load.prefill
        };
        let decode = ((load.decode - KNEE) / (ALL_SLOW - KNEE)).clamp(0.0, 1.0);
        prefill.max(decode)
    }

    /// Moves a part of the way to another.
    pub(super) fn fade_to(&mut self, other: &Self, part: f64) {
        for (value, other) in [
            (&mut self.need.prefill, other.need.prefill),
            (&mut self.need.decode, other.need.decode),
            (&mut self.requests_per_second, other.requests_per_second),
        ] {
            *value += part * (other - *value);
        }
    }

    fn missed_per_second(&self, split: Split) -> f64 {
        self.missed(split) * self.requests_per_second
    }

    fn load(&self, split: Split) -> f64 {
        self.need.utilisation(split).highest()
    }
}

/// The present mix, how long it is expected to last, and the one expected to follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    pub(super) now: Mix,
    pub(super) next: Option<Mix>,
    /// Seconds.
    pub(super) remaining: f64,
}

/// A way from one split to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// While the worker is away.
    pub(super) transit: Split,
    pub(super) target: Split,
    /// Seconds until it serves.
    pub(super) away: f64,
    /// Seconds that the way back would take.
    pub(super) back: f64,
}

impl Outlook {
    /// Requests that are expected to miss their targets where nothing is moved.
    pub(super) fn staying(&self, split: Split) -> f64 {
        self.now.missed_per_second(split) * self.remaining + self.left_behind(split, self.remaining)
    }

    /// The same where the way is taken.
    pub(super) fn moving(&self, way: &Way) -> f64 {
        let away = way.away.min(self.remaining);
        let rest = self.remaining - away;
        let here = self.now.missed_per_second(way.transit) * away
            + self.now.missed_per_second(way.target) * rest
            + self.left_behind(way.target, rest);
        here + self.misplaced(way)
    }

    /// What is lost in the mix that follows until a worker has been moved back.
    fn misplaced(&self, way: &Way) -> f64 {
        self.next
            .map_or(0.0, |next| next.missed_per_second(way.target) * way.back)
    }

    /// What `seconds` of overload leave behind for the mix that follows: the queue is worked off by what that one leaves
    /// free, and until then its requests wait as well.
    fn left_behind(&self, split: Split, seconds: f64) -> f64 {
        let Some(next) = &self.next else {
            return 0.0;
        };
        let excess = (self.now.load(split) - 1.0).max(0.0) * seconds;
        let free = (1.0 - next.load(split)).max(LEAST_FREE);
        (excess / free).min(seconds) * next.requests_per_second
    }
}

/// However full the next mix is, a queue is worked off in the end.
const LEAST_FREE: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    const fn split(prefill: u32, decode: u32) -> Split {
        Split { prefill, decode }
    }

    fn mix(prefill: f64, decode: f64, requests_per_second: f64) -> Mix {
        Mix {
            need: Need { prefill, decode },
            requests_per_second,
        }
    }

    #[test]
    fn nobody_misses_below_the_knee_and_decode_slows_down_for_all() {
        let two = split(2, 2);
        let table = [
            (mix(1.8, 1.8, 1.0), 0.0),
            (mix(4.0, 1.0, 1.0), 1.0 - KNEE / 2.0),
            (mix(1.0, 1.96, 1.0), 0.5),
            (mix(1.0, 2.2, 1.0), 1.0),
        ];
        for (mix, missed) in table {
            assert!((mix.missed(two) - missed).abs() < 1e-9, "{mix:?}");
        }
    }

    /// Decode-heavy now, prefill-heavy next, as long as given.
    fn outlook(remaining: f64) -> Outlook {
        Outlook {
            now: mix(0.1, 2.3, 10.0),
            next: Some(mix(1.6, 0.8, 40.0)),
            remaining,
        }
    }

    fn way(away: f64) -> Way {
        Way {
            transit: split(1, 2),
            target: split(1, 3),
            away,
            back: away,
        }
    }

    #[test]
    fn a_move_pays_where_the_mix_lasts_and_is_cheap() {
        let pays = |remaining, away| {
            let outlook = outlook(remaining);
            outlook.moving(&way(away)) < outlook.staying(split(2, 2))
        };
        assert!(pays(300.0, 5.0));
        assert!(pays(300.0, 60.0));
        assert!(!pays(60.0, 120.0));
        assert!(!pays(20.0, 90.0));
    }

    #[test]
    fn without_a_mix_to_follow_only_the_present_counts() {
        let outlook = Outlook {
            next: None,
            ..outlook(100.0)
        };
        assert!((outlook.staying(split(2, 2)) - 1_000.0).abs() < 1e-9);
        assert!((outlook.moving(&way(30.0)) - 300.0).abs() < 1e-9);
    }
}
