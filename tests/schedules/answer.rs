//! What a client got, held against what its prompt must get.

use http::StatusCode;
use serde_json::{Value, json};
use simulated_worker::answer;

use super::schedule::{Endpoint, Request};

/// How an answer that was read to its end turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    /// A status with an error body, before anything of an answer.
    Error(u16),
    /// A stream that was right as far as it came, and then said that it broke.
    ErrorEvent,
    /// A whole answer that was too long to be held back may be cut, which HTTP tells the client.
    Cut,
}

impl Request {
    pub(crate) const fn path(&self) -> &'static str {
        match self.endpoint {
            Endpoint::Generate => "/generate",
            Endpoint::Completions => "/v1/completions",
            Endpoint::Chat => "/v1/chat/completions",
        }
    }

    pub(crate) fn body(&self) -> String {
        let (stream, tokens) = (self.stream, self.tokens);
        match self.endpoint {
            Endpoint::Generate => json!({
                "text": self.prompt, "stream": stream,
                "sampling_params": {"max_new_tokens": tokens, "ignore_eos": true},
            }),
            Endpoint::Completions => json!({
                "model": "m", "prompt": self.prompt, "stream": stream, "max_tokens": tokens, "ignore_eos": true,
                "stream_options": stream.then(|| json!({"include_usage": true})),
            }),
            Endpoint::Chat => json!({
                "model": "m", "messages": [{"role": "user", "content": self.prompt}],
                "stream": stream, "max_tokens": tokens, "ignore_eos": true,
                "stream_options": stream.then(|| json!({"include_usage": true})),
            }),
        }
        .to_string()
    }

    fn expected(&self) -> String {
        match self.endpoint {
            Endpoint::Generate | Endpoint::Completions => {
                answer::expected_text(&self.prompt, self.tokens)
            }
            Endpoint::Chat => {
                let prompt = answer::chat_prompt([("user", self.prompt.as_str())]);
                answer::expected_text(&prompt, self.tokens)
            }
        }
    }

    /// What is wrong with an answer, if anything is.
    pub(crate) fn judge(
        &self,
        status: StatusCode,
        body: &str,
        broke: bool,
    ) -> Result<Verdict, String> {
        if status != StatusCode::OK {
            let error = serde_json::from_str::<Value>(body).ok();
            return match error.filter(|error| error.get("error").is_some()) {
                Some(_) if !broke => Ok(Verdict::Error(status.as_u16())),
                // As the peer has it, a full queue answers with its status alone.
                None if body.is_empty() && !broke => Ok(Verdict::Error(status.as_u16())),
                _ => Err(format!("{status} without a readable error: {body:?}")),
            };
        }
        if self.stream {
            return self.judge_stream(body, broke);
        }
        if broke {
            return Ok(Verdict::Cut);
        }
        let answer: Value =
            serde_json::from_str(body).map_err(|error| format!("{error}: {body:?}"))?;
        let text = self.text_of(&answer).unwrap_or_default();
        if text != self.expected() {
            return Err(format!("another answer than the right one: {body:?}"));
        }
        self.judge_counts(&answer)?;
        Ok(Verdict::Right)
    }

    fn judge_stream(&self, body: &str, broke: bool) -> Result<Verdict, String> {
        if broke {
            return Err("a stream was cut without an error event".to_owned());
        }
        let (mut text, mut done, mut failed) = (String::new(), false, false);
        let mut last_with_counts = None;
        let Some(body) = body.strip_suffix("\n\n") else {
            return Err(format!("not whole events: {body:?}"));
        };
        for event in body.split("\n\n") {
            let data = event
                .strip_prefix("data: ")
                .ok_or_else(|| format!("not an event: {event:?}"))?;
            if done {
                return Err(format!("{data:?} behind [DONE]"));
            }
            if data == "[DONE]" {
                done = true;
                continue;
            }
            if failed {
                return Err(format!("{data:?} behind an error"));
            }
            let event: Value =
                serde_json::from_str(data).map_err(|error| format!("{error}: {data:?}"))?;
            if is_error(&event) {
                failed = true;
                continue;
            }
            match (self.endpoint, self.text_of(&event)) {
                // Cumulative.
                (Endpoint::Generate, Some(all)) if all.starts_with(&text) => text = all,
                (Endpoint::Generate, all) => {
                    return Err(format!("{all:?} doesn't go on with {text:?}"));
                }
                (Endpoint::Completions | Endpoint::Chat, new) => {
                    text.push_str(&new.unwrap_or_default());
                }
            }
            if event["usage"].is_object() || event["meta_info"].is_object() {
                last_with_counts = Some(event);
            }
        }
        let expected = self.expected();
        match (failed, done) {
            (true, false) if expected.starts_with(&text) => Ok(Verdict::ErrorEvent),
            (true, true) => Err("an error event, and then [DONE]".to_owned()),
            (false, false) => Err(format!("no [DONE] and no error behind {text:?}")),
            (false, true) if text == expected => {
                self.judge_counts(&last_with_counts.ok_or("no usage")?)?;
                Ok(Verdict::Right)
            }
            _ => Err(format!("{text:?} is not {expected:?}")),
        }
    }

    fn text_of(&self, answer: &Value) -> Option<String> {
        let text = match self.endpoint {
            Endpoint::Generate => &answer["text"],
            Endpoint::Completions => &answer["choices"][0]["text"],
            Endpoint::Chat if self.stream => &answer["choices"][0]["delta"]["content"],
            Endpoint::Chat => &answer["choices"][0]["message"]["content"],
        };
        text.as_str().map(str::to_owned)
    }

    fn judge_counts(&self, answer: &Value) -> Result<(), String> {
        let counted = match self.endpoint {
            Endpoint::Generate => &answer["meta_info"]["completion_tokens"],
            Endpoint::Completions | Endpoint::Chat => &answer["usage"]["completion_tokens"],
        };
        if counted.as_u64() == Some(self.tokens.into()) {
            Ok(())
        } else {
            Err(format!("{counted} tokens counted of {}", self.tokens))
        }
    }
}

/// In the form of either kind of endpoint.
fn is_error(event: &Value) -> bool {
    event.get("error").is_some() || event["meta_info"]["finish_reason"]["type"] == "abort"
}
