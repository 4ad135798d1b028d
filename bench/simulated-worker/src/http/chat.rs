//! `/v1/chat/completions`.
//!
//! Tools are accepted and never called: the simulated model only ever talks.

use super::{
    choice::{Choice, Ending, Piece},
    errors::Refusal,
    json::put,
    openai::{self, Envelope, Fields},
    request::{Prompt, Request},
    serve,
    wire::{DONE, Wire},
};
use crate::{SimulatedWorker, answer, config::Config};
use axum::{extract::State, response::Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::slice::from_ref;

#[derive(Deserialize)]
struct Body {
    messages: Vec<Message>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    logprobs: bool,
    #[serde(default)]
    continue_final_message: bool,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
}

pub(crate) async fn handle(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    let parsed = parse(&body, worker.config());
    serve::serve(worker, parsed).await
}

fn parse(body: &[u8], config: &Config) -> Result<(Request, Chat), Refusal> {
    let body: Body = serde_json::from_slice(body).map_err(|error| Refusal::malformed(&error))?;
    let fields = body.fields;
    if body.messages.is_empty() {
        return Err(Refusal::Invalid("Messages cannot be empty.".into()));
    }
    if fields.stream && fields.return_token_ids {
        let message = "return_token_ids is not supported with stream for chat completions.";
        return Err(Refusal::Invalid(message.into()));
    }
    let object = if fields.stream {
        "chat.completion.chunk"
    } else {
        "chat.completion"
    };
    let wire = Chat {
        envelope: fields.envelope(object, body.logprobs, config),
        greeted: Vec::new(),
    };
    let prompt = Prompt::text(rendered(&body.messages, body.continue_final_message));
    // Without a limit a model may talk until its context is full.
    let rest = config.context_length.saturating_sub(prompt.tokens);
    let limit = body.max_completion_tokens.or(fields.max_tokens);
    let limit = limit.unwrap_or_else(|| u32::try_from(rest).unwrap_or(u32::MAX));
    Ok((fields.request(vec![prompt], false, limit), wire))
}

/// The prompt that a conversation becomes; [`answer::chat_prompt`] is the same for clients.
fn rendered(messages: &[Message], continue_final: bool) -> String {
    let texts: Vec<String> = messages
        .iter()
        .map(|message| text_of(&message.content))
        .collect();
    let turns = messages.iter().zip(&texts);
    match turns.clone().next_back() {
        Some((last, said)) if continue_final && last.role == "assistant" => {
            let before = turns.take(messages.len() - 1);
            let mut prompt = answer::chat_prompt(before.map(|(m, text)| (&*m.role, &**text)));
            prompt.push_str(said);
            prompt
        }
        _ => answer::chat_prompt(turns.map(|(m, text)| (&*m.role, &**text))),
    }
}

/// Content is a text, or parts of which some are texts; what else a part is goes in as it stands.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .map(|part| match part.get("text").and_then(Value::as_str) {
                Some(text) => text.to_owned(),
                None => part.to_string(),
            })
            .collect(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

struct Chat {
    envelope: Envelope,
    /// Choices whose role chunk is out.
    greeted: Vec<bool>,
}

impl Chat {
    /// One chunk; `delta` is what its delta holds besides the reasoning.
    fn chunk(
        &self,
        out: &mut String,
        choice: &Choice,
        delta: impl FnOnce(&mut String),
        rest: impl FnOnce(&mut String),
    ) {
        out.push_str("data: ");
        self.envelope.open(out, choice);
        put!(
            out,
            ",\"choices\":[{{\"index\":{},\"delta\":{{\"reasoning_content\":null",
            choice.index
        );
        delta(out);
        out.push('}');
        rest(out);
        out.push_str("}\n\n");
    }

    fn greet(&mut self, out: &mut String, choice: &Choice) {
        if self.greeted.len() <= choice.index {
            self.greeted.resize(choice.index + 1, false);
        }
        if std::mem::replace(&mut self.greeted[choice.index], true) {
            return;
        }
        self.chunk(
            out,
            choice,
            |out| out.push_str(",\"role\":\"assistant\",\"content\":\"\""),
            |out| {
                out.push_str(",\"logprobs\":null,");
                openai::finish(out, None);
                out.push_str("}]");
            },
        );
    }

    fn logprobs(&self, out: &mut String, choice: &Choice, first: u32) {
        if !self.envelope.logprobs {
            out.push_str("null");
            return;
        }
        out.push_str("{\"content\":");
        openai::each_token(out, choice, first, |out, text, logprob| {
            put!(
                out,
                "{{\"token\":{text},\"bytes\":null,\"logprob\":{logprob},\"top_logprobs\":[]}}"
            );
        });
        out.push('}');
    }
}

impl Wire for Chat {
    fn event(
        &mut self,
        out: &mut String,
        choice: &Choice,
        piece: Piece,
        _ending: Option<Ending<'_>>,
    ) {
        self.greet(out, choice);
        let text = &choice.written.json[piece.start..];
        if text.is_empty() {
            return;
        }
        self.chunk(
            out,
            choice,
            |out| {
                out.push_str(",\"content\":\"");
                out.push_str(text);
                out.push('"');
            },
            |out| {
                out.push_str(",\"logprobs\":");
                self.logprobs(out, choice, piece.first);
                out.push(',');
                openai::finish(out, None);
                out.push_str("}]");
                if self.envelope.options.continuous() {
                    out.push_str(",\"usage\":");
                    self.envelope.usage(from_ref(choice)).put(out, true);
                }
            },
        );
    }

    fn close(&self, out: &mut String, choices: &[Choice]) {
        let finished = choices.iter().filter(|choice| choice.failure().is_none());
        for (choice, ending) in finished.filter_map(|choice| Some((choice, choice.ending()?))) {
            self.chunk(
                out,
                choice,
                |_| {},
                |out| {
                    out.push_str(",\"logprobs\":null,");
                    openai::finish(out, Some(ending));
                    out.push_str("}]");
                },
            );
        }
        self.envelope.usage_chunk(out, choices, true);
        out.push_str(DONE);
    }

    fn whole(&self, choices: &[Choice]) -> String {
        self.envelope.whole(choices, |out, choice| {
            put!(
                out,
                "{{\"index\":{},\"message\":{{\"role\":\"assistant\",\"content\":\"{}\",\
                 \"reasoning_content\":null}},\"logprobs\":",
                choice.index,
                choice.written.json
            );
            self.logprobs(out, choice, 0);
            out.push(',');
            openai::finish(out, choice.ending());
            out.push('}');
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(json: &str) -> Vec<Message> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn text_parts_are_one_text() {
        let parts = messages(
            r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#,
        );
        assert_eq!(
            rendered(&parts, false),
            answer::chat_prompt([("user", "ab")])
        );
    }

    #[test]
    fn a_final_assistant_message_is_continued_where_asked() {
        let conversation =
            messages(r#"[{"role":"user","content":"q"},{"role":"assistant","content":" so"}]"#);
        let whole = answer::chat_prompt([("user", "q")]) + " so";
        assert_eq!(rendered(&conversation, true), whole);
        assert_ne!(rendered(&conversation, false), whole);
    }
}
