//! A worker's prefill side: prompts wait, are computed in batches, and their KV is sent, one request's at a time.
//!
//! A batch is filled to its last token: the prompt that doesn't fit any more is cut there, and its rest comes first in
//! the next batch, as SGLang's chunked prefill does it.

use std::collections::VecDeque;

use policies::model::PrefillModel;

use crate::workload::Job;

/// A prompt at a prefill worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prompt {
    pub(super) request: usize,
    /// Which try of it this is.
    pub(super) attempt: u32,
    pub(super) job: Job,
}

impl Prompt {
    /// Tokens that would take as long to compute.
    fn computed_tokens(&self, model: &PrefillModel) -> f64 {
        let Job {
            prompt_tokens,
            cached_tokens,
            ..
        } = self.job;
        let cached = f64::from(cached_tokens.min(prompt_tokens)) / f64::from(prompt_tokens.max(1));
        model.computed_tokens(u64::from(prompt_tokens), cached)
    }
}

#[derive(Debug, Default)]
pub(super) struct PrefillSide {
    /// With the tokens that are still to be computed of each.
    waiting: VecDeque<(Prompt, f64)>,
    /// A batch is being computed.
    computing: bool,
    /// The prompts that end in it.
    batch: Vec<Prompt>,
    sending: VecDeque<Prompt>,
    /// Had its first batch.
    pub(super) warm: bool,
    /// Prompt tokens of those that are expected, wait or are being computed.
    pub(super) pending_tokens: u64,
}

impl PrefillSide {
    pub(super) fn new(warm: bool) -> Self {
        Self {
            warm,
            ..Self::default()
        }
    }

    /// A prompt will come as soon as its decode worker has space for it.
    pub(super) fn expect(&mut self, job: &Job) {
        self.pending_tokens += u64::from(job.prompt_tokens);
    }

    /// It won't come.
    pub(super) fn expect_no_more(&mut self, job: &Job) {
        self.pending_tokens -= u64::from(job.prompt_tokens);
    }

    /// One that was expected has come.
    pub(super) fn push(&mut self, prompt: Prompt, model: &PrefillModel) {
        self.waiting
            .push_back((prompt, prompt.computed_tokens(model)));
    }

    /// Takes a batch where none is being computed. Answers how many seconds it takes.
    pub(super) fn form_batch(&mut self, model: &PrefillModel) -> Option<f64> {
        if self.computing || self.waiting.is_empty() {
            return None;
        }
        let warm_up = if self.warm {
            0.0
        } else {
            model.warm_up_seconds(self.waiting.len() as u32)
        };
        (self.warm, self.computing) = (true, true);
        let budget = f64::from(model.max_batch_tokens.max(1));
        let mut tokens = 0.0;
        while let Some((_, left)) = self.waiting.front_mut() {
            let part = left.min(budget - tokens);
            tokens += part;
            *left -= part;
            if *left > 0.0 {
                break;
            }
            let whole = self.waiting.pop_front();
            self.batch.extend(whole.map(|(prompt, _)| prompt));
        }
        Some(warm_up + model.batch_seconds(tokens.round() as u64))
    }

    pub(super) fn is_computing(&self) -> bool {
        self.computing
    }

    /// The batch is computed: its KV waits to be sent. Answers how many prompts there were.
    pub(super) fn computed(&mut self) -> usize {
        self.computing = false;
        let computed = self.batch.len();
        for prompt in self.batch.drain(..) {
            self.pending_tokens -= u64::from(prompt.job.prompt_tokens);
            self.sending.push_back(prompt);
        }
        computed
    }

    /// The prompt whose KV is being sent, or is next.
    pub(super) fn next_to_send(&self) -> Option<&Prompt> {
        self.sending.front()
    }

    pub(super) fn sending(&self) -> usize {
        self.sending.len()
    }

    pub(super) fn sent(&mut self) -> Option<Prompt> {
        self.sending.pop_front()
    }

    /// Takes a request out that still waits, and answers whether it did.
    pub(super) fn cancel(&mut self, request: usize) -> bool {
        let waiting = &mut self.waiting;
        let at = waiting
            .iter()
            .position(|(prompt, _)| prompt.request == request);
        let Some((prompt, _)) = at.and_then(|at| waiting.remove(at)) else {
            return false;
        };
        self.pending_tokens -= u64::from(prompt.job.prompt_tokens);
        true
    }

    /// Loses everything.
    pub(super) fn die(&mut self) {
        *self = Self::default();
    }
}
