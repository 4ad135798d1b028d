//! `/v1/completions`.

use super::{
    choice::{Choice, Ending, Piece},
    errors::Refusal,
    json::{self, put},
    openai::{self, Envelope, Fields},
    request::{Request, prompts_of},
    serve,
    wire::{DONE, Wire},
};
use crate::{SimulatedWorker, config::Config};
use axum::{extract::State, response::Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::slice::from_ref;

const DEFAULT_MAX_TOKENS: u32 = 16;

#[derive(Deserialize)]
struct Body {
    prompt: Box<RawValue>,
    #[serde(default)]
    echo: bool,
    #[serde(default)]
    logprobs: Option<i64>,
    #[serde(flatten)]
    fields: Fields,
}

pub(crate) async fn handle(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    let parsed = parse(&body, worker.config());
    serve::serve(worker, parsed).await
}

fn parse(body: &[u8], config: &Config) -> Result<(Request, Completion), Refusal> {
    let body: Body = serde_json::from_slice(body).map_err(|error| Refusal::malformed(&error))?;
    let Body { fields, .. } = body;
    let (prompts, is_batch) = prompts_of(&body.prompt)?;
    let max_tokens = fields.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    if max_tokens == 0 {
        return Err(Refusal::Malformed("max_tokens must be positive".into()));
    }
    let wire = Completion {
        envelope: fields.envelope("text_completion", body.logprobs.is_some(), config),
        token_ids: fields.return_token_ids,
    };
    let request = Request {
        echo: body.echo,
        ..fields.request(prompts, is_batch, max_tokens)
    };
    Ok((request, wire))
}

struct Completion {
    envelope: Envelope,
    token_ids: bool,
}

impl Completion {
    /// One choice: the text from `piece` on, and what belongs to it.
    fn choice(&self, out: &mut String, choice: &Choice, piece: Piece, ending: Option<Ending<'_>>) {
        put!(out, "{{\"index\":{},\"text\":\"", choice.index);
        if piece.first == 0 {
            json::escape(out, &choice.echo);
        }
        out.push_str(&choice.written.json[piece.start..]);
        out.push_str("\",\"logprobs\":");
        if self.envelope.logprobs {
            logprobs(out, choice, piece.first);
        } else {
            out.push_str("null");
        }
        out.push(',');
        openai::finish(out, ending);
        if self.token_ids {
            out.push_str(",\"token_ids\":");
            json::list(out, piece.first..choice.written.tokens, |out, index| {
                put!(out, "{}", choice.written.plan.answer.token(index).id());
            });
        }
        out.push('}');
    }
}

fn logprobs(out: &mut String, choice: &Choice, first: u32) {
    out.push_str("{\"text_offset\":");
    openai::each_token(out, choice, first, |out, _, _| out.push_str("-1"));
    out.push_str(",\"token_logprobs\":");
    openai::each_token(out, choice, first, |out, _, logprob| put!(out, "{logprob}"));
    out.push_str(",\"tokens\":");
    openai::each_token(out, choice, first, |out, text, _| out.push_str(text));
    out.push_str(",\"top_logprobs\":");
    openai::each_token(out, choice, first, |out, text, logprob| {
        put!(out, "{{{text}:{logprob}}}");
    });
    out.push('}');
}

impl Wire for Completion {
    fn event(
        &mut self,
        out: &mut String,
        choice: &Choice,
        piece: Piece,
        ending: Option<Ending<'_>>,
    ) {
        out.push_str("data: ");
        self.envelope.open(out, choice);
        out.push_str(",\"choices\":[");
        self.choice(out, choice, piece, ending);
        out.push_str("],\"usage\":");
        if self.envelope.options.continuous() {
            self.envelope.usage(from_ref(choice)).put(out, true);
        } else {
            out.push_str("null");
        }
        out.push_str("}\n\n");
    }

    fn close(&self, out: &mut String, choices: &[Choice]) {
        self.envelope.usage_chunk(out, choices, false);
        out.push_str(DONE);
    }

    fn whole(&self, choices: &[Choice]) -> String {
        let whole = Piece { first: 0, start: 0 };
        self.envelope.whole(choices, |out, choice| {
            self.choice(out, choice, whole, choice.ending());
        })
    }
}
