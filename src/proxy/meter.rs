//! Measuring a stream as it is relayed: when each token came, and how many there were.
//!
//! Memory is constant: a counter, and for each sequence the time of its last token.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::tokens::{Arrival, Prompt, TokenCounter};
use crate::clock::Clock;
use crate::telemetry::{Metrics, TokenCount};
use crate::workers::Worker;

/// Tokens of one chunk whose times are recorded: more than any worker puts together, and a bound for one that counts
/// nonsense.
const MOST_TOKENS: u32 = 1024;

#[derive(Debug)]
pub struct StreamMeter {
    clock: Clock,
    worker: Arc<Worker>,
    itl: Histogram,
    output_tokens: IntCounter,
    counter: TokenCounter,
    sequences: SmallVec<[SequenceTimes; 1]>,
    first_token: Option<Instant>,
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
        }
    }

    /// An event is handed to the client at `now`.
    pub fn event(&mut self, event: &[u8], now: Instant) {
        let Some(arrival) = self.counter.count(event) else {
            return;
        };
        self.output_tokens.inc_by(u64::from(arrival.tokens));
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
        let gap = now - times.last;
        times.last = now;
        self.record(arrival, gap, now);
    }

    /// A chunk of k tokens that comes `gap` after the one before is k tokens, `gap`/k apart.
    fn record(&self, arrival: Arrival, gap: Duration, now: Instant) {
        let each = gap / arrival.tokens;
        let tokens = arrival.tokens.min(MOST_TOKENS);
        self.worker.gave(self.clock.at(now), tokens, each);
        for _ in 0..tokens {
            self.itl.observe(each.as_secs_f64());
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
