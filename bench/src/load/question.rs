//! A request and the answer that it must get.

use super::{Endpoints, Load, Streaming};
use crate::wire::Endpoint;
use bytes::Bytes;
use serde_json::{Value, json};
use simulated_worker::answer::{self, Answer, Expected, chat_prompt, prompt_of};

pub(crate) struct Question {
    pub(crate) endpoint: Endpoint,
    pub(crate) stream: bool,
    pub(crate) body: Bytes,
    pub(crate) prompt_tokens: u64,
    pub(crate) expected: Expected,
}

impl Question {
    /// The request of a number: the same for the same load, where it has the same lengths, of prompt and answer.
    pub(crate) fn new(
        load: &Load,
        (prompt_tokens, output_tokens): (u64, u32),
        number: u64,
    ) -> Self {
        let endpoint = match load.endpoints {
            Endpoints::Generate => Endpoint::Generate,
            Endpoints::Completions => Endpoint::Completions,
            Endpoints::Chat => Endpoint::Chat,
            Endpoints::Mixed => Endpoint::ALL[(number % 3) as usize],
        };
        let stream = match load.streaming {
            Streaming::Always => true,
            Streaming::Never => false,
            // Every endpoint of a mixed load gets both.
            Streaming::EverySecond => (number / 3).is_multiple_of(2),
        };
        // Far apart, so that two loads with seeds side by side share no prompt.
        let seed = load.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number;
        let text = prompt_of(prompt_tokens, seed);
        let prompt = match endpoint {
            Endpoint::Generate | Endpoint::Completions => text.clone(),
            Endpoint::Chat => chat_prompt([("user", text.as_str())]),
        };
        Self {
            endpoint,
            stream,
            body: body(load, endpoint, stream, &text, output_tokens)
                .to_string()
                .into(),
            prompt_tokens: answer::prompt_tokens(&prompt),
            expected: answer::expected(Answer::to_text(&prompt), output_tokens, true),
        }
    }
}

fn body(load: &Load, endpoint: Endpoint, stream: bool, text: &str, tokens: u32) -> Value {
    let model = load.model.as_str();
    let mut body = match endpoint {
        Endpoint::Generate => json!({
            "text": text,
            "sampling_params": {"max_new_tokens": tokens, "ignore_eos": true},
        }),
        Endpoint::Completions => json!({
            "model": model,
            "prompt": text,
            "max_tokens": tokens,
            "ignore_eos": true,
        }),
        Endpoint::Chat => json!({
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": tokens,
            "ignore_eos": true,
        }),
    };
    body["stream"] = stream.into();
    if stream && endpoint != Endpoint::Generate {
        body["stream_options"] = if load.continuous_usage {
            json!({"include_usage": true, "continuous_usage_stats": true})
        } else {
            json!({"include_usage": true})
        };
    }
    body
}
