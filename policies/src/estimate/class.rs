//! One class of requests: how often they come, and how long their prompts and answers are.
//!
//! The rate is known on two time scales. The slow one is steady and is what counts, until the fast one has moved so far
//! from it that chance (a Poisson process) can't be the reason: then the slow one is set to it.

use std::time::Duration;

use super::{ClassTraffic, Stream};

/// Time constants of the two rates: long enough for a score of requests at 1 a second, short enough to see a change
/// within seconds.
const SLOW_SECONDS: f64 = 30.0;
const FAST_SECONDS: f64 = 5.0;

/// Standard deviations that the fast rate may be off by chance. Each class is asked once a second: four in a hundred
/// thousand looks are false alarms.
const CHANCE: f64 = 4.0;

/// Requests by which old lengths fade to 1/e.
const MEMORY: f64 = 200.0;

/// A class that comes less often than this isn't there.
const LEAST_RATE: f64 = 0.01;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClassEstimate {
    slow: f64,
    fast: f64,
    prompts: Lengths,
    cached: Lengths,
    /// Of answers that ended.
    outputs: Lengths,
    running: f64,
    generated: f64,
}

/// A fading sum of lengths.
#[derive(Debug, Clone, Copy, Default)]
struct Lengths {
    count: f64,
    tokens: f64,
}

impl Lengths {
    fn add(&mut self, count: u32, tokens: u64) {
        let keep = (-f64::from(count) / MEMORY).exp();
        self.count = self.count * keep + f64::from(count);
        self.tokens = self.tokens * keep + tokens as f64;
    }

    fn mean(&self) -> f64 {
        self.tokens / self.count.max(f64::MIN_POSITIVE)
    }
}

impl ClassEstimate {
    /// Whether the class's rate changed.
    pub(super) fn observe(&mut self, interval: Duration, seen: &ClassTraffic) -> bool {
        self.prompts.add(seen.arrived, seen.prompt_tokens);
        self.cached.add(seen.arrived, seen.cached_tokens);
        self.outputs.add(seen.finished, seen.output_tokens);
        self.running = f64::from(seen.running);
        self.generated = seen.generated_tokens as f64;
        self.observe_rate(interval.as_secs_f64(), f64::from(seen.arrived))
    }

    fn observe_rate(&mut self, seconds: f64, arrived: f64) -> bool {
        if seconds <= 0.0 {
            return false;
        }
        let now = arrived / seconds;
        let towards = |rate: f64, constant: f64| rate + (now - rate) * (1.0 - (-seconds / constant).exp());
        self.fast = towards(self.fast, FAST_SECONDS);
        self.slow = towards(self.slow, SLOW_SECONDS);
        // An exponential average over a constant of c seconds is worth 2c seconds of counting.
        let deviation = (self.slow.max(self.fast) / (2.0 * FAST_SECONDS)).sqrt();
        let changed = (self.fast - self.slow).abs() > CHANCE * deviation;
        if changed {
            self.slow = self.fast;
        }
        changed
    }

    pub(super) fn stream(&self, others: Option<f64>) -> Option<Stream> {
        (self.slow >= LEAST_RATE).then(|| Stream {
            requests_per_second: self.slow,
            prompt_tokens: self.prompts.mean(),
            cached_tokens: self.cached.mean(),
            output_tokens: self.output().or(others).unwrap_or(1.0).max(1.0),
        })
    }

    /// Mean length of an answer. Those that run count with what they have so far and as no end: the estimate for
    /// lengths that end by chance, of which some have not been seen to end.
    fn output(&self) -> Option<f64> {
        let tokens = self.outputs.tokens + self.generated;
        (tokens > 0.0).then(|| tokens / self.outputs.count.max(1.0))
    }

    /// The mean length of all classes' answers.
    pub(super) fn pooled_output(classes: &[Self]) -> Option<f64> {
        let ended: f64 = classes.iter().map(|class| class.outputs.count).sum();
        let tokens: f64 = classes
            .iter()
            .map(|class| class.outputs.tokens + class.generated)
            .sum();
        (tokens > 0.0).then(|| tokens / ended.max(1.0))
    }
}
