//! What came of the requests of a run, as they end.
//!
//! A request takes about 100 bytes for the whole run. Inter-token latencies go into one histogram (four digits, so off
//! by a ten-thousandth at most) and into sums, from which mean and deviation are exact; only with details are they kept
//! one by one, with the text: 8 bytes a chunk.

use super::{
    answer::{Answer, Gap, Problem},
    peaks::TokenRate,
};
use crate::load::Failure;
use hdrhistogram::Histogram;
use std::{collections::BTreeMap, time::Duration};

/// Failures that a summary describes one by one, as many as vLLM's client does.
const MOST_EXAMPLES: usize = 10;

/// A request that has ended.
pub(super) struct Ended {
    pub(super) number: u64,
    /// When it was sent, since the start of the run, and how long after it was due.
    pub(super) sent: Duration,
    pub(super) late: Duration,
    /// As far as this side knows.
    pub(super) prompt_tokens: u32,
    pub(super) result: Result<Answer, Problem>,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) sent: Duration,
    pub(super) late: Duration,
    pub(super) prompt_tokens: u32,
    /// `None` where it failed.
    pub(super) answered: Option<Answered>,
    pub(super) detail: Option<Box<Detail>>,
}

/// Times count from when the request was due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub(super) ttft: Duration,
    pub(super) whole: Duration,
    pub(super) output_tokens: u32,
}

impl Answered {
    /// Time per output token after the first, where there is one.
    pub(super) fn tpot(&self) -> Option<Duration> {
        let after_first = self.output_tokens.checked_sub(1).filter(|&n| n > 0)?;
        Some(self.whole.saturating_sub(self.ttft) / after_first)
    }
}

/// One request of a run, for whoever judges them one by one. Times count from when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its place among the run's requests.
    pub number: u64,
    /// How long after its moment it was sent.
    pub late: Duration,
    /// To the first token; `None` where it got no whole answer.
    pub ttft: Option<Duration>,
    /// The mean between its tokens; `None` also where there was one alone.
    pub tpot: Option<Duration>,
}

impl Record {
    pub(super) fn seen(&self) -> Seen {
        Seen {
            number: self.number,
            late: self.late,
            ttft: self.answered.map(|answered| answered.ttft),
            tpot: self.answered.and_then(|answered| answered.tpot()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Detail {
    pub(super) gaps: Vec<Gap>,
    pub(super) text: String,
    pub(super) error: String,
}

/// An example of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub number: u64,
    pub failure: Failure,
    pub detail: String,
}

pub(super) struct Recorder {
    keep_detail: bool,
    pub(super) records: Vec<Record>,
    pub(super) failures: BTreeMap<Failure, u64>,
    pub(super) examples: Vec<Example>,
    pub(super) gaps: Gaps,
    pub(super) token_rate: TokenRate,
    /// Events of all streams that ended well.
    pub(super) events: u64,
}

impl Recorder {
    pub(super) fn new(keep_detail: bool) -> Self {
        Self {
            keep_detail,
            records: Vec::new(),
            failures: BTreeMap::new(),
            examples: Vec::new(),
            gaps: Gaps::new(),
            token_rate: TokenRate::default(),
            events: 0,
        }
    }

    pub(super) fn add(&mut self, ended: Ended) {
        let mut record = Record {
            number: ended.number,
            sent: ended.sent,
            late: ended.late,
            prompt_tokens: ended.prompt_tokens,
            answered: None,
            detail: None,
        };
        match ended.result {
            Ok(answer) => self.answered(&mut record, answer),
            Err(problem) => self.failed(&mut record, problem),
        }
        self.records.push(record);
    }

    fn answered(&mut self, record: &mut Record, answer: Answer) {
        let due = record.sent.saturating_sub(record.late);
        self.events += answer.events;
        self.gaps.add(&answer.gaps);
        self.token_rate
            .add(due + answer.first, answer.output_tokens, &answer.gaps);
        record.prompt_tokens = answer.prompt_tokens.unwrap_or(record.prompt_tokens);
        record.answered = Some(Answered {
            ttft: answer.first,
            whole: answer.whole,
            output_tokens: answer.output_tokens,
        });
        record.detail = self.keep_detail.then(|| {
            Box::new(Detail {
                gaps: answer.gaps,
                text: answer.text,
                error: String::new(),
            })
        });
    }

    fn failed(&mut self, record: &mut Record, problem: Problem) {
        let Problem { failure, detail } = problem;
        *self.failures.entry(failure).or_default() += 1;
        if self.examples.len() < MOST_EXAMPLES {
            self.examples.push(Example {
                number: record.number,
                failure,
                detail: detail.clone(),
            });
        }
        record.detail = self.keep_detail.then(|| {
            Box::new(Detail {
                gaps: Vec::new(),
                text: String::new(),
                error: format!("{failure}: {detail}"),
            })
        });
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = (&Record, Answered)> {
        self.records
            .iter()
            .filter_map(|record| Some((record, record.answered?)))
    }

    pub(super) fn failed_count(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// Inter-token latencies of all answers.
pub(super) struct Gaps {
    micros: Histogram<u64>,
    sum: f64,
    square_sum: f64,
}

impl Gaps {
    fn new() -> Self {
        Self {
            micros: Histogram::new(4).expect("four digits are a valid precision"),
            sum: 0.0,
            square_sum: 0.0,
        }
    }

    fn add(&mut self, gaps: &[Gap]) {
        for gap in gaps {
            let seconds = gap.seconds_per_token();
            let times = f64::from(gap.tokens);
            self.sum += seconds * times;
            self.square_sum += seconds * seconds * times;
            self.micros
                .record_n((seconds * 1e6).round() as u64, gap.tokens.into())
                .expect("a histogram grows to what it is given");
        }
    }

    /// Mean and standard deviation in seconds; 0 where there are none.
    pub(super) fn mean_and_deviation(&self) -> (f64, f64) {
        let count = self.micros.len().max(1) as f64;
        let mean = self.sum / count;
        let variance = self.square_sum / count - mean * mean;
        (mean, variance.max(0.0).sqrt())
    }

    /// In seconds.
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        self.micros.value_at_percentile(percent) as f64 / 1e6
    }
}
