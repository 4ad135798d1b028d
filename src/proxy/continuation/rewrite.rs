//! The next pair's answer, told as the rest of the first one's.
//!
//! Its events are of another request: with another id, the text and the tokens from its own beginning, the answer so far
//! counted as prompt. The client asked once, so each event is written as the first worker would have written it.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::answer::{Answer, string_in};
use super::draft::list;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::object::Object;
use crate::proxy::sse::{self, EventScanner};

/// Rewrites the events of the second answer.
#[derive(Debug)]
pub(in crate::proxy) struct Rewrite {
    scanner: EventScanner,
    endpoint: Endpoint,
    before: Answer,
    /// The client has as many tokens as it asked for, so the one that was asked for too much is left out.
    overrun: bool,
}

impl Rewrite {
    pub(super) fn new(endpoint: Endpoint, before: Answer, overrun: bool) -> Self {
        Self {
            scanner: EventScanner::default(),
            endpoint,
            before,
            overrun,
        }
    }

    /// Takes a piece of the answer and gives the events that end in it, as the client is to have them.
    pub(in crate::proxy) fn feed(&mut self, piece: &[u8]) -> Vec<Bytes> {
        let mut events = Vec::new();
        let Self {
            scanner,
            endpoint,
            before,
            overrun,
        } = self;
        scanner.feed(piece, |event| {
            events.extend(rewritten(*endpoint, before, *overrun, event));
        });
        events
    }
}

/// `None` where the client has nothing to learn from the event. What isn't understood passes as it is: errors, `[DONE]`,
/// comments.
fn rewritten(endpoint: Endpoint, before: &Answer, overrun: bool, event: &[u8]) -> Option<Bytes> {
    let as_it_is = || Some([event, b"\n\n"].concat().into());
    if sse::error_in(event).is_some() {
        return as_it_is();
    }
    let Some(object) = sse::payload(event).and_then(Object::parse) else {
        return as_it_is();
    };
    let object = if endpoint == Endpoint::Generate {
        generated(object, before, overrun)
    } else {
        chunk(endpoint, object, before, overrun)
    };
    object.map(|object| format!("data: {}\n\n", object.to_json()).into())
}

fn generated<'a>(mut event: Object<'a>, before: &Answer, overrun: bool) -> Option<Object<'a>> {
    let Some(json) = event.get("meta_info").map(|raw| raw.get().to_owned()) else {
        return Some(event);
    };
    let mut meta = Object::parse(json.as_bytes())?;
    let more: u32 = if overrun {
        0
    } else {
        meta.read("completion_tokens").unwrap_or(0)
    };
    let tokens = before.tokens + more;
    if overrun {
        meta.get("finish_reason")?;
        meta.set("finish_reason", length(tokens));
        event.set("text", format!("\"{}\"", before.text));
        event.set("output_ids", list(&before.ids));
    } else {
        if let Some(mut reason) = meta.object("finish_reason")
            && reason.get("length").is_some()
        {
            reason.set("length", tokens.to_string());
            let reason = reason.to_json();
            meta.set("finish_reason", reason);
        }
        let text = event.get("text").and_then(string_in).unwrap_or_default();
        let text = format!("\"{}{text}\"", before.text);
        let ids: Vec<u32> = event.read("output_ids").unwrap_or_default();
        event.set("text", text);
        event.set("output_ids", list(before.ids.iter().chain(&ids)));
    }
    meta.set("id", before.id.clone());
    meta.set("completion_tokens", tokens.to_string());
    if let Some(prompt) = before.prompt_tokens {
        meta.set("prompt_tokens", prompt.to_string());
    }
    let meta = meta.to_json();
    event.set("meta_info", meta);
    Some(event)
}

fn length(tokens: u32) -> String {
    format!("{{\"type\":\"length\",\"length\":{tokens}}}")
}

fn chunk<'a>(
    endpoint: Endpoint,
    mut chunk: Object<'a>,
    before: &Answer,
    overrun: bool,
) -> Option<Object<'a>> {
    let choices = chunk.get("choices").map_or("[]", RawValue::get).to_owned();
    let choices: Vec<&RawValue> = serde_json::from_str(&choices).ok()?;
    if let Some(choice) = choices.first() {
        let choice = Object::parse(choice.get().as_bytes())?;
        let choice = match endpoint {
            Endpoint::Chat => chat_choice(choice, before, overrun),
            Endpoint::Generate
            | Endpoint::Completions
            | Endpoint::Rerank
            | Endpoint::Embeddings
            | Endpoint::Classify
            | Endpoint::Score
            | Endpoint::Responses => text_choice(choice, before, overrun),
        }?;
        chunk.set("choices", format!("[{}]", choice.to_json()));
    }
    chunk.set("id", before.id.clone());
    if let Some(created) = &before.created {
        chunk.set("created", created.clone());
    }
    if let Some(usage) = chunk.get("usage").map(|raw| raw.get().to_owned()) {
        chunk.set("usage", usage_of_both(&usage, before, overrun)?);
    }
    Some(chunk)
}

/// Nothing of the role that the client knows, and of the rest only what it hasn't been told.
fn chat_choice<'a>(mut choice: Object<'a>, before: &Answer, overrun: bool) -> Option<Object<'a>> {
    let finishes = choice.get("finish_reason").is_some();
    let delta = choice.object("delta").unwrap_or_default();
    let content: Option<String> = delta.read("content");
    let greets = delta.get("role").is_some() && content.as_deref().is_none_or(str::is_empty);
    let is_known = if finishes {
        before.finished
    } else {
        greets || overrun
    };
    if is_known {
        return None;
    }
    if overrun {
        finish_by_length(&mut choice);
    }
    Some(choice)
}

fn text_choice<'a>(mut choice: Object<'a>, before: &Answer, overrun: bool) -> Option<Object<'a>> {
    if overrun {
        choice.get("finish_reason").filter(|_| !before.finished)?;
        choice.set("text", "\"\"");
        finish_by_length(&mut choice);
    }
    Some(choice)
}

fn finish_by_length(choice: &mut Object<'_>) {
    choice.set("finish_reason", "\"length\"");
    choice.set("matched_stop", "null");
}

/// The usage of the whole answer: what the second request counts as prompt is the prompt and the answer so far.
fn usage_of_both(usage: &str, before: &Answer, overrun: bool) -> Option<String> {
    let mut usage = Object::parse(usage.as_bytes())?;
    let (Some(prompt), Some(more)) = (
        usage.read::<u32>("prompt_tokens"),
        usage.read::<u32>("completion_tokens"),
    ) else {
        return Some(usage.to_json());
    };
    let first = before.prompt_tokens;
    let prompt = first.unwrap_or_else(|| prompt.saturating_sub(before.tokens));
    let completion = before.tokens + if overrun { 0 } else { more };
    usage.set("prompt_tokens", prompt.to_string());
    usage.set("completion_tokens", completion.to_string());
    if usage.get("total_tokens").is_some() {
        usage.set("total_tokens", (prompt + completion).to_string());
    }
    Some(usage.to_json())
}
