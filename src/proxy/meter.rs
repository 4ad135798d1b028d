//! Measuring a stream as it is relayed: when each token came, and how many there were.
//!
//! Memory is constant: a counter, and for each sequence the time of its last token.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::chunk::Brought;
use super::endpoint::Endpoint;
use super::tokens::{Arrival, Prompt, TokenCounter};
use crate::clock::Clock;
use crate::telemetry::{Metrics, TokenCount};
use crate::workers::Worker;

/// Tokens of one chunk whose times are recorded: more than any worker puts together, and a bound for one that counts
/// nonsense.
const MOST_TOKENS: u32 = 1024;

/// Times of tokens that are gathered before they go into the histogram that all streams of a worker share: to set up
/// the gathering costs about as much as so many.
const WORTH_GATHERING: u32 = 8;

#[derive(Debug)]
pub struct StreamMeter {
    clock: Clock,
    worker: Arc<Worker>,
    itl: Histogram,
    output_tokens: IntCounter,
    counter: TokenCounter,
    sequences: SmallVec<[SequenceTimes; 1]>,
    first_token: Option<Instant>,
    /// Of the read that is looked at: tokens that are not in `output_tokens` yet, and the last ones' times.
    came: u64,
    run: Run,
}

/// Tokens in a row, each as long after the one before: what a read brings of a stream that comes fast is recorded
/// together.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    each: Duration,
    tokens: u32,
}

/// When the tokens of one sequence came.
#[derive(Debug, Clone, Copy)]
struct SequenceTimes {
    first: Instant,
    last: Instant,
    /// Tokens that came with the first event: no time between them is known.
    with_first: u32,
}

impl StreamMeter {
    /// For a stream of `sequences` sequences that begins at `now` on `worker`.
    pub fn new(
        metrics: &Metrics,
        clock: Clock,
        worker: Arc<Worker>,
        endpoint: Endpoint,
        sequences: u64,
        now: Instant,
    ) -> Self {
        let (itl, output_tokens) = metrics.workers.stream(&worker);
        let counter = TokenCounter::new(endpoint, sequences);
        let nothing_yet = SequenceTimes {
            first: now,
            last: now,
            with_first: 0,
        };
        Self {
            clock,
            worker,
            itl,
            output_tokens,
            sequences: SmallVec::from_elem(nothing_yet, counter.sequences()),
            counter,
            first_token: None,
            came: 0,
            run: Run::default(),
        }
    }

    /// An event is handed to the client at `now`, which brings `brought`. Answers whether tokens came with it.
    pub fn event(&mut self, event: &[u8], brought: Option<&Brought>, now: Instant) -> bool {
        let arrival = self.counter.count(event, brought);
        if let Some(arrival) = arrival {
            self.arrived(arrival, now);
        }
        arrival.is_some()
    }

    /// The same of so many chunks that came together and are like the last one with tokens, but for their text.
    pub fn others(&mut self, chunks: u32, now: Instant) {
        let Some(more) = chunks.checked_sub(1) else {
            return;
        };
        let first = self.counter.count_others(1);
        self.arrived(first, now);
        if more > 0 {
            self.counter.count_others(more);
            self.came += u64::from(more);
            self.runs(Duration::ZERO, more, now);
        }
    }

    fn arrived(&mut self, arrival: Arrival, now: Instant) {
        self.came += u64::from(arrival.tokens);
        if self.first_token.is_none() {
            self.first_token = Some(now);
            self.worker.stats.stream_began();
        }
        let times = &mut self.sequences[arrival.sequence];
        if arrival.first {
            *times = SequenceTimes {
                first: now,
                last: now,
                with_first: arrival.tokens,
            };
            return;
        }
        // A chunk of k tokens that comes so long after the one before is k tokens, a k-th of it apart.
        let each = if now == times.last {
            Duration::ZERO
        } else {
            (now - times.last) / arrival.tokens
        };
        times.last = now;
        self.runs(each, arrival.tokens.min(MOST_TOKENS), now);
    }

    /// So many tokens came, each so long after the one before.
    fn runs(&mut self, each: Duration, tokens: u32, now: Instant) {
        if each == self.run.each {
            self.run.tokens += tokens;
        } else {
            self.record_run(now);
            self.run = Run { each, tokens };
        }
    }

    /// All events that came with a read at `now` have been told of.
    pub fn read_ends(&mut self, now: Instant) {
        if self.came > 0 {
            self.output_tokens.inc_by(std::mem::take(&mut self.came));
        }
        self.record_run(now);
    }

    fn record_run(&mut self, now: Instant) {
        let Run { each, tokens } = self.run;
        if tokens == 0 {
            return;
        }
        self.run.tokens = 0;
        self.worker.gave(self.clock.at(now), tokens, each);
        let seconds = each.as_secs_f64();
        if tokens < WORTH_GATHERING {
            (0..tokens).for_each(|_| self.itl.observe(seconds));
        } else {
            let gathered = self.itl.local();
            (0..tokens).for_each(|_| gathered.observe(seconds));
            gathered.flush();
        }
    }

    /// Another worker goes on with the stream.
    pub fn moved(&mut self, metrics: &Metrics, worker: &Arc<Worker>) {
        if self.first_token.is_some() {
            self.worker.stats.stream_ended();
            worker.stats.stream_began();
        }
        (self.itl, self.output_tokens) = metrics.workers.stream(worker);
        self.worker = Arc::clone(worker);
    }

    /// When the first token came.
    pub fn first_token(&self) -> Option<Instant> {
        self.first_token
    }

    pub fn output(&self) -> TokenCount {
        self.counter.output()
    }

    pub fn prompt(&self) -> Option<Prompt> {
        self.counter.prompt()
    }

    /// Mean time between the tokens of a sequence.
    pub fn tpot(&self) -> Option<Duration> {
        let with_first: u32 = self.sequences.iter().map(|times| times.with_first).sum();
        let later = self.counter.output().tokens.saturating_sub(with_first);
        let spent: Duration = self
            .sequences
            .iter()
            .map(|times| times.last - times.first)
            .sum();
        (later > 0).then(|| spent / later)
    }
}

impl Drop for StreamMeter {
    fn drop(&mut self) {
        if self.first_token.is_some() {
            self.worker.stats.stream_ended();
        }
    }
}
