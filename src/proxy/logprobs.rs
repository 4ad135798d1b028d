//! Log probabilities of the prompt: only the prefill worker has them, and the client is answered by the decode worker.
//!
//! For `/generate` with `return_logprob`: the prefill's input log probabilities are put before the decode's own in
//! `meta_info`, for one answer, for a batch (a list, matched by position) and in a stream (event by event; a batch's
//! events name their position as `index`).

use bytes::Bytes;
use serde_json::Value;

use super::sse;

/// Arrays in `meta_info` that describe the prompt.
const PROMPT_ARRAYS: [&str; 3] = [
    "input_token_logprobs",
    "input_top_logprobs",
    "input_token_ids_logprobs",
];

/// The prefill's arrays, by position in the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptLogprobs(Vec<Value>);

impl PromptLogprobs {
    /// Reads them from a prefill's body: a JSON answer, or a stream whose last event of each position has them.
    pub fn from_prefill(body: &[u8], streamed: bool) -> Self {
        if !streamed {
            return Self(match serde_json::from_slice(body) {
                Ok(Value::Array(answers)) => answers.into_iter().map(take_meta).collect(),
                Ok(answer) => vec![take_meta(answer)],
                Err(_) => Vec::new(),
            });
        }
        let mut by_position: Vec<Value> = Vec::new();
        sse::EventScanner::default().feed(body, |event| {
            let Some(answer) =
                sse::payload(event).and_then(|data| serde_json::from_slice::<Value>(data).ok())
            else {
                return;
            };
            let position = position(&answer);
            if by_position.len() <= position && position < super::request::MAX_BATCH_LEN {
                by_position.resize(position + 1, Value::Null);
            }
            if let Some(slot) = by_position.get_mut(position) {
                *slot = take_meta(answer);
            }
        });
        Self(by_position)
    }

    /// A whole answer with the arrays merged; the answer as it is where it isn't of the known shape.
    pub fn merge_whole(&self, answer: &Bytes) -> Bytes {
        let Ok(mut json) = serde_json::from_slice::<Value>(answer) else {
            return answer.clone();
        };
        match &mut json {
            Value::Array(answers) => {
                for (position, one) in answers.iter_mut().enumerate() {
                    self.merge_one(position, one);
                }
            }
            one => self.merge_one(0, one),
        }
        json.to_string().into()
    }

    /// One event with the arrays merged, blank line included.
    pub fn merge_event(&self, event: &[u8]) -> Bytes {
        let json = sse::payload(event).and_then(|data| serde_json::from_slice::<Value>(data).ok());
        match json {
            Some(mut answer) => {
                let position = position(&answer);
                self.merge_one(position, &mut answer);
                format!("data: {answer}\n\n").into()
            }
            None => [event, b"\n\n"].concat().into(),
        }
    }

    fn merge_one(&self, position: usize, answer: &mut Value) {
        let (Some(prefill), Some(meta)) = (self.0.get(position), answer.get_mut("meta_info"))
        else {
            return;
        };
        for name in PROMPT_ARRAYS {
            let Some(Value::Array(prompt)) = prefill.get(name) else {
                continue;
            };
            let mut merged = prompt.clone();
            if let Some(Value::Array(own)) = meta.get_mut(name) {
                merged.append(own);
            }
            meta[name] = Value::Array(merged);
        }
    }
}

fn take_meta(mut answer: Value) -> Value {
    answer
        .get_mut("meta_info")
        .map(Value::take)
        .unwrap_or_default()
}

fn position(answer: &Value) -> usize {
    answer
        .get("index")
        .and_then(Value::as_u64)
        .and_then(|index| usize::try_from(index).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(input: &Value) -> Value {
        json!({"text": "t", "meta_info": {"input_token_logprobs": input, "output_token_logprobs": [[-1.0, 9, null]]}})
    }

    #[test]
    fn the_prompts_logprobs_come_before_the_decodes() {
        let prefill = PromptLogprobs::from_prefill(
            answer(&json!([[null, 1, null], [-2.0, 2, null]]))
                .to_string()
                .as_bytes(),
            false,
        );
        let merged = prefill.merge_whole(&answer(&json!([])).to_string().into());
        let merged: Value = serde_json::from_slice(&merged).unwrap();
        assert_eq!(merged, answer(&json!([[null, 1, null], [-2.0, 2, null]])));
    }

    #[test]
    fn batches_are_matched_by_position() {
        let prefill = json!([
            answer(&json!([[-1.0, 1, null]])),
            answer(&json!([[-2.0, 2, null]]))
        ]);
        let prefill = PromptLogprobs::from_prefill(prefill.to_string().as_bytes(), false);
        let decode = json!([answer(&json!([])), answer(&json!([[-3.0, 3, null]]))]);
        let merged: Value =
            serde_json::from_slice(&prefill.merge_whole(&decode.to_string().into())).unwrap();
        assert_eq!(
            merged[0]["meta_info"]["input_token_logprobs"],
            json!([[-1.0, 1, null]])
        );
        assert_eq!(
            merged[1]["meta_info"]["input_token_logprobs"],
            json!([[-2.0, 2, null], [-3.0, 3, null]])
        );
    }

    #[test]
    fn every_event_of_a_stream_gets_them() {
        let mut second = answer(&json!([[-2.0, 2, null]]));
        second["index"] = json!(1);
        let body = format!(
            "data: {}\n\ndata: {second}\n\ndata: [DONE]\n\n",
            answer(&json!([[-1.0, 1, null]]))
        );
        let prefill = PromptLogprobs::from_prefill(body.as_bytes(), true);
        let mut event = answer(&json!([]));
        event["index"] = json!(1);
        let merged = prefill.merge_event(format!("data: {event}").as_bytes());
        let merged: Value =
            serde_json::from_slice(sse::payload(merged.strip_suffix(b"\n\n").unwrap()).unwrap())
                .unwrap();
        assert_eq!(
            merged["meta_info"]["input_token_logprobs"],
            json!([[-2.0, 2, null]])
        );
        assert_eq!(
            prefill.merge_event(b"data: [DONE]"),
            &b"data: [DONE]\n\n"[..]
        );
    }
}
