//! Why a stream can't be continued.

/// What stands in the way. Whoever reads it in a metric knows which of a request's members it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Obstacle {
    /// Several sequences: `n`, `best_of`, a list of prompts.
    Sequences,
    /// Log probabilities, hidden states, token ids of each chunk: what was computed with the tokens that are there.
    Internals,
    /// A grammar, which would begin anew: `response_format`, `json_schema`, `regex`, `ebnf`, structural tags.
    Grammar,
    /// Tools, or a tool call that has begun.
    Tools,
    /// Reasoning that came apart from the text.
    Reasoning,
    /// Penalties and logit processors, which look at what was generated and would forget it.
    Penalties,
    /// A regular expression as a stop condition, which may have begun to match.
    StopRegex,
    /// The text ends in what may be the beginning of a stop string.
    StopBegun,
    /// A prompt that text can't be put behind: embeddings, an assistant's message that isn't to be continued, `suffix`,
    /// `echo`, a session.
    Prompt,
    /// The answer is not as SGLang writes it, so how far it got is not known.
    Unreadable,
    /// The prompt is token ids, and no worker turned the answer's text into such.
    NoTokenizer,
    /// It has been continued as often as may be.
    TooOften,
}

impl Obstacle {
    pub(in crate::proxy) const fn as_str(self) -> &'static str {
        match self {
            Self::Sequences => "sequences",
            Self::Internals => "internals",
            Self::Grammar => "grammar",
            Self::Tools => "tools",
            Self::Reasoning => "reasoning",
            Self::Penalties => "penalties",
            Self::StopRegex => "stop_regex",
            Self::StopBegun => "stop_begun",
            Self::Prompt => "prompt",
            Self::Unreadable => "unreadable",
            Self::NoTokenizer => "no_tokenizer",
            Self::TooOften => "too_often",
        }
    }
}
