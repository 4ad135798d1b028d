//! One request inside the engine.

use crate::{
    answer::{Answer, END_OF_TEXT},
    ticket::Ticket,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::{sync::oneshot, time::Instant};

/// How many tokens a request gets, how much of their text, and why it ends there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) answer: Answer,
    pub(crate) tokens: u32,
    /// Bytes of text that are shown, where a stop string cuts it.
    pub(crate) cut: Option<usize>,
    pub(crate) finish: Finish,
}

/// Why an answer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    Length(u32),
    EndOfText(u32),
    StopText(Arc<str>),
}

impl Finish {
    /// `length`, `stop`.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Length(_) => "length",
            Self::EndOfText(_) | Self::StopText(_) => "stop",
        }
    }
}

/// What a request says about the end of its answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sampling {
    pub(crate) max_tokens: u32,
    pub(crate) min_tokens: u32,
    pub(crate) ignore_eos: bool,
    pub(crate) stop: Vec<Arc<str>>,
}

impl Plan {
    /// The one token of a prefill worker. Its length reads 0: the worker itself was asked for no more than the prompt.
    pub(crate) const fn first_token(answer: Answer) -> Self {
        Self {
            answer,
            tokens: 1,
            cut: None,
            finish: Finish::Length(0),
        }
    }

    pub(crate) fn new(answer: Answer, sampling: &Sampling) -> Self {
        let natural = if sampling.ignore_eos {
            u32::MAX
        } else {
            answer.natural_length().max(sampling.min_tokens)
        };
        let tokens = natural.min(sampling.max_tokens);
        let finish = if natural <= sampling.max_tokens {
            Finish::EndOfText(END_OF_TEXT)
        } else {
            Finish::Length(sampling.max_tokens)
        };
        let whole = Self {
            answer,
            tokens,
            cut: None,
            finish,
        };
        whole.stopped(&sampling.stop)
    }

    /// Ends the answer at the first stop string that occurs in it.
    fn stopped(self, stops: &[Arc<str>]) -> Self {
        if stops.is_empty() {
            return self;
        }
        let mut text = String::new();
        for tokens in 1..=self.tokens {
            self.answer.token(tokens - 1).push_text(&mut text);
            let first = stops
                .iter()
                .filter_map(|stop| Some((text.find(&**stop)?, stop)))
                .min_by_key(|(at, _)| *at);
            if let Some((at, stop)) = first {
                return Self {
                    tokens,
                    cut: Some(at),
                    finish: Finish::StopText(Arc::clone(stop)),
                    ..self
                };
            }
        }
        self
    }
}

/// What travels from prefill to decode in place of a KV cache.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Kv {
    pub(crate) answer: (u64, u32),
    /// Tokens of the prompt that the prefill found in its cache: the decode reports them.
    pub(crate) cached_tokens: u64,
}

/// How a job's KV cache gets to where it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// One worker does both halves, or only pretends to (probes): nobody to meet.
    Nobody,
    Room(u64),
}

pub(crate) struct Job {
    pub(crate) rid: Arc<str>,
    pub(crate) meeting: Meeting,
    pub(crate) prompt_tokens: u64,
    /// Names of the prompt's blocks; none where no prefix cache is asked.
    pub(crate) blocks: Vec<u64>,
    /// What there is to generate; on a decode worker known only with the KV.
    pub(crate) plan: Plan,
    pub(crate) ticket: Arc<Ticket>,
    /// Health probes are work, but nobody's request.
    pub(crate) probe: bool,
}

/// A job in the queues.
pub(super) struct Queued {
    pub(super) id: u64,
    pub(super) job: Job,
    pub(super) tokens: u32,
    /// Prefill side: what is left to compute.
    pub(super) left: Work,
    /// Decode side: whether the next step has to take its KV in, from another worker or from where it was put back.
    pub(super) lands: bool,
    /// Prefill side: the decode worker that waits for the KV, and its arrival's number.
    pub(super) partner: Option<Partner>,
    /// The answer that the KV will carry: another request's where rooms collided.
    pub(super) carried: Answer,
}

/// What is left of a prompt's computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Everything; how much that is, the cache decides when the first batch takes the prompt.
    Whole,
    /// So many tokens, and the taking over of cached ones, which counts as so many.
    Part { uncached: u64, cached_cost: u64 },
}

impl Work {
    pub(super) const fn is_done(self) -> bool {
        matches!(
            self,
            Self::Part {
                uncached: 0,
                cached_cost: 0
            }
        )
    }
}

pub(super) struct Partner {
    pub(super) arrival: u64,
    pub(super) kv: oneshot::Sender<Parcel>,
}

/// Computed KV on its way to a decode worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parcel {
    pub(super) job: u64,
    pub(crate) kv: Kv,
    pub(super) tokens: u64,
    pub(super) computed: Instant,
    pub(crate) arrives: Instant,
}

impl Queued {
    pub(super) fn new(id: u64, job: Job) -> Self {
        Self {
            id,
            tokens: 0,
            left: Work::Whole,
            lands: false,
            partner: None,
            carried: job.plan.answer,
            job,
        }
    }

    pub(super) const fn kv_tokens(&self) -> u64 {
        self.job.prompt_tokens + self.tokens as u64
    }

    /// Tokens that are still to be computed, as far as that is known.
    pub(super) const fn uncached_tokens(&self) -> u64 {
        match self.left {
            Work::Whole => self.job.prompt_tokens,
            Work::Part { uncached, .. } => uncached,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(stop: &[&str], max_tokens: u32) -> Plan {
        let sampling = Sampling {
            max_tokens,
            stop: stop.iter().map(|&stop| stop.into()).collect(),
            ..Sampling::default()
        };
        Plan::new(Answer::to_text("prompt"), &sampling)
    }

    #[test]
    fn a_stop_string_cuts_the_text_before_itself() {
        let whole = Answer::to_text("prompt").text(20);
        let stop = &whole[12..15];
        let plan = plan(&[stop], 20);
        assert_eq!(plan.cut, Some(whole.find(stop).unwrap()));
        assert_eq!(plan.finish, Finish::StopText(stop.into()));
        assert!(plan.tokens < 20);
    }

    #[test]
    fn a_stop_string_that_never_comes_changes_nothing() {
        assert_eq!(plan(&["never said"], 9), plan(&[], 9));
        assert_eq!(plan(&[], 9).finish, Finish::Length(9));
    }
}
