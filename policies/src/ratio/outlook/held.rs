//! Places on decode workers that answers of the mix before hold, until they end one by one.

use super::Mix;
use crate::ratio::Split;

#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Workers' worth of them.
    workers: f64,
    /// Of that, what becomes free in a second.
    freed: f64,
    /// How long one is held.
    seconds: f64,
}

impl Held {
    /// By a mix that `split` has served for long.
    pub(super) fn by(mix: &Mix, split: Split) -> Self {
        let seconds = mix.answer_seconds.max(f64::MIN_POSITIVE);
        Self {
            workers: mix.places(split),
            freed: mix.need.decode.min(f64::from(split.decode)) / seconds,
            seconds,
        }
    }

    /// The same answers, as many as hold so many workers' worth.
    pub(super) const fn of_workers(self, workers: f64) -> Self {
        Self { workers, ..self }
    }

    /// What of it is left after so many seconds on `split`. Whom it has no place for waits: in the mean answers are half
    /// written, so that a worker's worth of them is done in half of the time that one takes.
    pub(super) fn after(self, seconds: f64, split: Split) -> f64 {
        let freed = self.freed.min(2.0 * f64::from(split.decode) / self.seconds);
        (self.workers - freed * seconds).max(0.0)
    }

    /// Seconds until no more than `workers` are held; none where that is never.
    pub(super) fn until(self, workers: f64) -> f64 {
        let wait = (self.workers - workers) / self.freed;
        if wait.is_finite() { wait.max(0.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::Need;

    #[test]
    fn answers_end_one_by_one_and_no_sooner_than_the_workers_that_are_left_write_them() {
        let mix = Mix {
            need: Need {
                prefill: 0.1,
                decode: 3.0,
            },
            answer_seconds: 40.0,
            empty_step: 0.25,
            full_step: 1.0,
            ..Mix::default()
        };
        let split = |prefill, decode| Split { prefill, decode };
        let held = Held::by(&mix, split(1, 3));
        for (seconds, on, left) in [
            (20.0, split(1, 3), 1.5),
            (40.0, split(1, 3), 0.0),
            (20.0, split(2, 2), 1.5),
            (20.0, split(3, 1), 2.0),
        ] {
            let found = held.after(seconds, on);
            assert!((found - left).abs() < 1e-9, "{seconds} s on {on}: {found}");
        }
        assert!((held.until(1.5) - 20.0).abs() < 1e-9);
        assert!(held.until(3.5) <= 0.0);
        assert!(Held::by(&Mix::default(), split(2, 2)).until(0.0) <= 0.0);
    }
}
