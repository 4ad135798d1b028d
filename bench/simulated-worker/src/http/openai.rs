//! What `/v1/completions` and `/v1/chat/completions` have in common: most fields, usage, errors, the end of an answer.

use super::{
    choice::{Choice, Ending},
    errors::{self, Refusal},
    json::{self, put},
    request::{OneOrMany, PdFields, Prompt, Request, stops},
};
use crate::{
    config::Config,
    engine::{Finish, Sampling},
    ticket::Abort,
};
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

/// The fields that both endpoints read.
#[derive(Deserialize)]
pub(super) struct Fields {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    pub(super) max_tokens: Option<u32>,
    #[serde(default)]
    min_tokens: u32,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    stop: Option<OneOrMany<String>>,
    #[serde(default)]
    ignore_eos: bool,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub(super) return_token_ids: bool,
    /// An OpenAI client never sends one, but a router does.
    #[serde(default)]
    rid: Option<OneOrMany<String>>,
    #[serde(flatten)]
    pd: PdFields,
}

impl Fields {
    fn samples(&self) -> u32 {
        self.n.unwrap_or(1)
    }

    pub(super) fn envelope(
        &self,
        object: &'static str,
        logprobs: bool,
        config: &Config,
    ) -> Envelope {
        let model = self.model.as_deref().unwrap_or(DEFAULT_MODEL);
        Envelope {
            object,
            created: unix_time(),
            model: model.into(),
            options: self.stream_options.unwrap_or_default(),
            samples: self.samples() as usize,
            logprobs,
            reports_cached: config.prefix_cache,
        }
    }

    /// A request of these prompts for at most so many tokens each.
    pub(super) fn request(self, prompts: Vec<Prompt>, is_batch: bool, max_tokens: u32) -> Request {
        Request {
            prompts,
            is_batch,
            samples: self.samples(),
            sampling: vec![Sampling {
                max_tokens,
                min_tokens: self.min_tokens,
                ignore_eos: self.ignore_eos,
                stop: stops(self.stop),
            }],
            stream: self.stream,
            stream_interval: None,
            rid: self.rid,
            echo: false,
            logprob_start: None,
            pd: self.pd,
        }
    }
}

/// What every object of one answer repeats: id, object, created and model. The model is the one that the request
/// named, whatever the worker serves.
pub(super) struct Envelope {
    object: &'static str,
    created: u64,
    model: String,
    pub(super) options: StreamOptions,
    samples: usize,
    pub(super) logprobs: bool,
    /// Whether usage tells what a prefix cache saved (SGLang: `--enable-cache-report`).
    reports_cached: bool,
}

impl Envelope {
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

    /// The answer that is not streamed; `item` writes one of its choices.
    pub(super) fn whole(
        &self,
        choices: &[Choice],
        item: impl FnMut(&mut String, &Choice),
    ) -> String {
        let mut out = String::new();
        let Some(first) = choices.first() else {
            return out;
        };
        self.open(&mut out, first);
        out.push_str(",\"choices\":");
        json::list(&mut out, choices, item);
        out.push_str(",\"usage\":");
        self.usage(choices).put(&mut out, true);
        out.push_str(",\"metadata\":{\"weight_version\":\"default\"}}");
        out
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
        self.usage(choices).put(out, nulls);
        out.push_str("}\n\n");
    }

    /// The usage of some choices: a prompt that was sampled several times counts once.
    pub(super) fn usage(&self, choices: &[Choice]) -> Usage {
        let firsts = || choices.iter().step_by(self.samples.max(1));
        let cached = || firsts().map(|choice| choice.hold.ticket.cached_tokens());
        Usage {
            prompt: firsts().map(|choice| choice.prompt_tokens).sum(),
            completion: choices
                .iter()
                .map(|choice| u64::from(choice.written.tokens))
                .sum(),
            cached: self.reports_cached.then(|| cached().sum()),
        }
    }
}

/// Tokens that a request is charged for.
pub(super) struct Usage {
    prompt: u64,
    completion: u64,
    /// Of the prompt, where that is reported.
    cached: Option<u64>,
}

impl Usage {
    /// As JSON; with `nulls` it names the details that there are none of.
    pub(super) fn put(&self, out: &mut String, nulls: bool) {
        let Self {
            prompt,
            completion,
            cached,
        } = self;
        put!(
            out,
            "{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\"completion_tokens\":{completion}",
            prompt + completion
        );
        match cached {
            Some(cached) => put!(
                out,
                ",\"prompt_tokens_details\":{{\"cached_tokens\":{cached}}}"
            ),
            None if nulls => out.push_str(",\"prompt_tokens_details\":null"),
            None => {}
        }
        out.push_str(",\"reasoning_tokens\":0");
        if nulls {
            out.push_str(",\"completion_tokens_details\":null");
        }
        out.push('}');
    }
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
