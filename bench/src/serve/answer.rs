//! Reading one streamed answer: whether it is whole, how many tokens it has, and when they came.

use crate::{
    load::Failure,
    wire::{Endpoint, Object},
};
use std::time::Duration;

/// Of what a server says about a failure, so much is kept.
const LONGEST_DETAIL: usize = 300;

/// Why a request has no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) failure: Failure,
    /// In the server's words, or in ours.
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(failure: Failure, detail: &str) -> Self {
        Self {
            failure,
            detail: detail.chars().take(LONGEST_DETAIL).collect(),
        }
    }
}

/// The tokens of one chunk, and the time before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) micros: u32,
    pub(super) tokens: u32,
}

impl Gap {
    /// A chunk of k tokens is k gaps of a k-th.
    pub(super) fn seconds_per_token(self) -> f64 {
        f64::from(self.micros) / 1e6 / f64::from(self.tokens)
    }
}

/// A whole answer. Times count from when the request was due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) first: Duration,
    /// To the last chunk of a choice.
    pub(super) whole: Duration,
    pub(super) gaps: Vec<Gap>,
    pub(super) prompt_tokens: Option<u32>,
    pub(super) output_tokens: u32,
    pub(super) text: String,
    pub(super) events: u64,
}

/// An answer that is being read.
pub(super) struct Reading {
    endpoint: Endpoint,
    first: Option<Duration>,
    last_token: Duration,
    last_choice: Duration,
    gaps: Vec<Gap>,
    counted: u32,
    prompt_tokens: Option<u32>,
    stated: Option<u32>,
    finished: bool,
    done: bool,
    events: u64,
    /// `None` where the text isn't kept.
    text: Option<String>,
}

impl Reading {
    pub(super) fn new(endpoint: Endpoint, keep_text: bool) -> Self {
        Self {
            endpoint,
            first: None,
            last_token: Duration::ZERO,
            last_choice: Duration::ZERO,
            gaps: Vec::new(),
            counted: 0,
            prompt_tokens: None,
            stated: None,
            finished: false,
            done: false,
            events: 0,
            text: keep_text.then(String::new),
        }
    }

    /// Reads the data of one event, which came at that time.
    pub(super) fn event(&mut self, data: &[u8], at: Duration) -> Result<(), Problem> {
        self.events += 1;
        if self.done {
            return Err(Problem::new(Failure::Garbled, "an event after [DONE]"));
        }
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let object: Object<'_> = serde_json::from_slice(data).map_err(|error| {
            let found = String::from_utf8_lossy(data);
            Problem::new(Failure::Garbled, &format!("{error}: {found}"))
        })?;
        if let Some(error) = object.error {
            return Err(Problem::new(Failure::ErrorEvent, error.get()));
        }
        let tokens = match self.endpoint {
            Endpoint::Generate => self.generated(object, at)?,
            Endpoint::Completions | Endpoint::Chat => self.chosen(&object, at)?,
        };
        if tokens > 0 {
            self.tokens(tokens, at);
        }
        Ok(())
    }

    /// `/generate` repeats the whole text and counts all tokens so far. Returns how many are new.
    fn generated(&mut self, object: Object<'_>, at: Duration) -> Result<u32, Problem> {
        let Some(meta) = object.meta_info else {
            return Err(Problem::new(Failure::Garbled, "an event without meta_info"));
        };
        if let Some(reason) = meta.finish_reason {
            self.finish(&reason.kind)?;
        }
        if let (Some(kept), Some(text)) = (&mut self.text, object.text) {
            *kept = text.into_owned();
        }
        self.last_choice = at;
        self.prompt_tokens = u32::try_from(meta.prompt_tokens).ok();
        self.stated = Some(meta.completion_tokens);
        Ok(meta.completion_tokens.saturating_sub(self.counted))
    }

    /// The OpenAI endpoints send what is new; a chunk is one token, unless it says how many there are so far.
    fn chosen(&mut self, object: &Object<'_>, at: Duration) -> Result<u32, Problem> {
        let mut has_token = false;
        for choice in &object.choices {
            has_token |= choice.has_token();
            self.last_choice = at;
            if let Some(reason) = &choice.finish_reason {
                self.finish(reason)?;
            }
            if let (Some(kept), Some(text)) = (&mut self.text, choice.text()) {
                kept.push_str(text);
            }
        }
        let stated = object.usage.as_ref().map(|usage| usage.completion_tokens);
        if let Some(usage) = &object.usage {
            self.prompt_tokens = u32::try_from(usage.prompt_tokens).ok();
            self.stated = stated;
        }
        if !has_token {
            return Ok(0);
        }
        Ok(stated.map_or(1, |total| total.saturating_sub(self.counted)))
    }

    /// SGLang's reasons for an answer that it gave up are no finish.
    fn finish(&mut self, reason: &str) -> Result<(), Problem> {
        if ["abort", "error"].contains(&reason) {
            let detail = format!("finish reason {reason}");
            return Err(Problem::new(Failure::ErrorEvent, &detail));
        }
        self.finished = true;
        Ok(())
    }

    /// Tokens that came together. Those that come with the first have no gap of their own.
    fn tokens(&mut self, tokens: u32, at: Duration) {
        self.counted += tokens;
        if self.first.is_none() {
            self.first = Some(at);
        } else {
            let gap = at.saturating_sub(self.last_token);
            // Four bytes of microseconds are 71 minutes, longer than any limit on silence.
            let micros = u32::try_from(gap.as_micros()).unwrap_or(u32::MAX);
            self.gaps.push(Gap { micros, tokens });
        }
        self.last_token = at;
    }

    /// The stream has ended: was it whole, and as long as was asked, if it had to be?
    pub(super) fn end(self, must_have: Option<u32>) -> Result<Answer, Problem> {
        let incomplete = |detail| Err(Problem::new(Failure::Incomplete, detail));
        if !self.finished {
            return incomplete("the stream ended without a finish reason");
        }
        if !self.done && self.stated.is_none() {
            return incomplete("the stream ended without [DONE] and without usage");
        }
        let Some(first) = self.first else {
            return incomplete("the stream had no token");
        };
        if let (Some(asked), Some(stated)) = (must_have, self.stated)
            && asked != stated
        {
            let detail = format!("asked for {asked} tokens, the usage states {stated}");
            return Err(Problem::new(Failure::WrongUsage, &detail));
        }
        Ok(Answer {
            first,
            whole: self.last_choice.max(first),
            gaps: self.gaps,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.stated.unwrap_or(self.counted),
            text: self.text.unwrap_or_default(),
            events: self.events,
        })
    }
}

#[cfg(test)]
mod tests;
