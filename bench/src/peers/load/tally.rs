//! What clients saw: how many answers were right, what was wrong with the others, and how long things took.

use crate::load::Failure;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Answers and times of all clients.
#[derive(Debug)]
pub struct Tally {
    /// Every right answer, the warm-up's too.
    pub right: u64,
    pub failures: BTreeMap<Failure, u64>,
    /// Of the window only, from here on, in nanoseconds: request sent to answer read.
    whole: Histogram<u64>,
    /// To the first token.
    first_token: Histogram<u64>,
    /// Between tokens of one stream.
    between_tokens: Histogram<u64>,
    /// From the worker's write to the client's read.
    on_the_way: Histogram<u64>,
    slices: Slices,
}

/// What a quantile of a whole window can't tell: whether all of it was slow, or one pause of the machine was long.
#[derive(Debug)]
struct Slices {
    began: Option<Instant>,
    now: Histogram<u64>,
    /// Of those that have ended, in nanoseconds.
    p99: Vec<u64>,
}

/// How long a slice is: longer than a stream's time between tokens, so that each stream has its share in it.
const SLICE: Duration = Duration::from_millis(100);

/// Values without which a slice has no 99th percentile.
const ENOUGH: u64 = 200;

impl Slices {
    fn record(&mut self, at: Instant, nanoseconds: u64) {
        let began = *self.began.get_or_insert(at);
        if at.duration_since(began) >= SLICE {
            if self.now.len() >= ENOUGH {
                self.p99.push(self.now.value_at_quantile(0.99));
            }
            self.now.reset();
            self.began = Some(at);
        }
        record(&mut self.now, nanoseconds);
    }

    fn median_p99_us(&self) -> Option<f64> {
        let mut p99 = self.p99.clone();
        p99.sort_unstable();
        p99.get(p99.len() / 2)
            .map(|nanoseconds| *nanoseconds as f64 / 1e3)
    }
}

/// Points of a distribution, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Points {
    pub count: u64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Default for Tally {
    fn default() -> Self {
        let nanoseconds = || Histogram::new(3).expect("three digits are a valid precision");
        let slices = Slices {
            began: None,
            now: nanoseconds(),
            p99: Vec::new(),
        };
        Self {
            right: 0,
            failures: BTreeMap::new(),
            whole: nanoseconds(),
            first_token: nanoseconds(),
            between_tokens: nanoseconds(),
            on_the_way: nanoseconds(),
            slices,
        }
    }
}

impl Tally {
    pub(super) fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    pub(super) fn unanswered(&mut self, requests: u64) {
        *self.failures.entry(Failure::Timeout).or_default() += requests;
    }

    pub(super) fn whole(&mut self, took: Duration) {
        record(&mut self.whole, took.as_nanos() as u64);
    }

    pub(super) fn first_token(&mut self, took: Duration) {
        record(&mut self.first_token, took.as_nanos() as u64);
    }

    pub(super) fn between_tokens(&mut self, gap: Duration) {
        record(&mut self.between_tokens, gap.as_nanos() as u64);
    }

    pub(super) fn on_the_way(&mut self, read_at: Instant, nanoseconds: u64) {
        record(&mut self.on_the_way, nanoseconds);
        self.slices.record(read_at, nanoseconds);
    }

    pub fn whole_points(&self) -> Option<Points> {
        points(&self.whole)
    }

    pub fn first_token_points(&self) -> Option<Points> {
        points(&self.first_token)
    }

    pub fn between_tokens_points(&self) -> Option<Points> {
        points(&self.between_tokens)
    }

    pub fn on_the_way_points(&self) -> Option<Points> {
        points(&self.on_the_way)
    }

    /// The 99th percentile of a tenth of a second, in microseconds: the median of all of them.
    pub fn on_the_way_p99_of_a_slice(&self) -> Option<f64> {
        self.slices.median_p99_us()
    }
}

fn record(histogram: &mut Histogram<u64>, nanoseconds: u64) {
    // An hour is longer than any measurement, and keeps the histogram small.
    let nanoseconds = nanoseconds.min(3_600_000_000_000);
    histogram
        .record(nanoseconds)
        .expect("a histogram grows to what it is given");
}

fn points(histogram: &Histogram<u64>) -> Option<Points> {
    let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    (!histogram.is_empty()).then(|| Points {
        count: histogram.len(),
        p50_us: micros(0.50),
        p99_us: micros(0.99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pause_is_in_the_percentile_of_the_window_and_not_in_that_of_a_slice() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        for millis in 0..2_000u32 {
            let at = start + Duration::from_millis(1) * millis;
            let paused = (500..530).contains(&millis);
            let way = if paused { 30_000_000 } else { 200_000 };
            (0..10).for_each(|_| tally.on_the_way(at, way));
        }
        let whole = tally.on_the_way_points().expect("there are some");
        let slice = tally.on_the_way_p99_of_a_slice().expect("there are some");
        assert!(whole.p99_us > 29_000.0, "{whole:?}");
        assert!((199.0..202.0).contains(&slice), "{slice}");
        assert_eq!(Tally::default().on_the_way_p99_of_a_slice(), None);
    }
}
