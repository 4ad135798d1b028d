//! What came of a load.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Failures that a report names one by one.
const MOST_EXAMPLES: usize = 5;

/// What was wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection, or it broke before the head.
    Connection,
    Status(u16),
    /// The body broke off.
    Broken,
    /// The body ended early.
    Incomplete,
    ErrorEvent,
    /// Not the JSON or the events that an answer consists of.
    Garbled,
    WrongText,
    WrongFinish,
    WrongUsage,
    Timeout,
}

impl Failure {
    /// A wrong answer, rather than none.
    pub const fn is_wrong(self) -> bool {
        match self {
            Self::Incomplete
            | Self::Garbled
            | Self::WrongText
            | Self::WrongFinish
            | Self::WrongUsage => true,
            Self::Connection
            | Self::Status(_)
            | Self::Broken
            | Self::ErrorEvent
            | Self::Timeout => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("connection"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Broken => f.write_str("broken body"),
            Self::Incomplete => f.write_str("incomplete"),
            Self::ErrorEvent => f.write_str("error event"),
            Self::Garbled => f.write_str("garbled"),
            Self::WrongText => f.write_str("wrong text"),
            Self::WrongFinish => f.write_str("wrong finish reason"),
            Self::WrongUsage => f.write_str("wrong usage"),
            Self::Timeout => f.write_str("timeout"),
        }
    }
}

/// When the parts of one answer came.
pub(super) struct Timings {
    first: Option<Duration>,
    last: Duration,
    gaps: Vec<Duration>,
    whole: Duration,
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
            whole: took,
        }
    }

    pub(super) fn token(&mut self, at: Duration) {
        match self.first {
            None => self.first = Some(at),
            Some(_) => self.gaps.push(at.saturating_sub(self.last)),
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
            first_token: microseconds(),
            between_tokens: microseconds(),
            whole: microseconds(),
        }
    }

    pub(super) fn count(&mut self, asked: Result<Timings, Failure>, number: u64) {
        match asked {
            Ok(timings) => {
                self.ok += 1;
                record(&mut self.whole, timings.whole);
                if let Some(first) = timings.first {
                    record(&mut self.first_token, first);
                }
                for gap in timings.gaps {
                    record(&mut self.between_tokens, gap);
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

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    // A day is longer than any request lives, and keeps the histogram small.
    let micros = took.min(Duration::from_hours(24)).as_micros() as u64;
    histogram
        .record(micros)
        .expect("a histogram grows to what it is given");
}

/// Two points of a distribution, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    pub p50: Duration,
    pub p99: Duration,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.50),
            p99: at(0.99),
        })
    }
}

/// The summary of a load.
#[derive(Debug, Clone)]
pub struct Report {
    pub ok: u64,
    pub failures: BTreeMap<Failure, u64>,
    /// Number and failure of some requests, to repeat them by.
    pub examples: Vec<(u64, Failure)>,
    pub took: Duration,
    pub first_token: Option<Percentiles>,
    pub between_tokens: Option<Percentiles>,
    pub whole: Option<Percentiles>,
}

impl Report {
    pub fn requests(&self) -> u64 {
        self.ok + self.failures.values().sum::<u64>()
    }

    /// Answers that came and were not right.
    pub fn wrong(&self) -> u64 {
        self.count(Failure::is_wrong)
    }

    /// Requests that got no answer.
    pub fn failed(&self) -> u64 {
        self.count(|failure| !failure.is_wrong())
    }

    fn count(&self, counts: impl Fn(Failure) -> bool) -> u64 {
        let counted = self
            .failures
            .iter()
            .filter(|(failure, _)| counts(**failure));
        counted.map(|(_, count)| count).sum()
    }

    pub fn is_flawless(&self) -> bool {
        self.failures.is_empty()
    }

    pub fn requests_per_second(&self) -> f64 {
        self.requests() as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub fn to_json(&self) -> Value {
        let failures: BTreeMap<String, u64> = self
            .failures
            .iter()
            .map(|(failure, count)| (failure.to_string(), *count))
            .collect();
        let milliseconds = |points: Option<Percentiles>| {
            points.map(|points| {
                json!({
                    "p50": points.p50.as_secs_f64() * 1e3,
                    "p99": points.p99.as_secs_f64() * 1e3,
                })
            })
        };
        json!({
            "requests": self.requests(),
            "ok": self.ok,
            "wrong": self.wrong(),
            "failed": self.failed(),
            "failures": failures,
            "duration_s": self.took.as_secs_f64(),
            "requests_per_second": self.requests_per_second(),
            "ttft_ms": milliseconds(self.first_token),
            "itl_ms": milliseconds(self.between_tokens),
            "e2e_ms": milliseconds(self.whole),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requests        {:>10}", self.requests())?;
        writeln!(f, "ok              {:>10}", self.ok)?;
        writeln!(f, "wrong           {:>10}", self.wrong())?;
        writeln!(f, "failed          {:>10}", self.failed())?;
        for (failure, count) in &self.failures {
            writeln!(f, "  {:<14}{count:>10}", failure.to_string())?;
        }
        for (number, failure) in &self.examples {
            writeln!(f, "  for one: request {number}, {failure}")?;
        }
        writeln!(f, "duration        {:>10.2} s", self.took.as_secs_f64())?;
        writeln!(f, "requests/s      {:>10.1}", self.requests_per_second())?;
        write!(f, "{:<14}{:>14}{:>14}", "", "p50 ms", "p99 ms")?;
        for (name, points) in [
            ("TTFT", self.first_token),
            ("ITL", self.between_tokens),
            ("whole answer", self.whole),
        ] {
            let Some(Percentiles { p50, p99 }) = points else {
                continue;
            };
            let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
            write!(f, "\n{name:<14}{:>14.2}{:>14.2}", ms(p50), ms(p99))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_latencies_are_both_kept() {
        let mut tally = Tally::new();
        for seconds in [0.001, 5.0, 5.0] {
            let mut timings = Timings::streamed();
            timings.token(Duration::from_secs_f64(seconds));
            timings.token(Duration::from_secs_f64(seconds + 0.25));
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
