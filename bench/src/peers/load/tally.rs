//! What clients saw: how many answers were right, what was wrong with the others, and how long things took.

use crate::load::Failure;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

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
        Self {
            right: 0,
            failures: BTreeMap::new(),
            whole: nanoseconds(),
            first_token: nanoseconds(),
            between_tokens: nanoseconds(),
            on_the_way: nanoseconds(),
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

    pub(super) fn on_the_way(&mut self, nanoseconds: u64) {
        record(&mut self.on_the_way, nanoseconds);
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
