//! What is measured: endpoints, tokens a chunk, and what a chunk tells about its tokens.

use super::Plan;
use crate::load::{Endpoints, Load, Streaming};
use std::fmt;

/// One load, measured by both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub endpoint: Endpoints,
    pub tokens_a_chunk: u32,
    pub counting: Counting,
}

/// What a chunk counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// As the tokens that its usage adds: always so for `/generate`, for the others where the client asks for it.
    Tokens,
    /// As one token, since it has no usage.
    Chunks,
}

impl Case {
    /// The three endpoints with 1 and 4 tokens a chunk, and, because that is what an OpenAI client gets unless it asks
    /// for more, with 4 tokens a chunk and no usage to count them by.
    pub const ALL: [Self; 8] = [
        Self::new(Endpoints::Chat, 1, Counting::Chunks),
        Self::new(Endpoints::Completions, 1, Counting::Chunks),
        Self::new(Endpoints::Generate, 1, Counting::Tokens),
        Self::new(Endpoints::Chat, 4, Counting::Tokens),
        Self::new(Endpoints::Completions, 4, Counting::Tokens),
        Self::new(Endpoints::Generate, 4, Counting::Tokens),
        Self::new(Endpoints::Chat, 4, Counting::Chunks),
        Self::new(Endpoints::Completions, 4, Counting::Chunks),
    ];

    const fn new(endpoint: Endpoints, tokens_a_chunk: u32, counting: Counting) -> Self {
        Self {
            endpoint,
            tokens_a_chunk,
            counting,
        }
    }

    pub(super) fn load(self, plan: &Plan, url: &str) -> Load {
        Load {
            url: url.into(),
            endpoints: self.endpoint,
            requests: plan.requests,
            concurrency: plan.concurrency,
            streaming: Streaming::Always,
            prompt_tokens: plan.prompt_tokens,
            output_tokens: plan.output_tokens,
            continuous_usage: self.counting == Counting::Tokens,
            seed: plan.seed,
            progress: true,
            ..Load::default()
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = match self.endpoint {
            Endpoints::Generate => "generate",
            Endpoints::Completions => "completions",
            Endpoints::Chat => "chat",
            Endpoints::Mixed => "mixed",
        };
        write!(f, "{endpoint}, {} a chunk", self.tokens_a_chunk)?;
        match self.counting {
            Counting::Chunks if self.tokens_a_chunk > 1 => f.write_str(", no usage"),
            Counting::Chunks | Counting::Tokens => Ok(()),
        }
    }
}
