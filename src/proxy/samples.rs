//! Several samples of a prompt (`n` over 1) on a prefill/decode pair.
//!
//! SGLang sends all samples of a prompt with one bootstrap room, whatever rooms it is given, and hands the KV of a room
//! over once: decode answers one sample, and whoever waits for the others waits for ever, with a place taken at both
//! workers. A list of prompts gets a room each. So `n` samples of a prompt are asked for as `n` equal prompts in a row,
//! which SGLang numbers and answers in the same shape; only its usage then counts the prompt once for each. A chat can't be
//! asked for as a list, and is refused at once.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::endpoint::Endpoint;
use super::object::Object;
use super::request::{RequestError, is_list_of_prompts};

/// Most samples of one prompt that are written out: OpenAI takes as many. More are passed on as they came.
const MOST_SAMPLES: u64 = 128;

/// Most bytes of prompts that are written: what a request grows to is bounded, and real prompts are far below.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Members with a value for each prompt, which would no longer fit, or prompts of another kind.
const NOT_SPREAD: [&str; 11] = [
    "input_embeds",
    "image_data",
    "video_data",
    "audio_data",
    "modalities",
    "token_ids_logprob",
    "session_params",
    "custom_logit_processor",
    "lora_path",
    "positional_embed_overrides",
    "best_of",
];

/// The request with a prompt for each of its `samples`, or `None` where it is passed on as it is.
pub(super) fn as_prompts(
    endpoint: Endpoint,
    body: &[u8],
    samples: u64,
) -> Result<Option<Bytes>, RequestError> {
    match endpoint {
        Endpoint::Generate | Endpoint::Completions => Ok(spread(endpoint, body, samples)),
        Endpoint::Chat => Err(RequestError::SamplesOfChat(samples)),
        Endpoint::Rerank
        | Endpoint::Embeddings
        | Endpoint::Classify
        | Endpoint::Score
        | Endpoint::Responses => Ok(None),
    }
}

/// Members that may have a value for each prompt.
const MAYBE_LISTS: [&str; 7] = [
    "rid",
    "return_logprob",
    "logprob_start_len",
    "top_logprobs_num",
    "return_hidden_states",
    "extra_key",
    "cache_salt",
];

fn spread(endpoint: Endpoint, body: &[u8], samples: u64) -> Option<Bytes> {
    let mut request = Object::parse(body)?;
    let is_set = |name: &&&str| request.get(name).is_some();
    let is_list = |name: &&str| {
        request
            .get(name)
            .is_some_and(|value| value.get().starts_with('['))
    };
    let misfits = NOT_SPREAD.iter().any(|name| is_set(&name)) || MAYBE_LISTS.iter().any(is_list);
    if samples > MOST_SAMPLES || misfits {
        return None;
    }
    let mut prompts = endpoint.prompt_members().iter().filter(is_set);
    let (name, None) = (*prompts.next()?, prompts.next()) else {
        return None;
    };
    let copies = repeated(request.get(name)?, samples)?;
    request.set(name, copies);
    if endpoint == Endpoint::Generate {
        let mut sampling = request.object("sampling_params")?;
        sampling.set("n", "1");
        let sampling = sampling.to_json();
        request.set("sampling_params", sampling);
    } else {
        request.set("n", "1");
    }
    Some(request.to_json().into())
}

/// A list with each prompt so many times.
fn repeated(prompts: &RawValue, samples: u64) -> Option<String> {
    let each: Vec<&RawValue> = if is_list_of_prompts(prompts) {
        serde_json::from_str(prompts.get()).ok()?
    } else {
        vec![prompts]
    };
    let bytes = prompts.get().len().checked_mul(samples as usize)?;
    if bytes > MOST_BYTES {
        return None;
    }
    let mut list = String::with_capacity(bytes + each.len() * samples as usize + 2);
    for prompt in each {
        for _ in 0..samples {
            let separator = if list.is_empty() { '[' } else { ',' };
            // Writing to a String can't fail.
            let _ = write!(list, "{separator}{}", prompt.get());
        }
    }
    list.push(']');
    Some(list)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(endpoint: Endpoint, body: &Value, samples: u64) -> Option<Value> {
        let body = as_prompts(endpoint, body.to_string().as_bytes(), samples).unwrap()?;
        Some(serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn each_prompt_is_there_once_for_each_sample_and_all_else_as_it_was() {
        let cases = [
            (
                Endpoint::Generate,
                json!({"text": "a", "x": {"y": 1.50}, "sampling_params": {"temperature": 0.7, "n": 2}}),
                json!({"text": ["a", "a"], "x": {"y": 1.50}, "sampling_params": {"temperature": 0.7, "n": 1}}),
            ),
            (
                Endpoint::Generate,
                json!({"input_ids": [5, 6], "sampling_params": {"n": 2}}),
                json!({"input_ids": [[5, 6], [5, 6]], "sampling_params": {"n": 1}}),
            ),
            (
                Endpoint::Generate,
                json!({"input_ids": [[5], [6]], "text": null, "sampling_params": {"n": 2}}),
                json!({"input_ids": [[5], [5], [6], [6]], "text": null, "sampling_params": {"n": 1}}),
            ),
            (
                Endpoint::Completions,
                json!({"prompt": "a", "n": 2, "stream": true}),
                json!({"prompt": ["a", "a"], "n": 1, "stream": true}),
            ),
            (
                Endpoint::Completions,
                json!({"prompt": ["a", "b"], "n": 2}),
                json!({"prompt": ["a", "a", "b", "b"], "n": 1}),
            ),
        ];
        for (endpoint, body, wanted) in cases {
            assert_eq!(asked(endpoint, &body, 2), Some(wanted), "{body}");
        }
    }

    #[test]
    fn what_would_no_longer_fit_its_prompt_is_passed_on_as_it_is() {
        let sampling = json!({"n": 2});
        for body in [
            json!({"text": "a", "image_data": ["i"], "sampling_params": sampling}),
            json!({"text": "a", "input_ids": [1], "sampling_params": sampling}),
            json!({"input_embeds": [[0.5]], "sampling_params": sampling}),
            json!({"text": "a", "sampling_params": [sampling]}),
            json!({"text": ["a", "b"], "rid": ["x", "y"], "sampling_params": sampling}),
            json!({"sampling_params": sampling}),
        ] {
            assert_eq!(asked(Endpoint::Generate, &body, 2), None, "{body}");
        }
    }

    #[test]
    fn a_request_grows_within_bounds() {
        let body = json!({"prompt": "a", "n": MOST_SAMPLES});
        let grown = asked(Endpoint::Completions, &body, MOST_SAMPLES).unwrap();
        assert_eq!(
            grown["prompt"].as_array().unwrap().len() as u64,
            MOST_SAMPLES
        );
        assert_eq!(asked(Endpoint::Completions, &body, MOST_SAMPLES + 1), None);
        let long = json!({"prompt": "a".repeat(MOST_BYTES / 2), "n": 2});
        assert_eq!(asked(Endpoint::Completions, &long, 2), None);
    }

    #[test]
    fn several_samples_of_a_chat_are_refused_with_the_reason() {
        let refused = as_prompts(Endpoint::Chat, b"{}", 3).unwrap_err();
        assert_eq!(refused, RequestError::SamplesOfChat(3));
        assert!(refused.to_string().contains("send 3 requests"), "{refused}");
    }
}
