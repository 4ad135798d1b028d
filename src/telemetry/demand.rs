//! What is asked for, counted by the length of the prompt: two cheap notes a request, read once a second by whoever plans.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use policies::estimate::{CLASSES, class_of};
use policies::time::Timestamp;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Demand {
    classes: [Class; CLASSES],
}

#[derive(Debug, Default)]
struct Class {
    arrived: AtomicU64,
    estimated_tokens: AtomicU64,
    completed: AtomicU64,
    output_tokens: AtomicU64,
    /// Of requests whose worker said how long the prompt was, and what was estimated of the same.
    reported_tokens: AtomicU64,
    reported_estimates: AtomicU64,
    cached_tokens: AtomicU64,
    running: AtomicU64,
    /// Sum of the times of first tokens of those that run, microseconds. It wraps; differences don't mind.
    first_tokens: AtomicU64,
}

/// The counts of one class as they were at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassTotals {
    pub arrived: u64,
    pub estimated_tokens: u64,
    pub completed: u64,
    pub output_tokens: u64,
    pub reported_tokens: u64,
    pub reported_estimates: u64,
    pub cached_tokens: u64,
    pub running: u64,
    /// Together, how long those that run have run, microseconds.
    pub running_micros: u64,
}

/// A request that was counted. Its end has to be told exactly once.
#[derive(Debug)]
pub struct Counted {
    class: usize,
    estimate: u32,
    first_token: Option<Timestamp>,
}

/// How a counted request ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Tokens of the whole answer; `None` of an answer that was cut or failed, which says nothing about its length.
    pub output_tokens: Option<u32>,
    /// Prompt tokens as the worker counted them, and how many of them it had in its cache.
    pub prompt: Option<(u32, u32)>,
}

impl Demand {
    /// A request came. `estimate`: the tokens of its prompt, as far as can be said by its bytes.
    pub fn arrived(&self, estimate: u32) -> Counted {
        let class = class_of(estimate);
        let counts = &self.classes[class];
        add(&counts.arrived, 1);
        add(&counts.estimated_tokens, estimate.into());
        Counted {
            class,
            estimate,
            first_token: None,
        }
    }

    /// Its answer began.
    pub fn first_token(&self, request: &mut Counted, at: Timestamp) {
        if request.first_token.is_some() {
            return;
        }
        request.first_token = Some(at);
        let counts = &self.classes[request.class];
        add(&counts.running, 1);
        add(&counts.first_tokens, at.as_micros());
    }

    pub fn ended(&self, request: &Counted, how: Ended) {
        let counts = &self.classes[request.class];
        if let Some(at) = request.first_token {
            counts.running.fetch_sub(1, Ordering::Relaxed);
            counts
                .first_tokens
                .fetch_sub(at.as_micros(), Ordering::Relaxed);
        }
        if let Some(tokens) = how.output_tokens {
            add(&counts.completed, 1);
            add(&counts.output_tokens, tokens.into());
        }
        if let Some((tokens, cached)) = how.prompt {
            add(&counts.reported_tokens, tokens.into());
            add(&counts.reported_estimates, request.estimate.into());
            add(&counts.cached_tokens, cached.into());
        }
    }

    pub fn totals(&self, now: Timestamp) -> [ClassTotals; CLASSES] {
        array::from_fn(|class| self.classes[class].totals(now))
    }
}

impl Class {
    fn totals(&self, now: Timestamp) -> ClassTotals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let running = read(&self.running);
        let since_first_tokens =
            (running.wrapping_mul(now.as_micros())).wrapping_sub(read(&self.first_tokens));
        ClassTotals {
            arrived: read(&self.arrived),
            estimated_tokens: read(&self.estimated_tokens),
            completed: read(&self.completed),
            output_tokens: read(&self.output_tokens),
            reported_tokens: read(&self.reported_tokens),
            reported_estimates: read(&self.reported_estimates),
            cached_tokens: read(&self.cached_tokens),
            running,
            // The two reads are not of one moment: a request that began between them would make the sum negative.
            running_micros: if since_first_tokens > i64::MAX as u64 {
                0
            } else {
                since_first_tokens
            },
        }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_request_is_counted_where_it_came_and_where_it_ended() {
        let demand = Demand::default();
        let mut one = demand.arrived(2_000);
        let other = demand.arrived(1_500);
        demand.first_token(&mut one, at(10));
        demand.first_token(&mut one, at(11));
        let totals = demand.totals(at(14))[class_of(2_000)];
        assert_eq!((totals.arrived, totals.estimated_tokens), (2, 3_500));
        assert_eq!((totals.running, totals.running_micros), (1, 4_000_000));
        assert_eq!(demand.totals(at(9))[class_of(2_000)].running_micros, 0);
        let whole = Ended {
            output_tokens: Some(128),
            prompt: Some((2_200, 1_000)),
        };
        let cut = Ended {
            output_tokens: None,
            prompt: None,
        };
        demand.ended(&one, whole);
        demand.ended(&other, cut);
        let expected = ClassTotals {
            arrived: 2,
            estimated_tokens: 3_500,
            completed: 1,
            output_tokens: 128,
            reported_tokens: 2_200,
            reported_estimates: 2_000,
            cached_tokens: 1_000,
            ..ClassTotals::default()
        };
        assert_eq!(demand.totals(at(99))[class_of(2_000)], expected);
        assert_eq!(demand.totals(at(99))[0], ClassTotals::default());
    }
}
