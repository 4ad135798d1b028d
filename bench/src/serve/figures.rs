//! The figures of a run, by the definitions of `vllm bench serve`.

use super::{
    peaks::most_at_once,
    record::{Answered, Example, Gaps, Recorder},
};
use crate::load::Failure;
use std::{collections::BTreeMap, fmt, time::Duration};

/// A latency that is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Metric {
    Ttft,
    Tpot,
    Itl,
    E2el,
}

impl Metric {
    pub const ALL: [Self; 4] = [Self::Ttft, Self::Tpot, Self::Itl, Self::E2el];

    /// As it is called in a result file.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::Itl => "itl",
            Self::E2el => "e2el",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Ttft => "Time to First Token",
            Self::Tpot => "Time per Output Token (excl. 1st token)",
            Self::Itl => "Inter-token Latency",
            Self::E2el => "End-to-end Latency",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key().to_ascii_uppercase())
    }
}

/// What a request has to keep to be a good one. Nothing: goodput is not asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Goodput {
    pub ttft: Option<Duration>,
    pub tpot: Option<Duration>,
    pub e2el: Option<Duration>,
}

impl Goodput {
    pub fn is_asked(&self) -> bool {
        *self != Self::default()
    }

    fn is_met(&self, answered: Answered) -> bool {
        // An answer of one token has no time per token, which keeps any bound.
        let tpot = answered.tpot().unwrap_or_default();
        [
            (self.ttft, answered.ttft),
            (self.tpot, tpot),
            (self.e2el, answered.whole),
        ]
        .into_iter()
        .all(|(bound, found)| bound.is_none_or(|bound| found <= bound))
    }
}

/// One latency over all requests, in milliseconds; 0 where there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub metric: Metric,
    pub mean: f64,
    pub median: f64,
    pub std: f64,
    /// Percentile and value.
    pub percentiles: Vec<(f64, f64)>,
}

/// How long after its moment a request was sent, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Late {
    pub mean: f64,
    pub p99: f64,
    pub max: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    pub duration: Duration,
    pub completed: u64,
    pub failed: u64,
    /// Of requests that completed.
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// `None` where it was not asked for.
    pub good: Option<u64>,
    pub peak_output_tokens: u64,
    pub peak_concurrency: u64,
    pub series: Vec<Series>,
    pub late: Late,
    pub failures: BTreeMap<Failure, u64>,
    pub examples: Vec<Example>,
    pub events: u64,
}

impl Figures {
    pub(super) fn new(
        recorder: &Recorder,
        duration: Duration,
        (metrics, percentiles): (&[Metric], &[f64]),
        goodput: &Goodput,
    ) -> Self {
        let answers = || recorder.answers().map(|(_, answered)| answered);
        let good = answers().filter(|answered| goodput.is_met(*answered));
        let spans = recorder.answers().map(|(record, answered)| {
            let due = record.sent.saturating_sub(record.late);
            (record.sent, (due + answered.whole).max(record.sent))
        });
        Self {
            duration,
            completed: answers().count() as u64,
            failed: recorder.failed_count(),
            input_tokens: recorder
                .answers()
                .map(|(record, _)| u64::from(record.prompt_tokens))
                .sum(),
            output_tokens: answers()
                .map(|answered| u64::from(answered.output_tokens))
                .sum(),
            good: goodput.is_asked().then(|| good.count() as u64),
            peak_output_tokens: recorder.token_rate.peak(),
            peak_concurrency: most_at_once(spans),
            series: metrics
                .iter()
                .map(|metric| series(*metric, recorder, percentiles))
                .collect(),
            late: late(recorder),
            failures: recorder.failures.clone(),
            examples: recorder.examples.clone(),
            events: recorder.events,
        }
    }

    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.duration.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

fn series(metric: Metric, recorder: &Recorder, percentiles: &[f64]) -> Series {
    let answers = recorder.answers().map(|(_, answered)| answered);
    let sample = match metric {
        Metric::Ttft => Sample::new(answers.map(|answered| answered.ttft)),
        Metric::Tpot => Sample::new(answers.filter_map(|answered| answered.tpot())),
        Metric::E2el => Sample::new(answers.map(|answered| answered.whole)),
        Metric::Itl => return of_gaps(&recorder.gaps, percentiles),
    };
    let (mean, std) = sample.mean_and_deviation();
    Series {
        metric,
        mean,
        median: sample.percentile(50.0),
        std,
        percentiles: percentiles
            .iter()
            .map(|&percent| (percent, sample.percentile(percent)))
            .collect(),
    }
}

fn of_gaps(gaps: &Gaps, percentiles: &[f64]) -> Series {
    let (mean, std) = gaps.mean_and_deviation();
    let at = |percent| gaps.percentile(percent) * 1e3;
    Series {
        metric: Metric::Itl,
        mean: mean * 1e3,
        median: at(50.0),
        std: std * 1e3,
        percentiles: percentiles.iter().map(|&p| (p, at(p))).collect(),
    }
}

fn late(recorder: &Recorder) -> Late {
    let sample = Sample::new(recorder.records.iter().map(|record| record.late));
    Late {
        mean: sample.mean_and_deviation().0,
        p99: sample.percentile(99.0),
        max: sample.percentile(100.0),
    }
}

/// Values in milliseconds, rising.
struct Sample(Vec<f64>);

impl Sample {
    fn new(values: impl Iterator<Item = Duration>) -> Self {
        let mut values: Vec<f64> = values.map(|value| value.as_secs_f64() * 1e3).collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    fn mean_and_deviation(&self) -> (f64, f64) {
        let count = self.0.len().max(1) as f64;
        let mean = self.0.iter().sum::<f64>() / count;
        let square = self.0.iter().map(|value| (value - mean).powi(2));
        (mean, (square.sum::<f64>() / count).sqrt())
    }

    /// Between two values it is their weighted mean, as NumPy has it.
    fn percentile(&self, percent: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else {
            return 0.0;
        };
        let place = percent / 100.0 * last as f64;
        let below = self.0[place.floor() as usize];
        let above = self.0[place.ceil() as usize];
        below + (above - below) * place.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn percentiles_lie_between_values_as_numpy_has_them() {
        let sample = Sample::new([4, 1, 2, 3].into_iter().map(|n| MS * n));
        // numpy.percentile([1, 2, 3, 4], p)
        for (percent, expected) in [(0.0, 1.0), (50.0, 2.5), (99.0, 3.97), (100.0, 4.0)] {
            let found = sample.percentile(percent);
            assert!((found - expected).abs() < 1e-9, "{percent}: {found}");
        }
        let (mean, deviation) = sample.mean_and_deviation();
        assert!((mean - 2.5).abs() < 1e-9 && (deviation - 1.118_033_988).abs() < 1e-6);
        assert!(Sample::new(std::iter::empty()).percentile(50.0).abs() < f64::MIN_POSITIVE);
    }

    #[test]
    fn a_request_is_good_if_it_keeps_every_bound_that_is_set() {
        let answered = |ttft, whole, output_tokens| Answered {
            ttft: MS * ttft,
            whole: MS * whole,
            output_tokens,
        };
        let bounds = |ttft, tpot, e2el| Goodput {
            ttft: Some(MS * ttft),
            tpot: Some(MS * tpot),
            e2el,
        };
        let table = [
            (answered(100, 1_100, 11), bounds(100, 100, None), true),
            (answered(101, 1_101, 11), bounds(100, 100, None), false),
            (answered(100, 1_200, 11), bounds(100, 100, None), false),
            (
                answered(100, 1_100, 11),
                bounds(100, 100, Some(MS * 1_000)),
                false,
            ),
            // One token: there is no time per token.
            (answered(100, 100, 1), bounds(100, 0, None), true),
        ];
        for (answered, goodput, good) in table {
            assert_eq!(goodput.is_met(answered), good, "{answered:?} {goodput:?}");
        }
        assert!(!Goodput::default().is_asked());
    }
}
