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

    /// The split of `workers` (at least 2) whose fuller role is the least full.
    pub(super) fn best_split(&self, workers: u32) -> Split {
        let splits = (1..workers.max(2)).map(|prefill| Split {
            prefill,
            decode: workers.max(2) - prefill,
        });
        let highest = |split: &Split| self.need.utilisation(*split).highest();
        splits
            .min_by(|one, other| highest(one).total_cmp(&highest(other)))
            .expect("two workers have a split")
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
}

/// The present mix, how long it is expected to last, and the one expected to follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    pub(super) now: Mix,
    /// Seconds.
    pub(super) remaining: f64,
    pub(super) next: Option<Next>,
}

/// What is expected to follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) mix: Mix,
    /// Seconds that it lasts.
    pub(super) lasting: f64,
    /// The split that suits it.
    pub(super) suited: Split,
}

/// A way from one split to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// While the worker is away.
    pub(super) transit: Split,
    pub(super) target: Split,
    /// Seconds until it serves.
    pub(super) away: f64,
    /// Seconds that a way back would take.
    pub(super) back: f64,
}

impl Outlook {
    /// Requests that are expected to miss their targets where nothing is moved now; `back` is how long a move takes
    /// once the mix has changed.
    pub(super) fn staying(&self, split: Split, back: f64) -> f64 {
        let mut course = Course::default();
        course.pass(&self.now, split, self.remaining);
        self.follow(&mut course, split, back);
        course.missed
    }

    /// The same where the way is taken.
    pub(super) fn moving(&self, way: &Way) -> f64 {
        let away = way.away.min(self.remaining);
        let mut course = Course::default();
        course.pass(&self.now, way.transit, away);
        course.pass(&self.now, way.target, self.remaining - away);
        self.follow(&mut course, way.target, way.back);
        course.missed
    }

    /// The mix that follows is met with the split that there is, until the one that suits it can be had.
    fn follow(&self, course: &mut Course, split: Split, back: f64) {
        if let Some(next) = &self.next {
            let back = back.min(next.lasting);
            course.pass(&next.mix, split, back);
            course.pass(&next.mix, next.suited, next.lasting - back);
        }
    }
}

/// Time as it passes: what is missed, and what decode is behind with.
#[derive(Default)]
struct Course {
    missed: f64,
    /// Seconds of the whole role's work. A queue before prefill is none: those that are late in it are taken last, and
    /// hold up nobody.
    behind: f64,
}

impl Course {
    fn pass(&mut self, mix: &Mix, split: Split, seconds: f64) {
        let load = mix.need.utilisation(split).decode;
        let catching_up = if load < 1.0 {
            (self.behind / (1.0 - load)).min(seconds)
        } else {
            0.0
        };
        self.behind = (self.behind + (load - 1.0) * seconds).max(0.0);
        let in_time = seconds - catching_up;
        self.missed += mix.requests_per_second * (catching_up + mix.missed(split) * in_time);
    }
}

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

    /// Decode-heavy now, prefill-heavy next.
    fn outlook(remaining: f64) -> Outlook {
        Outlook {
            now: mix(0.1, 2.3, 10.0),
            remaining,
            next: Some(Next {
                mix: mix(1.6, 0.8, 40.0),
                lasting: 300.0,
                suited: split(2, 2),
            }),
        }
    }

    fn saved(outlook: &Outlook, away: f64) -> f64 {
        let way = Way {
            transit: split(1, 2),
            target: split(1, 3),
            away,
            back: away,
        };
        outlook.staying(split(2, 2), away) - outlook.moving(&way)
    }

    #[test]
    fn a_move_pays_where_the_mix_lasts_and_is_cheap() {
        assert!(saved(&outlook(300.0), 5.0) > 1_000.0);
        assert!(saved(&outlook(300.0), 60.0) > 1_000.0);
        assert!(saved(&outlook(30.0), 90.0) < 0.0);
    }

    #[test]
    fn a_move_the_wrong_way_never_pays() {
        let way = Way {
            transit: split(2, 1),
            target: split(3, 1),
            away: 10.0,
            back: 10.0,
        };
        for remaining in [10.0, 100.0, 1_000.0] {
            let outlook = outlook(remaining);
            assert!(outlook.moving(&way) > outlook.staying(split(2, 2), 10.0));
        }
    }

    #[test]
    fn without_a_mix_to_follow_only_the_present_counts() {
        let outlook = Outlook {
            next: None,
            ..outlook(100.0)
        };
        // All miss as long as decode has two workers; with three it has to catch up 30 * 0.15 at a rate of 0.233.
        assert!((outlook.staying(split(2, 2), 0.0) - 1_000.0).abs() < 1e-9);
        let catching_up = 30.0 * 0.15 / (1.0 - 2.3 / 3.0);
        assert!((saved(&outlook, 30.0) - 10.0 * (70.0 - catching_up)).abs() < 1e-6);
    }
}
