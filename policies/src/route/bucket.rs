//! `bucket`: prompts of similar length share a prefill worker, and every worker gets equally many bytes.
//!
//! A long prompt holds up the short ones behind it in the same prefill queue. Sorting prompts by length into as many
//! ranges as there are workers keeps short ones among themselves; choosing the ranges so that each holds the same
//! bytes keeps the workers equally busy.
//!
//! The ranges are not stored. What is kept is the distribution of bytes over prompt lengths in the last interval; a
//! prompt's place in it, as a fraction from 0 (shorter than all) to 1, times the number of workers available *now*, is
//! its worker. Workers may come, go or fail at any time and the ranges are right from the next pick on.
//!
//! Lengths that are too common for one worker span several: within one step of the histogram a prompt draws its place
//! at random. Should the bytes per worker still drift apart, the worker with the fewest takes the next prompt.

mod histogram;

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use self::histogram::{Histogram, Quantiles};
use super::dice::Dice;
use super::select::{Choice, available, cheapest};
use super::settings::{Balance, RouteSettings};
use super::{Candidate, Candidates, Draw, RoutePolicy, RouteRequest};
use crate::time::Timestamp;
use crate::worker::WorkerId;

/// Ranges of prompt lengths with equal bytes.
#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    balance: Balance,
    window: Mutex<Window>,
}

impl Bucket {
    pub(super) fn new(settings: &RouteSettings) -> Self {
        Self {
            // An interval of zero would turn the window at each pick and learn nothing.
            interval: settings
                .bucket_adjust_interval
                .max(Duration::from_millis(1)),
            balance: settings.balance(),
            window: Mutex::default(),
        }
    }
}

impl RoutePolicy for Bucket {
    fn pick(
        &self,
        request: &RouteRequest<'_>,
        candidates: &dyn Candidates,
        draw: Draw,
    ) -> Option<usize> {
        let mut dice = Dice::new(draw.entropy);
        let bytes = request.prompt.len();
        let mut window = self.window.lock();
        window.turn(draw.now, self.interval);
        let shares = window.shares(draw.now, self.interval, candidates);

        let by_length = match &window.ranges {
            Some(ranges) if !self.balance.is_broken(shares.min, shares.max) => {
                let place = ranges.place(bytes, dice.fraction());
                nth_available(candidates, place, shares.workers)
            }
            Some(_) | None => None,
        };
        let picked = by_length.or_else(|| {
            let load = |worker: &Candidate| window.bytes_of(worker.id, shares.overlap);
            cheapest(available(candidates), load, &mut dice)
        });
        let (index, worker) = picked?;
        window.account(worker.id, bytes);
        Some(index)
    }

    fn forget(&self, worker: WorkerId) {
        self.window.lock().by_worker.remove(&worker);
    }
}

/// The worker at `place` (0 to 1) among `count` available ones.
fn nth_available(candidates: &dyn Candidates, place: f64, count: usize) -> Option<Choice> {
    let rank = ((place * count as f64) as usize).min(count.saturating_sub(1));
    available(candidates).nth(rank)
}

/// What was sent where in the current interval and the one before. Its size depends on the number of workers only.
#[derive(Debug, Default)]
struct Window {
    /// Begin of the current interval; `None` before the first pick.
    begun: Option<Timestamp>,
    /// Bytes by prompt length in the current interval.
    lengths: Histogram,
    by_worker: BTreeMap<WorkerId, Bytes>,
    /// From the last interval that saw prompts; `None` before one did.
    ranges: Option<Quantiles>,
}

/// Bytes sent to one worker.
#[derive(Debug, Clone, Copy)]
struct Bytes {
    current: f64,
    previous: f64,
    /// Whether the worker was available at any pick of the current interval.
    seen: bool,
}

/// How the bytes of the sliding window are spread over the available workers.
#[derive(Debug, Clone, Copy)]
struct Shares {
    workers: usize,
    min: f64,
    max: f64,
    /// How much of the previous interval still lies in the window.
    overlap: f64,
}

impl Window {
    /// Begins a new interval when the current one is over.
    fn turn(&mut self, now: Timestamp, interval: Duration) {
        let age = now.since(*self.begun.get_or_insert(now));
        if age < interval {
            return;
        }
        let missed_one = age >= interval.saturating_mul(2);
        self.by_worker.retain(|_, bytes| bytes.seen);
        for bytes in self.by_worker.values_mut() {
            *bytes = Bytes {
                current: 0.0,
                previous: if missed_one { 0.0 } else { bytes.current },
                seen: false,
            };
        }
        if let Some(ranges) = self.lengths.quantiles() {
            self.ranges = Some(ranges);
        }
        self.lengths = Histogram::default();
        self.begun = Some(now);
    }

    /// Looks at the available workers, and lets in those that it doesn't know.
    fn shares(
        &mut self,
        now: Timestamp,
        interval: Duration,
        candidates: &dyn Candidates,
    ) -> Shares {
        let age = self.begun.map_or(Duration::ZERO, |begun| now.since(begun));
        let overlap = (1.0 - age.as_secs_f64() / interval.as_secs_f64()).max(0.0);
        let (mut workers, mut known) = (0_usize, 0_usize);
        let (mut min, mut max, mut sum) = (f64::INFINITY, 0.0_f64, 0.0);
        for (_, worker) in available(candidates) {
            workers += 1;
            if let Some(bytes) = self.by_worker.get_mut(&worker.id) {
                bytes.seen = true;
                known += 1;
                let bytes = bytes.within(overlap);
                (min, max, sum) = (min.min(bytes), max.max(bytes), sum + bytes);
            }
        }
        if known == 0 {
            min = 0.0;
        }
        if known < workers {
            self.admit_newcomers(sum / known.max(1) as f64, candidates);
        }
        Shares {
            workers,
            min,
            max,
            overlap,
        }
    }

    /// Workers that the window doesn't know (new, or back after an interval's absence) begin with the mean of the
    /// others: one that began with nothing would get every prompt until it had caught up with their past.
    fn admit_newcomers(&mut self, mean: f64, candidates: &dyn Candidates) {
        for (_, worker) in available(candidates) {
            self.by_worker.entry(worker.id).or_insert(Bytes {
                current: mean,
                previous: 0.0,
                seen: true,
            });
        }
    }

    fn bytes_of(&self, worker: WorkerId, overlap: f64) -> f64 {
        self.by_worker
            .get(&worker)
            .map_or(0.0, |bytes| bytes.within(overlap))
    }

    fn account(&mut self, worker: WorkerId, bytes: usize) {
        // A prompt of no bytes is still a prompt.
        let bytes = bytes.max(1);
        self.lengths.add(bytes);
        if let Some(worker) = self.by_worker.get_mut(&worker) {
            worker.current += bytes as f64;
        }
    }
}

impl Bytes {
    fn within(self, overlap: f64) -> f64 {
        self.current + self.previous * overlap
    }
}

#[cfg(test)]
mod tests;
