//! What came of a load.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, time::Duration};

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

/// Two points of a distribution, where there is one, and of how many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    pub count: u64,
    pub p50: Duration,
    pub p99: Duration,
}

impl Percentiles {
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
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
    /// Events of all streams that ended well, those without a token too.
    pub events: u64,
    /// Pieces in which their bytes came.
    pub reads: u64,
    pub first_token: Option<Percentiles>,
    /// Each token after the first of its answer counts.
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
                    "count": points.count,
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
            "events": self.events,
            "reads": self.reads,
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
        writeln!(f, "stream events   {:>10}", self.events)?;
        write!(
            f,
            "{:<14}{:>14}{:>14}{:>14}",
            "", "p50 ms", "p99 ms", "values"
        )?;
        for (name, points) in [
            ("TTFT", self.first_token),
            ("ITL", self.between_tokens),
            ("whole answer", self.whole),
        ] {
            let Some(Percentiles { count, p50, p99 }) = points else {
                continue;
            };
            let (p50, p99) = (p50.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3);
            write!(f, "\n{name:<14}{p50:>14.2}{p99:>14.2}{count:>14}")?;
        }
        Ok(())
    }
}
