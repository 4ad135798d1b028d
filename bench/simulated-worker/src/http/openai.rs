//! What `/v1/completions` and `/v1/chat/completions` have in common: usage, errors, the end of an answer.

use super::{
    choice::{Choice, Ending},
    errors::{self, Refusal},
    json::{self, put},
    request::OneOrMany,
};
use crate::{engine::Finish, ticket::Abort};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// The model that a request means when it names none.
pub(super) const DEFAULT_MODEL: &str = "default";

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: Option<bool>,
    #[serde(default)]
    pub(super) continuous_usage_stats: Option<bool>,
}

impl StreamOptions {
    pub(super) fn include_usage(self) -> bool {
        self.include_usage == Some(true)
    }

    pub(super) fn continuous(self) -> bool {
        self.continuous_usage_stats == Some(true)
    }
}

/// The request id of the body, which an OpenAI client never sends but a router does.
pub(super) type Rid = Option<OneOrMany<String>>;

/// What every object of one answer repeats: id, object, created and model. The model is the one that the request
/// named, whatever the worker serves.
#[derive(Clone)]
pub(super) struct Envelope {
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) options: StreamOptions,
    pub(super) samples: usize,
    pub(super) logprobs: bool,
}

impl Envelope {
    pub(super) fn new(object: &'static str) -> Self {
        Self {
            object,
            created: unix_time(),
            model: String::new(),
            options: StreamOptions::default(),
            samples: 1,
            logprobs: false,
        }
    }

    /// Opens an object up to and without its choices.
    pub(super) fn open(&self, out: &mut String, choice: &Choice) {
        out.push_str("{\"id\":");
        json::quote(out, &choice.rid);
        put!(
            out,
            ",\"object\":\"{}\",\"created\":{},\"model\":",
            self.object,
            self.created
        );
        json::quote(out, &self.model);
    }

    /// The last chunk of a stream where usage was asked for. `nulls`: whether it names the details that there are none
    /// of, which chat does and completions don't.
    pub(super) fn usage_chunk(&self, out: &mut String, choices: &[Choice], nulls: bool) {
        let Some(first) = choices.first().filter(|_| self.options.include_usage()) else {
            return;
        };
        out.push_str("data: ");
        self.open(out, first);
        out.push_str(",\"choices\":[],\"usage\":");
        let (prompt, completion) = self.totals(choices);
        if nulls {
            usage(out, prompt, completion);
        } else {
            put!(
                out,
                "{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\"completion_tokens\":{completion},\
                 \"reasoning_tokens\":0}}",
                prompt + u64::from(completion)
            );
        }
        out.push_str("}\n\n");
    }

    /// The usage of all choices: a prompt that was sampled several times counts once.
    pub(super) fn total_usage(&self, out: &mut String, choices: &[Choice]) {
        let (prompt, completion) = self.totals(choices);
        usage(out, prompt, completion);
    }

    fn totals(&self, choices: &[Choice]) -> (u64, u32) {
        let firsts = choices.iter().step_by(self.samples.max(1));
        let prompt = firsts.map(|choice| choice.prompt_tokens).sum();
        let completion = choices.iter().map(|choice| choice.written.tokens).sum();
        (prompt, completion)
    }
}

pub(super) fn usage(out: &mut String, prompt: u64, completion: u32) {
    put!(
        out,
        "{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\"completion_tokens\":{completion},\
         \"prompt_tokens_details\":null,\"reasoning_tokens\":0,\"completion_tokens_details\":null}}",
        prompt + u64::from(completion)
    );
}

/// `"finish_reason":..,"matched_stop":..`
pub(super) fn finish(out: &mut String, ending: Option<Ending<'_>>) {
    match ending {
        None => out.push_str("\"finish_reason\":null,\"matched_stop\":null"),
        Some(Ending::Quiet(_)) => out.push_str("\"finish_reason\":\"abort\",\"matched_stop\":null"),
        Some(Ending::Finished(finish)) => {
            put!(
                out,
                "\"finish_reason\":\"{}\",\"matched_stop\":",
                finish.kind()
            );
            match finish {
                Finish::Length(_) => out.push_str("null"),
                Finish::EndOfText(token) => put!(out, "{token}"),
                Finish::StopText(text) => json::quote(out, text),
            }
        }
    }
}

/// An error inside a stream.
pub(super) fn streamed_error(out: &mut String, abort: &Abort) {
    let status = abort
        .status
        .and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let error = errors::flat_value(status, &errors::status_name(status), &abort.message);
    put!(out, "data: {{\"error\": {error}}}\n\n");
}

pub(super) fn refuse(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Malformed(message) => errors::malformed(message),
        Refusal::Invalid(message) => {
            errors::flat(StatusCode::BAD_REQUEST, "BadRequestError", message)
        }
    }
}

/// The token texts of a range of an answer, each as a JSON string with its log probability.
pub(super) fn each_token(
    out: &mut String,
    choice: &Choice,
    first: u32,
    mut item: impl FnMut(&mut String, &str, f64),
) {
    let mut text = String::new();
    json::list(out, first..choice.written.tokens, |out, index| {
        let token = choice.written.plan.answer.token(index);
        text.clear();
        text.push('"');
        token.push_json(&mut text);
        text.push('"');
        item(out, &text, token.logprob());
    });
}

pub(super) fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
