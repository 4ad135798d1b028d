//! Counting answers and their times: those of one client, and then those of all.

use super::report::{Failure, Percentiles, Report};
use hdrhistogram::Histogram;
use std::{collections::BTreeMap, time::Duration};

/// Failures that a report names one by one.
const MOST_EXAMPLES: usize = 5;

/// When the parts of one answer came.
pub(super) struct Timings {
    first: Option<Duration>,
    last: Duration,
    gaps: Vec<Gap>,
    events: u64,
    reads: u64,
    whole: Duration,
}

/// The time before the tokens of one chunk, shared out among them.
struct Gap {
    per_token: Duration,
    tokens: u32,
}

impl Timings {
    pub(super) const fn streamed() -> Self {
        Self::whole(Duration::ZERO)
    }

    pub(super) const fn whole(took: Duration) -> Self {
        Self {
            first: None,
            last: Duration::ZERO,
            gaps: Vec::new(),
            events: 0,
            reads: 0,
            whole: took,
        }
    }

    /// A piece of the body came, of any number of events.
    pub(super) const fn read(&mut self) {
        self.reads += 1;
    }

    /// An event came. The tokens that come together with the first one have no gap of their own.
    pub(super) fn event(&mut self, at: Duration, tokens: u32) {
        self.events += 1;
        if tokens == 0 {
            return;
        }
        if self.first.is_none() {
            self.first = Some(at);
        } else {
            let per_token = at.saturating_sub(self.last) / tokens;
            self.gaps.push(Gap { per_token, tokens });
        }
        self.last = at;
    }

    pub(super) const fn ended(&mut self, at: Duration) {
        self.whole = at;
    }
}

/// The answers of one client, or of all.
pub(super) struct Tally {
    ok: u64,
    failures: BTreeMap<Failure, u64>,
    examples: Vec<(u64, Failure)>,
    events: u64,
    reads: u64,
    first_token: Histogram<u64>,
    between_tokens: Histogram<u64>,
    whole: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            ok: 0,
            failures: BTreeMap::new(),
            examples: Vec::new(),
            events: 0,
            reads: 0,
            first_token: microseconds(),
            between_tokens: microseconds(),
            whole: microseconds(),
        }
    }

    pub(super) fn count(&mut self, asked: Result<Timings, Failure>, number: u64) {
        match asked {
            Ok(timings) => {
                self.ok += 1;
                self.events += timings.events;
                self.reads += timings.reads;
                record(&mut self.whole, timings.whole, 1);
                if let Some(first) = timings.first {
                    record(&mut self.first_token, first, 1);
                }
                for Gap { per_token, tokens } in timings.gaps {
                    record(&mut self.between_tokens, per_token, tokens.into());
                }
            }
            Err(failure) => {
                *self.failures.entry(failure).or_default() += 1;
                if self.examples.len() < MOST_EXAMPLES {
                    self.examples.push((number, failure));
                }
            }
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.events += other.events;
        self.reads += other.reads;
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        self.examples.extend(&other.examples);
        self.examples.truncate(MOST_EXAMPLES);
        for (mine, others) in [
            (&mut self.first_token, &other.first_token),
            (&mut self.between_tokens, &other.between_tokens),
            (&mut self.whole, &other.whole),
        ] {
            mine.add(others)
                .expect("all histograms grow to what they are given");
        }
    }

    pub(super) fn report(self, took: Duration) -> Report {
        Report {
            ok: self.ok,
            took,
            events: self.events,
            reads: self.reads,
            first_token: Percentiles::of(&self.first_token),
            between_tokens: Percentiles::of(&self.between_tokens),
            whole: Percentiles::of(&self.whole),
            failures: self.failures,
            examples: self.examples,
        }
    }
}

fn microseconds() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are a valid precision")
}

fn record(histogram: &mut Histogram<u64>, took: Duration, times: u64) {
    // A day is longer than any request lives, and keeps the histogram small.
    let micros = took.min(Duration::from_hours(24)).as_micros() as u64;
    histogram
        .record_n(micros, times)
        .expect("a histogram grows to what it is given");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_latencies_are_both_kept() {
        let mut tally = Tally::new();
        for seconds in [0.001, 5.0, 5.0] {
            let mut timings = Timings::streamed();
            timings.event(Duration::from_secs_f64(seconds), 1);
            timings.event(Duration::from_secs_f64(seconds + 0.25), 1);
            timings.ended(Duration::from_secs_f64(seconds + 1.0));
            tally.count(Ok(timings), 0);
        }
        let report = tally.report(Duration::from_secs(1));
        let near = |points: Option<Percentiles>, seconds: f64| {
            let p50 = points.map(|points| points.p50.as_secs_f64());
            p50.is_some_and(|p50| (p50 / seconds - 1.0).abs() < 0.01)
        };
        assert!(near(report.first_token, 5.0), "{report}");
        assert!(near(report.between_tokens, 0.25), "{report}");
        assert!(near(report.whole, 6.0), "{report}");
    }

    #[test]
    fn a_chunk_of_four_tokens_is_four_gaps_of_a_quarter() {
        let mut timings = Timings::streamed();
        // A role chunk, the first token, a chunk of four, one of one that took as long as those four.
        for (ms, tokens) in [(10, 0), (50, 1), (90, 4), (130, 1)] {
            timings.event(Duration::from_millis(ms), tokens);
        }
        timings.ended(Duration::from_millis(130));
        let mut tally = Tally::new();
        tally.count(Ok(timings), 0);
        let report = tally.report(Duration::from_secs(1));
        let millis = |duration: Duration| (duration.as_secs_f64() * 1e3).round() as u64;
        let seen = |points: Option<Percentiles>| {
            points.map(|points| (points.count, millis(points.p50), millis(points.p99)))
        };
        assert_eq!(seen(report.first_token), Some((1, 50, 50)));
        assert_eq!(seen(report.between_tokens), Some((5, 10, 40)));
        assert_eq!(report.events, 4);
    }

    #[test]
    fn wrong_and_failed_are_counted_apart() {
        let mut tally = Tally::new();
        tally.count(Err(Failure::WrongText), 3);
        tally.count(Err(Failure::Status(503)), 4);
        tally.count(Err(Failure::Status(503)), 5);
        let report = tally.report(Duration::from_secs(1));
        assert_eq!(
            (report.wrong(), report.failed(), report.requests()),
            (1, 2, 3)
        );
        assert!(!report.is_flawless());
        assert_eq!(report.to_json()["failures"]["status 503"], 2);
    }
}
