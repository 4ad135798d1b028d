//! Requests, made before the measurement: the same bytes for every contender.

use super::Load;
use bytes::Bytes;
use serde_json::json;
use simulated_worker::{answer::prompt_of, stamp::name_of};

/// The model that every worker serves: one of the peers refuses names that no worker told it.
const MODEL: &str = "simulated";

/// Different small prompts; more would only fill the generator's cache.
const SMALL: u64 = 256;
/// Tokens of a small prompt, of four bytes.
const SMALL_TOKENS: u64 = 32;
/// Bytes of all large prompts together.
const LARGE_IN_ALL: usize = 8 << 20;
/// Conversations: so many system prompts of 2 KiB, and so many users of each with 256 bytes of their own.
const SYSTEM_PROMPTS: u64 = 32;
const SYSTEM_TOKENS: u64 = 512;
const USERS: u64 = 32;
const USER_TOKENS: u64 = 64;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompts {
    /// 128 bytes, each its own.
    Small,
    /// So many bytes each.
    Large { bytes: usize },
    /// Users that share system prompts, in an order without order: what a cache-aware policy is made for.
    Conversations,
}

/// One request, and what its answer has to carry.
#[derive(Debug, Clone)]
pub struct Question {
    pub body: Bytes,
    pub name: u64,
}

impl Prompts {
    pub(super) fn questions(self, load: &Load, seed: u64) -> Vec<Question> {
        match self {
            Self::Small => (0..SMALL)
                .map(|number| plain(load, SMALL_TOKENS, seed.wrapping_add(number)))
                .collect(),
            Self::Large { bytes } => (0..(LARGE_IN_ALL / bytes.max(1)).max(2) as u64)
                .map(|number| plain(load, bytes as u64 / 4, seed.wrapping_add(number)))
                .collect(),
            Self::Conversations => {
                let pairs = (0..SYSTEM_PROMPTS).flat_map(|s| (0..USERS).map(move |u| (s, u)));
                let mut questions: Vec<_> = pairs
                    .map(|(system, user)| conversation(load, seed, system, user))
                    .collect();
                fastrand::Rng::with_seed(seed).shuffle(&mut questions);
                questions
            }
        }
    }
}

fn plain(load: &Load, tokens: u64, seed: u64) -> Question {
    question(load, &prompt_of(tokens, seed))
}

/// System prompt and question are one message: sglang-router routes by the first message alone.
fn conversation(load: &Load, seed: u64, system: u64, user: u64) -> Question {
    let shared = prompt_of(SYSTEM_TOKENS, seed.wrapping_add(system));
    let own = prompt_of(
        USER_TOKENS,
        seed.wrapping_add(1 << 32 | system << 16 | user),
    );
    question(load, &(shared + &own))
}

fn question(load: &Load, prompt: &str) -> Question {
    let body = json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": load.tokens,
        "ignore_eos": true,
        "stream": load.streamed,
    });
    Question {
        body: body.to_string().into(),
        name: name_of(prompt),
    }
}
