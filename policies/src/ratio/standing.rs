//! A queue before prefill that stands.
//!
//! Prompts that wait although decode has room for them say that prefill workers do all that they can. If no fewer wait as
//! time goes by, what comes is no less than that, whatever the estimates make of it: clients that ask again only once they
//! are answered never ask for more than they are given, and a split that is only just too small may be so by chance in
//! every single look.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

use super::Observation;

/// So long the queue has to stand. Chance makes what comes meanwhile about 3 % more or less at 25 requests a second.
const STANDS: Duration = Duration::from_secs(15);

/// Less than this for each worker, in seconds of its time, is its next batch and not a queue.
pub(super) const QUEUE_SECONDS: f64 = 1.5;

/// A queue that shrinks by more than this share of what the workers do is worked off.
const SHRINKS: f64 = 0.05;

/// A queue that stands should be worked off within this time: a fifth of what a request waits for at most.
const WORKED_OFF_SECONDS: f64 = 60.0;

/// However many become late, no more than twice as many workers are needed for all that this shows: clients that wait for
/// their answers may make all of them late.
const MOST_LATE: f64 = 0.5;

/// How many of those that come become late, where the queue lets nobody be held up by those that are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    arrived: u64,
    turned: u64,
}

impl Late {
    pub(super) fn of(seen: &Observation) -> Self {
        let arrived = seen.traffic.iter().map(|class| u64::from(class.arrived));
        Self {
            arrived: arrived.sum(),
            turned: seen.turned_late,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) at: Timestamp,
    /// Seconds of a worker's time.
    pub(super) waiting: f64,
    /// Since the look before; `None` where the queue is in the order of arrival.
    pub(super) late: Option<Late>,
}

/// The last looks at the queue before one number of prefill workers.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    looks: VecDeque<Look>,
    workers: u32,
}

impl Standing {
    /// `look` is at the queue before `workers` prefill workers; `held_up` says that something else keeps them from doing
    /// what they could.
    pub(super) fn observe(&mut self, look: Look, workers: u32, held_up: bool) {
        let is_queue = look.waiting > QUEUE_SECONDS * f64::from(workers) && !held_up;
        if !is_queue || workers != self.workers {
            self.looks.clear();
        }
        self.workers = workers;
        if is_queue {
            self.looks.push_back(look);
        }
        // The first look that stays is the last that is old enough.
        while self
            .looks
            .get(1)
            .is_some_and(|second| look.at.since(second.at) >= STANDS)
        {
            self.looks.pop_front();
        }
    }

    /// Prefill workers that are needed at the least, as the queue shows: all that serve, and those that would work it off,
    /// or, where late ones wait for their turn, that would keep the others from becoming late. 0 where it shows nothing.
    pub(super) fn least_need(&self) -> f64 {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else {
            return 0.0;
        };
        let lasted = last.at.since(first.at);
        let workers = f64::from(self.workers);
        let shrunk = first.waiting - last.waiting;
        if lasted < STANDS || shrunk > SHRINKS * workers * lasted.as_secs_f64() {
            return 0.0;
        }
        match self.late_share() {
            None => workers + last.waiting / WORKED_OFF_SECONDS,
            Some(late) => workers / (1.0 - late.min(MOST_LATE)),
        }
    }

    /// Of those that came while the queue stood, the part that became late.
    fn late_share(&self) -> Option<f64> {
        let mut share = None;
        let (mut arrived, mut turned) = (0, 0);
        for late in self.looks.iter().skip(1).filter_map(|look| look.late) {
            arrived += late.arrived;
            turned += late.turned;
            share = Some(turned as f64 / (arrived as f64).max(1.0));
        }
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two workers, looked at every second, and a queue that begins at 8 seconds of a worker's time and grows by `growth`.
    fn watched(seconds: u64, growth: f64) -> Standing {
        let mut standing = Standing::default();
        for second in 0..=seconds {
            standing.observe(look(second, 8.0 + growth * second as f64), 2, false);
        }
        standing
    }

    fn shows(standing: &Standing) -> bool {
        standing.least_need() > 0.0
    }

    fn look(second: u64, waiting: f64) -> Look {
        Look {
            at: Timestamp::from_micros(second * 1_000_000),
            waiting,
            late: None,
        }
    }

    #[test]
    fn a_queue_that_stands_needs_every_worker_and_some_to_work_it_off() {
        for (seconds, growth, least) in [
            (15, 0.0, 2.0 + 8.0 / 60.0),
            (15, 0.4, 2.0 + 14.0 / 60.0),
            (60, 0.0, 2.0 + 8.0 / 60.0),
        ] {
            let shown = watched(seconds, growth).least_need();
            assert!(
                (shown - least).abs() < 1e-9,
                "{seconds} s, {growth} a second: {shown}"
            );
        }
    }

    #[test]
    fn where_late_ones_wait_the_share_that_becomes_late_says_what_is_needed_and_not_their_number() {
        for (turned, least) in [(0, 2.0), (2, 2.5), (5, 4.0), (10, 4.0)] {
            let mut standing = Standing::default();
            for second in 0..=15 {
                let late = Some(Late {
                    arrived: 10,
                    turned,
                });
                let queue = 500.0;
                standing.observe(
                    Look {
                        late,
                        ..look(second, queue)
                    },
                    2,
                    false,
                );
            }
            let shown = standing.least_need();
            assert!((shown - least).abs() < 1e-9, "{turned} of ten: {shown}");
        }
    }

    #[test]
    fn a_queue_shows_nothing_before_it_has_stood() {
        assert!(!shows(&watched(14, 0.3)));
        assert!(shows(&watched(15, 0.3)));
    }

    #[test]
    fn a_queue_that_shrinks_shows_nothing() {
        for growth in [-0.11, -0.2, -0.4] {
            assert!(!shows(&watched(15, growth)), "{growth} a second");
        }
    }

    #[test]
    fn what_ran_empty_was_held_up_or_had_other_workers_begins_anew() {
        for (workers, waiting, held_up) in [(2, 2.9, false), (2, 9.0, true), (3, 9.0, false)] {
            let mut standing = watched(20, 0.0);
            standing.observe(look(21, waiting), workers, held_up);
            standing.observe(look(30, 9.0), workers, false);
            assert!(!shows(&standing), "{workers} {waiting} {held_up}");
            standing.observe(look(45, 9.0), workers, false);
            assert!(shows(&standing), "{workers} {waiting} {held_up}");
        }
    }
}
