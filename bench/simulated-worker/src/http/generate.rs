//! `/generate`: SGLang's own endpoint. Text and token ids of a stream are cumulative.

use super::{
    choice::{Choice, Ending, Piece},
    errors::{self, Refusal},
    json::{self, put},
    request::{OneOrMany, PdFields, Prompt, Request, prompts_of, stops},
    serve,
    wire::{DONE, Wire},
};
use crate::{SimulatedWorker, answer, engine::Finish, engine::Sampling, ticket::Abort};
use axum::{extract::State, response::Response};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

const DEFAULT_MAX_NEW_TOKENS: u32 = 128;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    text: Option<Box<RawValue>>,
    #[serde(default)]
    input_ids: Option<Box<RawValue>>,
    #[serde(default)]
    input_embeds: Option<Box<RawValue>>,
    #[serde(default)]
    sampling_params: Option<OneOrMany<Params>>,
    #[serde(default)]
    rid: Option<OneOrMany<String>>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    return_logprob: Option<OneOrMany<bool>>,
    #[serde(default)]
    logprob_start_len: Option<OneOrMany<i64>>,
    #[serde(default)]
    top_logprobs_num: Option<OneOrMany<usize>>,
    #[serde(flatten)]
    pd: PdFields,
}

#[derive(Default, Deserialize)]
struct Params {
    #[serde(default)]
    max_new_tokens: Option<u32>,
    #[serde(default)]
    min_new_tokens: u32,
    #[serde(default)]
    ignore_eos: bool,
    #[serde(default)]
    stop: Option<OneOrMany<String>>,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    stream_interval: Option<u32>,
}

pub(crate) async fn handle(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    serve::serve(worker, parse(&body)).await
}

fn parse(body: &[u8]) -> Result<(Request, Generate), Refusal> {
    let body: Body = serde_json::from_slice(body).map_err(|error| Refusal::malformed(&error))?;
    let mut wire = Generate::of(&body);
    let request = request_of(body)?;
    wire.is_list = request.is_batch || request.samples > 1;
    Ok((request, wire))
}

fn request_of(body: Body) -> Result<Request, Refusal> {
    let (prompts, is_batch) = match (&body.text, &body.input_ids, &body.input_embeds) {
        (Some(text), ..) => prompts_of(text)?,
        (None, Some(ids), _) => prompts_of(ids)?,
        (None, None, Some(embeds)) => (vec![Prompt::opaque(embeds)], false),
        (None, None, None) => {
            let message = "Either text, input_ids or input_embeds should be provided.";
            return Err(Refusal::Invalid(message.into()));
        }
    };
    let logprobs = wants_logprobs(&body);
    let start = body.logprob_start_len.and_then(first);
    let params = body
        .sampling_params
        .map_or_else(Vec::new, OneOrMany::into_vec);
    let defaults = Params::default();
    let first_params = params.first().unwrap_or(&defaults);
    Ok(Request {
        prompts,
        is_batch,
        samples: first_params.n.unwrap_or(1),
        stream_interval: first_params.stream_interval,
        sampling: if params.is_empty() {
            vec![sampling_of(Params::default())]
        } else {
            params.into_iter().map(sampling_of).collect()
        },
        stream: body.stream,
        rid: body.rid,
        echo: false,
        // Without a start SGLang reports the output only.
        logprob_start: start
            .filter(|_| logprobs)
            .and_then(|start| usize::try_from(start).ok()),
        pd: body.pd,
    })
}

fn sampling_of(params: Params) -> Sampling {
    Sampling {
        max_tokens: params.max_new_tokens.unwrap_or(DEFAULT_MAX_NEW_TOKENS),
        min_tokens: params.min_new_tokens,
        ignore_eos: params.ignore_eos,
        stop: stops(params.stop),
    }
}

fn first<T>(values: OneOrMany<T>) -> Option<T> {
    values.into_vec().into_iter().next()
}

fn wants_logprobs(body: &Body) -> bool {
    match &body.return_logprob {
        Some(OneOrMany::One(wanted)) => *wanted,
        Some(OneOrMany::Many(wanted)) => wanted.contains(&true),
        None => false,
    }
}

/// How one `/generate` request is answered.
#[derive(Default)]
struct Generate {
    logprobs: bool,
    top_logprobs: usize,
    /// The answer is a list: of a batch, or of several samples.
    is_list: bool,
    /// Token ids so far, one text a choice.
    ids: Vec<String>,
}

impl Generate {
    fn of(body: &Body) -> Self {
        Self {
            logprobs: wants_logprobs(body),
            top_logprobs: match &body.top_logprobs_num {
                Some(OneOrMany::One(most)) => *most,
                Some(OneOrMany::Many(most)) => most.iter().copied().max().unwrap_or(0),
                None => 0,
            },
            ..Self::default()
        }
    }

    fn meta_info(&self, out: &mut String, choice: &Choice, ending: Option<Ending<'_>>) {
        out.push_str("\"meta_info\":{\"id\":");
        json::quote(out, &choice.rid);
        out.push_str(",\"finish_reason\":");
        finish_reason(out, ending);
        let tokens = choice.written.tokens;
        put!(
            out,
            ",\"prompt_tokens\":{},\"weight_version\":\"default\",\"num_retractions\":{}",
            choice.prompt_tokens,
            choice.hold.ticket.retractions()
        );
        if self.logprobs {
            self.logprobs(out, choice);
        }
        put!(
            out,
            ",\"reasoning_tokens\":0,\"completion_tokens\":{tokens},\"cached_tokens\":{},\
             \"cached_tokens_details\":null,\"dp_rank\":null",
            choice.hold.ticket.cached_tokens()
        );
        if ending.is_some() {
            latencies(out, choice);
        }
        out.push('}');
    }

    fn logprobs(&self, out: &mut String, choice: &Choice) {
        let answer = choice.written.plan.answer;
        let output = || (0..choice.written.tokens).map(|index| answer.token(index).id());
        out.push_str(",\"input_token_logprobs\":");
        json::list(
            out,
            choice.logged_input.iter().enumerate(),
            |out, (at, &id)| {
                // Nothing comes before the first token of a prompt that could have predicted it.
                put_logprob(out, id, at == 0);
            },
        );
        out.push_str(",\"output_token_logprobs\":");
        json::list(out, output(), |out, id| put_logprob(out, id, false));
        put!(
            out,
            ",\"output_token_logprobs_length\":{}",
            choice.written.tokens
        );
        if self.top_logprobs > 0 {
            let top = |out: &mut String, id: u32| {
                json::list(out, 0..self.top_logprobs as u32, |out, rank| {
                    put_logprob(out, id.wrapping_add(rank), false);
                });
            };
            out.push_str(",\"input_top_logprobs\":");
            json::list(out, choice.logged_input.iter().copied(), top);
            out.push_str(",\"output_top_logprobs\":");
            json::list(out, output(), top);
        }
    }

    fn object(&mut self, out: &mut String, choice: &Choice, ending: Option<Ending<'_>>) {
        out.push_str("{\"text\":\"");
        out.push_str(&choice.written.json);
        out.push_str("\",\"output_ids\":[");
        out.push_str(&self.ids[choice.index]);
        out.push_str("],");
        self.meta_info(out, choice, ending);
    }

    fn note_ids(&mut self, choice: &Choice, first: u32) {
        if self.ids.len() <= choice.index {
            self.ids.resize_with(choice.index + 1, String::new);
        }
        let ids = &mut self.ids[choice.index];
        for index in first..choice.written.tokens {
            if index > 0 {
                ids.push(',');
            }
            put!(ids, "{}", choice.written.plan.answer.token(index).id());
        }
    }
}

fn put_logprob(out: &mut String, id: u32, unknown: bool) {
    if unknown {
        put!(out, "[null,{id},null]");
    } else {
        put!(out, "[{},{id},null]", answer::logprob(id));
    }
}

fn latencies(out: &mut String, choice: &Choice) {
    let now = Instant::now();
    let first = choice.first_token.unwrap_or(now);
    put!(
        out,
        ",\"e2e_latency\":{:.6},\"first_token_latency\":{:.6}",
        (now - choice.admitted).as_secs_f64(),
        (first - choice.admitted).as_secs_f64(),
    );
    let decoding = (now - first).as_secs_f64();
    if decoding > 0.0 && choice.written.tokens > 1 {
        let rate = f64::from(choice.written.tokens - 1) / decoding;
        put!(out, ",\"decode_throughput\":{rate:.3}");
    }
}

fn finish_reason(out: &mut String, ending: Option<Ending<'_>>) {
    match ending {
        None => out.push_str("null"),
        Some(Ending::Finished(Finish::Length(length))) => {
            put!(out, "{{\"type\":\"length\",\"length\":{length}}}");
        }
        Some(Ending::Finished(Finish::EndOfText(token))) => {
            put!(out, "{{\"type\":\"stop\",\"matched\":{token}}}");
        }
        Some(Ending::Finished(Finish::StopText(text))) => {
            out.push_str("{\"type\":\"stop\",\"matched\":");
            json::quote(out, text);
            out.push('}');
        }
        Some(Ending::Quiet(abort)) => put_abort(out, abort),
    }
}

fn put_abort(out: &mut String, abort: &Abort) {
    out.push_str("{\"type\":\"abort\",\"message\":");
    json::quote(out, &abort.message);
    match abort.status {
        Some(status) => put!(out, ",\"status_code\":{status},\"err_type\":null}}"),
        None => out.push_str(",\"status_code\":null,\"err_type\":null}"),
    }
}

impl Wire for Generate {
    const HEAD_FIRST: bool = true;
    const FAILS_WHOLE: bool = false;

    fn event(
        &mut self,
        out: &mut String,
        choice: &Choice,
        piece: Piece,
        ending: Option<Ending<'_>>,
    ) {
        self.note_ids(choice, piece.first);
        out.push_str("data: ");
        self.object(out, choice, ending);
        if self.is_list {
            put!(out, ",\"index\":{}", choice.index);
        }
        out.push_str("}\n\n");
    }

    fn failure(&self, out: &mut String, choice: &Choice, abort: &Abort) {
        out.push_str("data: {\"text\":\"");
        out.push_str(&choice.written.json);
        out.push_str("\",\"output_ids\":[");
        out.push_str(self.ids.get(choice.index).map_or("", String::as_str));
        out.push_str("],\"meta_info\":{\"id\":");
        json::quote(out, &choice.rid);
        out.push_str(",\"finish_reason\":");
        put_abort(out, abort);
        put!(
            out,
            ",\"prompt_tokens\":{},\"completion_tokens\":{},\"cached_tokens\":{}}}",
            choice.prompt_tokens,
            choice.written.tokens,
            choice.hold.ticket.cached_tokens()
        );
        if self.is_list {
            put!(out, ",\"index\":{}", choice.index);
        }
        out.push_str("}\n\n");
    }

    fn close(&self, out: &mut String, _choices: &[Choice]) {
        out.push_str(DONE);
    }

    fn whole(&self, choices: &[Choice]) -> String {
        let mut parts = Self {
            logprobs: self.logprobs,
            top_logprobs: self.top_logprobs,
            ..Self::default()
        };
        let mut out = String::new();
        let mut object = |out: &mut String, choice: &Choice| {
            parts.note_ids(choice, 0);
            parts.object(out, choice, choice.ending());
            out.push('}');
        };
        match choices {
            [choice] if !self.is_list => object(&mut out, choice),
            choices => json::list(&mut out, choices, object),
        }
        out
    }

    fn refuse(refusal: &Refusal) -> Response {
        match refusal {
            Refusal::Malformed(message) => errors::malformed(message),
            Refusal::Invalid(message) => errors::nested(StatusCode::BAD_REQUEST, message),
        }
    }

    fn refuse_in_stream(out: &mut String, refusal: &Refusal) {
        out.push_str("data: {\"error\":{\"message\":");
        json::quote(out, refusal.message());
        out.push_str(",\"type\":\"invalid_request_error\",\"code\":400,\"retryable\":false}}\n\n");
    }
}
