//! One JSON object of an answer, whole or streamed, of any of the three endpoints.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
pub(crate) struct Object<'a> {
    /// `/generate`: all of the text so far.
    #[serde(borrow, default)]
    pub(crate) text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) meta_info: Option<Meta<'a>>,
    #[serde(borrow, default)]
    pub(crate) choices: Vec<Choice<'a>>,
    #[serde(default)]
    pub(crate) usage: Option<Usage>,
    #[serde(borrow, default)]
    pub(crate) error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(crate) struct Meta<'a> {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u32,
    #[serde(borrow, default)]
    pub(crate) finish_reason: Option<Reason<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct Reason<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(crate) struct Choice<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "delta")]
    message: Option<Message<'a>>,
    #[serde(borrow, default)]
    pub(crate) finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
    /// What a model thinks before it answers: generated tokens like the others.
    #[serde(borrow, default, alias = "reasoning")]
    reasoning_content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    #[serde(default)]
    pub(crate) completion_tokens: u32,
}

impl Choice<'_> {
    /// What is new of the text.
    pub(crate) fn text(&self) -> Option<&str> {
        let message = self.message.as_ref();
        let parts = [
            self.text.as_deref(),
            message.and_then(|message| message.content.as_deref()),
            message.and_then(|message| message.reasoning_content.as_deref()),
        ];
        let mut parts = parts.into_iter().flatten();
        let first = parts.next()?;
        // A chunk that names both content and reasoning fills one of them.
        Some(parts.find(|_| first.is_empty()).unwrap_or(first))
    }

    /// Whether it stands for a token. One whose text is held back, because it is part of a character, has an empty
    /// text; so have the chunk that only names the role and the one that only ends the answer.
    pub(crate) fn has_token(&self) -> bool {
        let names_role = self
            .message
            .as_ref()
            .is_some_and(|message| message.role.is_some());
        match self.text() {
            Some("") => !names_role && self.finish_reason.is_none(),
            Some(_) => true,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_with_text_or_with_text_held_back_is_a_token() {
        let table = [
            (r#"{"text": "a"}"#, true),
            (r#"{"text": ""}"#, true),
            (r#"{"text": "", "finish_reason": "stop"}"#, false),
            (r#"{"delta": {"role": "assistant", "content": ""}}"#, false),
            (r#"{"delta": {"role": "assistant", "content": "a"}}"#, true),
            (
                r#"{"delta": {"content": null, "reasoning_content": "hm"}}"#,
                true,
            ),
            (r#"{"delta": {"content": "", "reasoning": "hm"}}"#, true),
            (r#"{"delta": {}, "finish_reason": "length"}"#, false),
        ];
        for (json, token) in table {
            let choice: Choice<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(choice.has_token(), token, "{json}");
        }
    }
}
