//! One class of requests: how often they come, and how long their prompts and answers are.
//!
//! The rate is an average over what came since it last changed, at most some thirty seconds of it. Beside it runs a fast
//! average: once that has moved so far that chance (a Poisson process) can't be the reason, the rate has changed, and the
//! average begins anew from the fast one. So a steady stream is known well, a new one soon, and how well is known too.

use std::time::Duration;

use super::{ClassTraffic, Stream};

/// Time constant of a rate that has been steady for long, seconds.
const SLOW_SECONDS: f64 = 30.0;

/// The average that sees changes is over so many requests, within these bounds in seconds: often enough for chance to
/// even out, and no longer than that.
const FAST_REQUESTS: f64 = 16.0;
const FAST_SECONDS: (f64, f64) = (1.0, 5.0);

/// Standard deviations that the fast rate may be off by chance. Each class is asked once a second: four in a hundred
/// thousand looks are false alarms.
const CHANCE: f64 = 4.0;

/// Requests by which old lengths fade to 1/e.
const MEMORY: f64 = 200.0;

/// Answers that have to end before their mean counts as much as a guess.
const ENOUGH: f64 = 10.0;

/// A class that comes less often than this isn't there.
const LEAST_RATE: f64 = 0.01;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClassEstimate {
    rate: f64,
    /// Time constant of the average that `rate` is now, seconds.
    constant: f64,
    fast: f64,
    prompts: Lengths,
    cached: Lengths,
    /// Of answers that ended, and how many have, ever.
    outputs: Lengths,
    ended: f64,
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
        self.ended += f64::from(seen.finished);
        self.running = f64::from(seen.running);
        self.generated = seen.generated_tokens as f64;
        self.observe_rate(interval.as_secs_f64(), f64::from(seen.arrived))
    }

    fn observe_rate(&mut self, seconds: f64, arrived: f64) -> bool {
        if seconds <= 0.0 {
            return false;
        }
        let now = arrived / seconds;
        let towards =
            |rate: f64, constant: f64| rate + (now - rate) * (1.0 - (-seconds / constant).exp());
        let fast_constant =
            (FAST_REQUESTS / self.rate.max(self.fast)).clamp(FAST_SECONDS.0, FAST_SECONDS.1);
        self.constant = (self.constant + seconds / 2.0).clamp(fast_constant, SLOW_SECONDS);
        self.fast = towards(self.fast, fast_constant);
        self.rate = towards(self.rate, self.constant);
        let by_chance = deviation(self.rate.max(self.fast), fast_constant);
        let changed = (self.fast - self.rate).abs() > CHANCE * by_chance;
        if changed {
            (self.rate, self.constant) = (self.fast, fast_constant);
        }
        changed
    }

    pub(super) fn stream(&self, others: Option<f64>) -> Option<Stream> {
        (self.rate >= LEAST_RATE).then(|| Stream {
            requests_per_second: self.rate,
            deviation: deviation(self.rate, self.constant),
            prompt_tokens: self.prompts.mean(),
            cached_tokens: self.cached.mean(),
            output_tokens: self.output(others).unwrap_or(1.0).max(1.0),
        })
    }

    /// Mean length of an answer: of those that ended, once there are enough of them. Until then those that run say more:
    /// by chance one is met in its middle, so that they are half as long as they will be; and where nothing is known,
    /// `others`.
    fn output(&self, others: Option<f64>) -> Option<f64> {
        let running = self.generated / self.running.max(1.0);
        let guess = others.unwrap_or(0.0).max(2.0 * running);
        // By all that have ended and not by those that are remembered: a twentieth of others' answers, which may be ten times
        // as long, would be half as much again for ever.
        let known = 1.0 - 1.0 / (1.0 + (self.ended / ENOUGH).powi(2));
        let mean = known * self.outputs.mean() + (1.0 - known) * guess;
        (mean > 0.0).then_some(mean)
    }

    /// The mean length of all classes' answers that ended.
    pub(super) fn pooled_output(classes: &[Self]) -> Option<f64> {
        let ended: f64 = classes.iter().map(|class| class.outputs.count).sum();
        let tokens: f64 = classes.iter().map(|class| class.outputs.tokens).sum();
        (ended > 0.0).then(|| tokens / ended)
    }
}

/// Standard deviation of an exponential average over `constant` seconds of a Poisson process: such an average is worth
/// twice its constant of counting.
fn deviation(rate: f64, constant: f64) -> f64 {
    (rate / (2.0 * constant)).sqrt()
}
