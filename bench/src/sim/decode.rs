//! A worker's decode side: space for KV, a place in the batch, and a token a step.
//!
//! A request gets space for its prompt before its prefill begins, first come first served. Sequences join at a step's
//! boundary; where their answers outgrow the pool, the newest is put back with what it has written. That is how SGLang
//! does it, but for the tokens that it sets aside for each request besides its prompt.
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

/// A worker gives space to as many requests again as it can run, as SGLang's pre-allocation does.
const RESERVED_BATCHES: usize = 2;

#[derive(Debug, Default)]
pub(super) struct DecodeSide {
    /// Waiting for space, with the tokens of their prompts.
    preallocating: VecDeque<(usize, u64)>,
    /// With space, their KV still to come.
    transferring: HashMap<usize, u64>,
    /// KV tokens that have space and don't run.
    waiting_tokens: u64,
    /// Waiting for a place, first come first.
    landed: VecDeque<Sequence>,
    /// Put back for lack of space, without any now.
    retracted: VecDeque<Sequence>,
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
    /// When the last step began: the one before had ended just then.
    step_began: Timestamp,
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
    /// Asks for space for a prompt.
    pub(super) fn reserve(&mut self, request: usize, prompt_tokens: u64) {
        self.preallocating.push_back((request, prompt_tokens));
    }

    /// Gives space to those that wait for it, as far as there is any. Answers who got some.
    pub(super) fn preallocate(&mut self, model: &DecodeModel) -> Vec<usize> {
        let mut granted = Vec::new();
        while let Some((request, tokens)) = self.preallocating.front().copied()
            && self.has_space(tokens, model)
        {
            self.preallocating.pop_front();
            self.transferring.insert(request, tokens);
            self.waiting_tokens += tokens;
            granted.push(request);
        }
        granted
    }

    fn has_space(&self, tokens: u64, model: &DecodeModel) -> bool {
        let requests = self.allocated();
        // Everybody is to have room for one more token, too.
        let after = self.allocated_tokens() + tokens + requests as u64 + 1;
        let most = model.max_running.max(1) as usize * RESERVED_BATCHES;
        self.retracted.is_empty()
            && requests < most
            && (requests == 0 || after <= model.kv_pool_tokens)
    }

    fn allocated(&self) -> usize {
        self.transferring.len() + self.landed.len() + self.running.len()
    }

    fn allocated_tokens(&self) -> u64 {
        self.waiting_tokens + self.kv_tokens
    }

    /// Takes back what a request was given that will not come, or asked for. Answers whether it still asked.
    pub(super) fn release(&mut self, request: usize) -> bool {
        if let Some(tokens) = self.transferring.remove(&request) {
            self.waiting_tokens -= tokens;
            return false;
        }
        let asking = self.preallocating.len();
        self.preallocating
            .retain(|(waiting, _)| *waiting != request);
        self.preallocating.len() < asking
    }

    /// The KV of a sequence has come.
    pub(super) fn land(&mut self, sequence: Sequence) {
        self.release(sequence.request);
        self.waiting_tokens += sequence.kv_tokens;
        self.landed.push_back(sequence);
    }

    /// Tokens still to be given: what a drain has to wait for.
    pub(super) fn remaining(&self) -> u64 {
        let running = self
            .running
            .values()
            .map(|(since, sequence)| sequence.remaining - (self.steps - since));
        let waiting = self.landed.iter().chain(&self.retracted);
        running
            .chain(waiting.map(|sequence| sequence.remaining))
            .sum()
    }

    /// The running sequences: each one's request and the tokens that it is still to get.
    pub(super) fn running(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.running.iter().map(|(request, (since, sequence))| {
            (*request, sequence.remaining - (self.steps - since))
        })
    }

    /// Whether a request still asks for space.
    pub(super) fn is_asking(&self, request: usize) -> bool {
        self.preallocating
            .iter()
            .any(|(asking, _)| *asking == request)
    }

    /// Lets go of all sequences, by request. A step that runs is not ended: nobody gets its token.
    pub(super) fn evacuate(&mut self) -> Vec<Sequence> {
        let steps = self.steps;
        let running = self.running.drain().map(|(_, (since, sequence))| {
            let written = steps - since;
            Sequence {
                remaining: sequence.remaining - written,
                kv_tokens: sequence.kv_tokens + written,
                last_token: if written > 0 {
                    self.step_began
                } else {
                    sequence.last_token
                },
                ..sequence
            }
        });
        let mut leaving: Vec<_> = running.collect();
        self.waiting_tokens -= self.landed.iter().map(|one| one.kv_tokens).sum::<u64>();
        leaving.extend(self.landed.drain(..));
        leaving.extend(self.retracted.drain(..));
        leaving.sort_unstable_by_key(|sequence| sequence.request);
        self.ending.clear();
        self.joined.clear();
        self.newcomers.clear();
        (self.kv_tokens, self.stepping) = (0, false);
        leaving
    }

    /// How many run, how many wait, and the KV tokens of those that run.
    pub(super) fn load(&self) -> (u32, u32, u64) {
        (
            self.running.len() as u32,
            self.landed.len() as u32,
            self.kv_tokens,
        )
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
        (self.stepping, self.step_began) = (true, now);
        let running = self.running.len() as u32;
        Some(Step {
            seconds: model.step_seconds(running, self.kv_tokens) + stalled,
        })
    }

    pub(super) fn is_stepping(&self) -> bool {
        self.stepping
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
    pub(super) fn die(&mut self) {
        *self = Self {
            retractions: self.retractions,
            ..Self::default()
        };
    }

    fn ends_at(&self, request: usize) -> Option<u64> {
        let (since, sequence) = self.running.get(&request)?;
        Some(since + sequence.remaining)
    }

    /// Fills the batch. Answers for how many seconds what joins holds up the step.
    fn join(&mut self, model: &DecodeModel) -> f64 {
        let mut stalled = 0.0;
        while self.running.len() < model.max_running.max(1) as usize
            && let Some(next) = self.next_to_run(model)
        {
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

    /// The next that has room to write: one that was put back before one that has landed. One that would be alone is let
    /// in whatever its length: it would wait for ever.
    fn next_to_run(&mut self, model: &DecodeModel) -> Option<Sequence> {
        let growth = self.running.len() as u64 + 1;
        let room = model
            .kv_pool_tokens
            .saturating_sub(self.allocated_tokens() + growth);
        let alone = self.allocated() == 0;
        if self
            .retracted
            .front()
            .is_some_and(|retracted| alone || retracted.kv_tokens <= room)
        {
            return self.retracted.pop_front();
        }
        if room == 0 && !self.running.is_empty() {
            return None;
        }
        let landed = self.landed.pop_front()?;
        self.waiting_tokens -= landed.kv_tokens;
        Some(landed)
    }

    /// Puts the newest back until the others have room for a token each. The last one always runs on.
    fn retract(&mut self, model: &DecodeModel, now: Timestamp) {
        while self.allocated_tokens() + self.running.len() as u64 > model.kv_pool_tokens
            && self.running.len() > 1
        {
            let Some(newest) = self.joined.pop() else {
                return;
            };
            if let Some((since, sequence)) = self.leave(newest) {
                let written = self.steps - since;
                self.retractions += 1;
                self.retracted.push_front(Sequence {
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
mod tests;
