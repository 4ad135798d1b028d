//! Reading answers: whole or streamed, of three endpoints, into one form that can be compared.

use super::{question::Question, report::Failure};
use crate::wire::{Endpoint, Object};
use std::borrow::Cow;

/// What has been received.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    text: String,
    finish: Option<String>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u32>,
    /// Tokens whose text has come, as far as that was told.
    counted: u32,
    done: bool,
}

impl Received {
    /// Reads an answer that was not streamed.
    pub(crate) fn whole(endpoint: Endpoint, body: &[u8]) -> Result<Self, Failure> {
        let mut received = Self {
            done: true,
            ..Self::default()
        };
        received.object(endpoint, body)?;
        Ok(received)
    }

    /// Reads one event of a stream; returns how many tokens it brought.
    pub(crate) fn event(&mut self, endpoint: Endpoint, data: &[u8]) -> Result<u32, Failure> {
        if self.done {
            return Err(Failure::Garbled);
        }
        if data == b"[DONE]" {
            self.done = true;
            return Ok(0);
        }
        let before = self.text.len();
        let usage = self.object(endpoint, data)?;
        Ok(if self.text.len() > before {
            self.count(usage)
        } else {
            0
        })
    }

    /// The tokens of a chunk that brought text: what its usage, which is that of the whole answer so far, adds to the
    /// last one. Without usage a chunk counts as one token.
    fn count(&mut self, usage: Option<u32>) -> u32 {
        let total = usage.unwrap_or(self.counted + 1);
        let new = total.saturating_sub(self.counted);
        self.counted = total;
        new
    }

    /// Reads an object; returns the completion tokens that it states.
    fn object(&mut self, endpoint: Endpoint, json: &[u8]) -> Result<Option<u32>, Failure> {
        let object: Object<'_> = serde_json::from_slice(json).map_err(|_| Failure::Garbled)?;
        if object.error.is_some() {
            return Err(Failure::ErrorEvent);
        }
        match endpoint {
            Endpoint::Generate => self.generated(object),
            Endpoint::Completions | Endpoint::Chat => Ok(self.chosen(object)),
        }
    }

    /// SGLang's own endpoint repeats the whole text each time.
    fn generated(&mut self, object: Object<'_>) -> Result<Option<u32>, Failure> {
        let (Some(text), Some(meta)) = (object.text, object.meta_info) else {
            return Err(Failure::Garbled);
        };
        let finish = meta.finish_reason.map(|reason| reason.kind);
        if finish.as_deref() == Some("abort") {
            return Err(Failure::ErrorEvent);
        }
        if !text.starts_with(&self.text) {
            return Err(Failure::WrongText);
        }
        self.text = text.into_owned();
        self.finish = finish.map(Cow::into_owned);
        self.prompt_tokens = Some(meta.prompt_tokens);
        self.completion_tokens = Some(meta.completion_tokens);
        Ok(self.completion_tokens)
    }

    /// The OpenAI endpoints send what is new.
    fn chosen(&mut self, object: Object<'_>) -> Option<u32> {
        for choice in object.choices {
            if let Some(text) = choice.text() {
                self.text.push_str(text);
            }
            if let Some(finish) = choice.finish_reason {
                self.finish = Some(finish.into_owned());
            }
        }
        let usage = object.usage?;
        self.prompt_tokens = Some(usage.prompt_tokens);
        self.completion_tokens = Some(usage.completion_tokens);
        self.completion_tokens
    }

    /// Compares with what had to come.
    pub(crate) fn check(&self, question: &Question) -> Result<(), Failure> {
        let expected = &question.expected;
        if !self.done {
            return Err(Failure::Incomplete);
        }
        if self.text != expected.text {
            return Err(if expected.text.starts_with(&self.text) {
                Failure::Incomplete
            } else {
                Failure::WrongText
            });
        }
        if self.finish.as_deref() != Some(expected.finish_reason) {
            return Err(Failure::WrongFinish);
        }
        let counts = (self.prompt_tokens, self.completion_tokens);
        if counts
            != (
                Some(question.prompt_tokens),
                Some(expected.completion_tokens),
            )
        {
            return Err(Failure::WrongUsage);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Load, Streaming};
    use serde_json::json;

    fn question(streaming: Streaming) -> Question {
        let load = Load {
            streaming,
            output_tokens: 3,
            ..Load::default()
        };
        Question::new(&load, (load.prompt_tokens, load.output_tokens), 0)
    }

    fn generated(text: &str, tokens: u32, finish: &str) -> String {
        json!({
            "text": text,
            "meta_info": {
                "prompt_tokens": 128,
                "completion_tokens": tokens,
                "finish_reason": {"type": finish},
            },
        })
        .to_string()
    }

    #[test]
    fn the_right_answer_passes_and_each_flaw_is_named() {
        let question = question(Streaming::Never);
        let right = &question.expected.text;
        let table = [
            (generated(right, 3, "length"), Ok(())),
            (
                generated(&right[..5], 3, "length"),
                Err(Failure::Incomplete),
            ),
            (generated("other", 3, "length"), Err(Failure::WrongText)),
            (generated(right, 3, "stop"), Err(Failure::WrongFinish)),
            (generated(right, 2, "length"), Err(Failure::WrongUsage)),
        ];
        for (body, verdict) in table {
            let received = Received::whole(Endpoint::Generate, body.as_bytes()).unwrap();
            assert_eq!(received.check(&question), verdict, "{body}");
        }
        assert_eq!(
            Received::whole(Endpoint::Generate, b"{\"text\""),
            Err(Failure::Garbled)
        );
    }

    #[test]
    fn a_stream_without_its_end_is_incomplete() {
        let question = question(Streaming::Always);
        let mut received = Received::default();
        let event = generated(&question.expected.text, 3, "length");
        received
            .event(Endpoint::Generate, event.as_bytes())
            .unwrap();
        assert_eq!(received.check(&question), Err(Failure::Incomplete));
        received.event(Endpoint::Generate, b"[DONE]").unwrap();
        assert_eq!(received.check(&question), Ok(()));
    }

    #[test]
    fn a_chunk_holds_the_tokens_that_its_usage_adds() {
        let usage = |tokens| {
            let usage = json!({"prompt_tokens": 9, "completion_tokens": tokens});
            json!({"choices": [{"delta": {"content": "x"}}], "usage": usage})
        };
        let (usage_1, usage_5) = (usage(1), usage(5));
        let role = json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]});
        let bare = json!({"choices": [{"delta": {"content": "x"}}], "usage": null});
        let last = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}});
        let table = [
            (vec![&role, &usage_1, &usage_5, &last], vec![0, 1, 4, 0]),
            (vec![&role, &bare, &bare, &last], vec![0, 1, 1, 0]),
        ];
        for (events, tokens) in table {
            let mut received = Received::default();
            let counted: Vec<_> = events
                .iter()
                .map(|event| received.event(Endpoint::Chat, event.to_string().as_bytes()))
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(counted, tokens);
        }
    }
}
