//! `/v1/completions`.

use super::{
    choice::{Choice, Ending, Piece},
    errors::Refusal,
    json::{self, put},
    openai::{self, DEFAULT_MODEL, Envelope, Rid, StreamOptions},
    request::{OneOrMany, PdFields, Request, prompts_of, stops},
    serve,
    wire::{DONE, Wire},
};
use crate::{SimulatedWorker, engine::Sampling, ticket::Abort};
use axum::{extract::State, response::Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

const DEFAULT_MAX_TOKENS: u32 = 16;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    model: Option<String>,
    prompt: Box<RawValue>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    min_tokens: u32,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    stop: Option<OneOrMany<String>>,
    #[serde(default)]
    ignore_eos: bool,
    #[serde(default)]
    echo: bool,
    #[serde(default)]
    logprobs: Option<i64>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    return_token_ids: bool,
    #[serde(default)]
    rid: Rid,
    #[serde(flatten)]
    pd: PdFields,
}

pub(crate) async fn handle(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    serve::serve(worker, parse(&body)).await
}

fn parse(body: &[u8]) -> Result<(Request, Completion), (Refusal, Completion)> {
    let mut wire = Completion {
        envelope: Envelope::new("text_completion"),
        token_ids: false,
    };
    let body: Body = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return Err((Refusal::malformed(&error), wire)),
    };
    wire.token_ids = body.return_token_ids;
    wire.envelope.options = body.stream_options.unwrap_or_default();
    wire.envelope.samples = body.n.unwrap_or(1) as usize;
    wire.envelope.logprobs = body.logprobs.is_some();
    wire.envelope.model = body.model.clone().unwrap_or_else(|| DEFAULT_MODEL.into());
    match request_of(body) {
        Ok(request) => Ok((request, wire)),
        Err(refusal) => Err((refusal, wire)),
    }
}

fn request_of(body: Body) -> Result<Request, Refusal> {
    let (prompts, is_batch) = prompts_of(&body.prompt)?;
    let max_tokens = body.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    if max_tokens == 0 {
        return Err(Refusal::Malformed("max_tokens must be positive".into()));
    }
    Ok(Request {
        prompts,
        is_batch,
        samples: body.n.unwrap_or(1),
        sampling: vec![Sampling {
            max_tokens,
            min_tokens: body.min_tokens,
            ignore_eos: body.ignore_eos,
            stop: stops(body.stop),
        }],
        stream: body.stream,
        stream_interval: None,
        rid: body.rid,
        echo: body.echo,
        logprob_start: None,
        pd: body.pd,
    })
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
    const HEAD_FIRST: bool = false;
    const FAILS_WHOLE: bool = true;

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
            openai::usage(out, choice.prompt_tokens, choice.written.tokens);
        } else {
            out.push_str("null");
        }
        out.push_str("}\n\n");
    }

    fn failure(&self, out: &mut String, _choice: &Choice, abort: &Abort) {
        openai::streamed_error(out, abort);
    }

    fn close(&self, out: &mut String, choices: &[Choice]) {
        self.envelope.usage_chunk(out, choices, false);
        out.push_str(DONE);
    }

    fn whole(&self, choices: &[Choice]) -> String {
        let mut out = String::new();
        let Some(first) = choices.first() else {
            return out;
        };
        self.envelope.open(&mut out, first);
        out.push_str(",\"choices\":");
        let whole = Piece { first: 0, start: 0 };
        json::list(&mut out, choices, |out, choice| {
            self.choice(out, choice, whole, choice.ending());
        });
        out.push_str(",\"usage\":");
        self.envelope.total_usage(&mut out, choices);
        out.push_str(",\"metadata\":{\"weight_version\":\"default\"}}");
        out
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        openai::refuse(refusal)
    }

    fn refuse_in_stream(&self, out: &mut String, refusal: &Refusal) {
        openai::streamed_error(out, &Abort::new(400, refusal.message()));
    }
}
