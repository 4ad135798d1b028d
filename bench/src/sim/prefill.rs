//! A worker's prefill side: prompts wait, are computed in batches, and their KV is sent, one request's at a time.

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
    waiting: VecDeque<Prompt>,
    batch: Vec<Prompt>,
    sending: VecDeque<Prompt>,
    /// Had its first batch.
    pub(super) warm: bool,
    /// Prompt tokens that are neither computed nor sent.
    pub(super) pending_tokens: u64,
}

impl PrefillSide {
    pub(super) fn new(warm: bool) -> Self {
        Self {
            warm,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, prompt: Prompt) {
        self.pending_tokens += u64::from(prompt.job.prompt_tokens);
        self.waiting.push_back(prompt);
    }

    /// Takes a batch where none is being computed. Answers how many seconds it takes.
    pub(super) fn form_batch(&mut self, model: &PrefillModel) -> Option<f64> {
        if !self.batch.is_empty() || self.waiting.is_empty() {
            return None;
        }
        let warm_up = if self.warm {
            0.0
        } else {
            model.warm_up_seconds(self.waiting.len() as u32)
        };
        self.warm = true;
        let mut tokens = 0.0;
        while let Some(next) = self.waiting.front() {
            let more = next.computed_tokens(model);
            if !self.batch.is_empty() && tokens + more > f64::from(model.max_batch_tokens) {
                break;
            }
            tokens += more;
            self.batch.extend(self.waiting.pop_front());
        }
        Some(warm_up + model.batch_seconds(tokens.round() as u64))
    }

    /// The batch is computed: its KV waits to be sent. Answers how many prompts there were.
    pub(super) fn computed(&mut self) -> usize {
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

    /// Takes a request out that still waits: its other half is gone.
    pub(super) fn cancel(&mut self, request: usize) {
        if let Some(at) = self
            .waiting
            .iter()
            .position(|prompt| prompt.request == request)
            && let Some(prompt) = self.waiting.remove(at)
        {
            self.pending_tokens -= u64::from(prompt.job.prompt_tokens);
        }
    }

    /// Loses everything.
    pub(super) fn die(&mut self) -> Vec<Prompt> {
        let Self {
            waiting,
            batch,
            sending,
            ..
        } = std::mem::take(self);
        waiting.into_iter().chain(batch).chain(sending).collect()
    }
}
