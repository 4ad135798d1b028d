//! What is asked for, estimated from what is seen.
//!
//! Requests are told apart by the length of their prompts, in powers of two: different applications send prompts of
//! different lengths, and a request's prompt is known when it comes while its answer is known when it has ended. What a
//! class's answers have been is thus a forecast of what its new requests will cost decode, tens of seconds before decode
//! feels it.

mod capacity;
mod class;
pub mod sparse;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::capacity::{CapacityEstimator, WorkerCounters};
use self::class::ClassEstimate;

/// Classes of prompt length: below 2 tokens, below 4, ... and everything from 2^19 on.
pub const CLASSES: usize = 20;

/// The class of a prompt.
pub fn class_of(prompt_tokens: u32) -> usize {
    (prompt_tokens.max(1).ilog2() as usize).min(CLASSES - 1)
}

/// What was seen of one class since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClassTraffic {
    pub arrived: u32,
    /// Of those that arrived; `cached` of them were in a prefix cache.
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub finished: u32,
    /// Of those that finished.
    pub output_tokens: u64,
    /// Past their first token now, and what they were given so far.
    pub running: u32,
    pub generated_tokens: u64,
}

/// What was seen since the last look, by class.
pub type Traffic = [ClassTraffic; CLASSES];

/// Requests of one class as they come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stream {
    pub requests_per_second: f64,
    /// Standard deviation of that estimate.
    pub deviation: f64,
    /// Means, in tokens.
    pub prompt_tokens: f64,
    pub cached_tokens: f64,
    pub output_tokens: f64,
}

/// Estimates demand from traffic.
#[derive(Debug, Clone, Default)]
pub struct DemandEstimator {
    classes: [ClassEstimate; CLASSES],
}

impl DemandEstimator {
    /// Takes in what was seen in the `interval` since the last look. Answers whether the mix changed: a class comes at
    /// another rate than chance would explain.
    pub fn observe(&mut self, interval: Duration, traffic: &Traffic) -> bool {
        let mut changed = false;
        for (class, seen) in self.classes.iter_mut().zip(traffic) {
            changed |= class.observe(interval, seen);
        }
        changed
    }

    /// The classes that come.
    pub fn streams(&self) -> impl Iterator<Item = Stream> + '_ {
        // Where nothing is known of a class's answers, those of all are the best guess.
        let all = ClassEstimate::pooled_output(&self.classes);
        self.classes
            .iter()
            .filter_map(move |class| class.stream(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A look at which `arrived` requests of `prompt` tokens came and `finished` ended with `output` tokens.
    fn traffic(prompt: u32, arrived: u32, finished: u32, output: u64) -> Traffic {
        let mut traffic = Traffic::default();
        traffic[class_of(prompt)] = ClassTraffic {
            arrived,
            prompt_tokens: u64::from(arrived * prompt),
            finished,
            output_tokens: u64::from(finished) * output,
            ..ClassTraffic::default()
        };
        traffic
    }

    fn only_stream(estimator: &DemandEstimator) -> Stream {
        let streams: Vec<_> = estimator.streams().collect();
        assert_eq!(streams.len(), 1, "{streams:?}");
        streams[0]
    }

    #[test]
    fn a_steady_stream_is_known_by_its_rate_and_lengths() {
        let mut estimator = DemandEstimator::default();
        for _ in 0..120 {
            estimator.observe(SECOND, &traffic(2048, 20, 20, 128));
        }
        let stream = only_stream(&estimator);
        assert!(
            (stream.requests_per_second - 20.0).abs() < 0.5,
            "{stream:?}"
        );
        assert!((stream.prompt_tokens - 2048.0).abs() < 1.0);
        assert!((stream.output_tokens - 128.0).abs() < 1.0);
    }

    #[test]
    fn a_change_of_the_mix_is_seen_within_seconds_and_chance_is_none() {
        let mut estimator = DemandEstimator::default();
        let mut random = 7_u64;
        for second in 0..600 {
            // 10 a second, give or take what a Poisson process gives or takes.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let arrived = 7 + (random >> 33) % 7;
            let changed = estimator.observe(SECOND, &traffic(2048, arrived as u32, 10, 128));
            assert!(!changed || second < 30, "at {second} s");
        }
        let looks = (1..=6).map(|_| estimator.observe(SECOND, &traffic(2048, 40, 10, 128)));
        let changes = looks.filter(|changed| *changed).count();
        assert!(changes > 0);
        let rate = only_stream(&estimator).requests_per_second;
        assert!(rate > 25.0, "{rate}");
    }

    #[test]
    fn answers_that_still_run_count_with_what_they_have() {
        let mut estimator = DemandEstimator::default();
        // Short answers end first: without the running ones the mean would be that of the short.
        let mut seen = traffic(128, 10, 10, 30);
        let class = &mut seen[class_of(128)];
        (class.running, class.generated_tokens) = (40, 40 * 500);
        estimator.observe(SECOND, &seen);
        let output = only_stream(&estimator).output_tokens;
        assert!((500.0..1_000.0).contains(&output), "{output}");
    }

    #[test]
    fn long_answers_among_many_short_ones_are_known_by_what_ends_and_not_by_what_runs() {
        let mut estimator = DemandEstimator::default();
        for second in 0..120 {
            // Of twenty answers nineteen have 10 tokens, and one has 1,000: it alone is ever seen to run.
            let mut seen = traffic(2048, 20, 20, 0);
            let class = &mut seen[class_of(2048)];
            class.output_tokens = 19 * 10 + 1_000;
            (class.running, class.generated_tokens) = (20, 20 * (400 + 10 * (second % 20)));
            estimator.observe(SECOND, &seen);
        }
        let output = only_stream(&estimator).output_tokens;
        assert!((output - 59.5).abs() < 1.0, "{output}");
    }

    #[test]
    fn a_class_without_an_answer_yet_is_taken_for_the_others() {
        let mut estimator = DemandEstimator::default();
        for _ in 0..60 {
            estimator.observe(SECOND, &traffic(2048, 10, 10, 128));
        }
        estimator.observe(SECOND, &traffic(100, 10, 0, 0));
        let outputs: Vec<_> = estimator
            .streams()
            .map(|stream| stream.output_tokens.round() as u64)
            .collect();
        assert_eq!(outputs, [128, 128]);
    }

    #[test]
    fn prompts_fall_into_classes_by_powers_of_two() {
        for (prompt, class) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (128, 7),
            (255, 7),
            (256, 8),
            (u32::MAX, 19),
        ] {
            assert_eq!(class_of(prompt), class, "{prompt}");
        }
    }
}
