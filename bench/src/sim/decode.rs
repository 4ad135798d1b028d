//! A worker's decode side: sequences join at a step's boundary and get a token a step.
//!
//! A step costs one operation and not one a sequence: since all get a token in each, the step in which a sequence ends
//! is known when it joins.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use policies::model::DecodeModel;
use policies::time::Timestamp;

/// A sequence whose KV is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence {
    pub(super) request: usize,
    /// Tokens of its prompt and its answer so far.
    pub(super) kv_tokens: u64,
    /// Tokens that it is still to get; at least 1.
    pub(super) remaining: u64,
    /// When its last token came, before it joined.
    pub(super) last_token: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct DecodeSide {
    /// Waiting for a place, first come first.
    landed: VecDeque<Sequence>,
    /// By the step in which they end.
    ending: BinaryHeap<Reverse<(u64, usize)>>,
    /// The running ones: the step after which each joined, with what it was then.
    running: HashMap<usize, (u64, Sequence)>,
    /// As they joined, the newest last; those that have ended since may still be named.
    joined: Vec<usize>,
    /// KV tokens of all that run.
    kv_tokens: u64,
    steps: u64,
    stepping: bool,
    /// Joined at the boundary before the step that runs.
    newcomers: Vec<Timestamp>,
    retractions: u64,
}

/// A step that has begun.
pub(super) struct Step {
    pub(super) seconds: f64,
}

/// A step that is done.
pub(super) struct Stepped {
    /// When the last token before this step came, for those that joined for it.
    pub(super) newcomers: Vec<Timestamp>,
    /// The others in it.
    pub(super) others: usize,
    /// Requests that have their last token.
    pub(super) ended: Vec<usize>,
}

impl DecodeSide {
    pub(super) fn land(&mut self, sequence: Sequence) {
        self.landed.push_back(sequence);
    }

    /// Tokens still to be given: what a drain has to wait for.
    pub(super) fn remaining(&self) -> u64 {
        let running = self
            .running
            .values()
            .map(|(since, sequence)| sequence.remaining - (self.steps - since));
        let landed = self.landed.iter().map(|sequence| sequence.remaining);
        running.chain(landed).sum()
    }

    pub(super) fn retractions(&self) -> u64 {
        self.retractions
    }

    /// Begins a step at `now`, where none runs and there is something to run.
    pub(super) fn begin_step(&mut self, model: &DecodeModel, now: Timestamp) -> Option<Step> {
        if self.stepping {
            return None;
        }
        self.retract(model, now);
        let stalled = self.join(model);
        if self.running.is_empty() {
            return None;
        }
        self.stepping = true;
        let running = self.running.len() as u32;
        Some(Step {
            seconds: model.step_seconds(running, self.kv_tokens) + stalled,
        })
    }

    /// Ends the step.
    pub(super) fn end_step(&mut self) -> Stepped {
        self.stepping = false;
        self.steps += 1;
        let running = self.running.len();
        self.kv_tokens += running as u64;
        let newcomers = std::mem::take(&mut self.newcomers);
        let mut ended = Vec::new();
        while let Some(Reverse((step, request))) = self.ending.peek().copied()
            && step <= self.steps
        {
            self.ending.pop();
            // One that was retracted has another end by now.
            if self.ends_at(request) == Some(step) {
                self.leave(request);
                ended.push(request);
            }
        }
        Stepped {
            others: running - newcomers.len(),
            newcomers,
            ended,
        }
    }

    /// Loses everything.
    pub(super) fn die(&mut self) -> Vec<usize> {
        let Self {
            landed, running, ..
        } = std::mem::take(self);
        let mut lost: Vec<_> = running.into_keys().collect();
        lost.extend(landed.iter().map(|sequence| sequence.request));
        // A map has no order of its own.
        lost.sort_unstable();
        lost
    }

    fn ends_at(&self, request: usize) -> Option<u64> {
        let (since, sequence) = self.running.get(&request)?;
        Some(since + sequence.remaining)
    }

    /// Lets in what has landed, while the largest batch and the pool have room. Answers for how many seconds that holds
    /// up the step.
    fn join(&mut self, model: &DecodeModel) -> f64 {
        let mut stalled = 0.0;
        while let Some(next) = self.landed.front() {
            // Each that runs needs room for one more token.
            let needed = self.kv_tokens + next.kv_tokens + self.running.len() as u64 + 1;
            let alone = self.running.is_empty();
            let full = self.running.len() >= model.max_running as usize;
            if full || (needed > model.kv_pool_tokens && !alone) {
                break;
            }
            let next = *next;
            self.landed.pop_front();
            self.kv_tokens += next.kv_tokens;
            self.ending
                .push(Reverse((self.steps + next.remaining, next.request)));
            self.running.insert(next.request, (self.steps, next));
            self.joined.push(next.request);
            self.newcomers.push(next.last_token);
            stalled += model.arrival_seconds(next.kv_tokens);
        }
        stalled
    }

    /// Puts the newest back until the others have room for a token each.
    fn retract(&mut self, model: &DecodeModel, now: Timestamp) {
        while self.kv_tokens + self.running.len() as u64 > model.kv_pool_tokens
            && self.running.len() > 1
        {
            let Some(newest) = self.joined.pop() else {
                return;
            };
            if let Some((since, sequence)) = self.leave(newest) {
                let written = self.steps - since;
                self.retractions += 1;
                self.landed.push_front(Sequence {
                    kv_tokens: sequence.kv_tokens + written,
                    remaining: sequence.remaining - written,
                    last_token: now,
                    ..sequence
                });
            }
        }
    }

    fn leave(&mut self, request: usize) -> Option<(u64, Sequence)> {
        let (since, sequence) = self.running.remove(&request)?;
        self.kv_tokens -= sequence.kv_tokens + (self.steps - since);
        if self.running.is_empty() {
            self.joined.clear();
        }
        Some((since, sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policies::model::WorkerModel;

    fn sequence(request: usize, kv_tokens: u64, remaining: u64) -> Sequence {
        Sequence {
            request,
            kv_tokens,
            remaining,
            last_token: Timestamp::ZERO,
        }
    }

    fn model(max_running: u32, kv_pool_tokens: u64) -> DecodeModel {
        DecodeModel {
            max_running,
            kv_pool_tokens,
            ..WorkerModel::default().decode
        }
    }

    /// Runs until nothing is left; the requests in the order of their ends, with the step.
    fn ends(side: &mut DecodeSide, model: &DecodeModel) -> Vec<(u64, usize)> {
        let mut ends = Vec::new();
        while side.begin_step(model, Timestamp::ZERO).is_some() {
            let ended = side.end_step().ended;
            ends.extend(ended.into_iter().map(|request| (side.steps, request)));
        }
        assert_eq!(side.kv_tokens, 0);
        ends
    }

    #[test]
    fn every_sequence_gets_a_token_a_step() {
        let mut side = DecodeSide::default();
        for (request, remaining) in [(0, 3), (1, 1), (2, 3)] {
            side.land(sequence(request, 10, remaining));
        }
        assert_eq!(side.remaining(), 7);
        assert_eq!(ends(&mut side, &model(8, 1000)), [(1, 1), (3, 0), (3, 2)]);
    }

    #[test]
    fn the_largest_batch_makes_the_rest_wait() {
        let mut side = DecodeSide::default();
        for request in 0..3 {
            side.land(sequence(request, 10, 2));
        }
        assert_eq!(ends(&mut side, &model(2, 1000)), [(2, 0), (2, 1), (4, 2)]);
    }

    #[test]
    fn a_full_pool_makes_the_rest_wait() {
        let mut side = DecodeSide::default();
        for request in 0..2 {
            side.land(sequence(request, 60, 2));
        }
        assert_eq!(ends(&mut side, &model(8, 100)), [(2, 0), (4, 1)]);
    }

    #[test]
    fn sequences_that_outgrow_the_pool_put_the_newest_back_and_all_end() {
        let mut side = DecodeSide::default();
        for request in 0..2 {
            side.land(sequence(request, 40, 20));
        }
        let ends = ends(&mut side, &model(8, 100));
        // Both run until 2 * (40 + 10) tokens fill the pool; then the first alone, then the second to its end.
        assert_eq!(ends, [(20, 0), (30, 1)]);
        assert_eq!(side.retractions(), 1);
    }

    #[test]
    fn one_that_is_longer_than_the_pool_runs_alone() {
        let mut side = DecodeSide::default();
        side.land(sequence(0, 500, 3));
        assert_eq!(ends(&mut side, &model(8, 100)), [(3, 0)]);
    }

    #[test]
    fn those_that_join_are_told_from_those_that_run() {
        let (mut side, model) = (DecodeSide::default(), model(8, 1000));
        side.land(sequence(0, 10, 5));
        side.begin_step(&model, Timestamp::ZERO).unwrap();
        side.land(sequence(1, 10, 5));
        let first = side.end_step();
        assert_eq!((first.newcomers.len(), first.others), (1, 0));
        side.begin_step(&model, Timestamp::ZERO).unwrap();
        let second = side.end_step();
        assert_eq!((second.newcomers.len(), second.others), (1, 1));
    }
}
