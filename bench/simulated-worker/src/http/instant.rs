//! Chat without an engine: no queue, no batch, no rendezvous, every answer at once or at a pace of its own.
//!
//! It is what a router is measured with: the worker has to cost so little that what is left is the router's. The events
//! have the shape of a real worker's; their text is a [`Stamp`]. A prefill worker answers one token, as a real one.

use super::{errors::Refusal, openai::unix_time};
use crate::{
    SimulatedWorker,
    config::{Config, Pace, Role},
    stamp::{self, Stamp},
};
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::header;
use http_body::Frame;
use serde::Deserialize;
use std::{
    borrow::Cow,
    convert::Infallible,
    fmt::Write as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::{Interval, interval};

/// What a request without a limit gets: an instant answer has no natural end.
const DEFAULT_TOKENS: u32 = 16;

/// A token's event from behind its text on.
const AFTER_TEXT: &str =
    "\"},\"logprobs\":null,\"finish_reason\":null,\"matched_stop\":null}]}\n\n";

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    /// One of the peers writes the one limit as the other.
    #[serde(default, alias = "max_completion_tokens")]
    max_tokens: Option<u32>,
    #[serde(default)]
    stream: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
}

pub(super) async fn handle(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    let asked: Asked<'_> = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return super::errors::malformed(Refusal::malformed(&error).message()),
    };
    let name = asked
        .messages
        .last()
        .map_or(0, |last| stamp::name_of(&last.content));
    let config = worker.config();
    let tokens = match config.role {
        Role::Prefill => 1,
        Role::Decode | Role::Null => asked.max_tokens.unwrap_or(DEFAULT_TOKENS).max(1),
    };
    if asked.stream {
        let pace = match config.role {
            // A prompt that was computed is done with, however long its answer is held.
            Role::Prefill => Pace::default(),
            Role::Decode | Role::Null => config.instant.unwrap_or_default(),
        };
        let stream = Stream::new(name, tokens, pace, config);
        let head = [(header::CONTENT_TYPE, "text/event-stream")];
        (head, Body::new(stream)).into_response()
    } else {
        let head = [(header::CONTENT_TYPE, "application/json")];
        (head, whole(name, tokens, config)).into_response()
    }
}

fn whole(name: u64, tokens: u32, config: &Config) -> String {
    let mut out = opening(name, "chat.completion", config);
    out.push_str("\"message\":{\"role\":\"assistant\",\"reasoning_content\":null,\"content\":\"");
    Stamp::now(name, 0).push(&mut out);
    for _ in 1..tokens {
        out.push_str(" word");
    }
    let end =
        "\"},\"logprobs\":null,\"finish_reason\":\"length\",\"matched_stop\":null}],\"usage\":";
    out.push_str(end);
    write!(
        out,
        "{{\"prompt_tokens\":1,\"total_tokens\":{},\"completion_tokens\":{tokens}}}}}",
        tokens.saturating_add(1)
    )
    .expect("a String takes every text");
    out
}

/// An answer's JSON up to its one choice's first member but `index`.
fn opening(name: u64, object: &str, config: &Config) -> String {
    format!(
        "{{\"id\":\"{name:032x}\",\"object\":\"{object}\",\"created\":{},\"model\":\"{}\",\"choices\":[{{\"index\":0,",
        unix_time(),
        config.model
    )
}

/// The body of a streamed answer. Each event is written when it is asked for, so that its time is true.
struct Stream {
    name: u64,
    /// A chunk's JSON up to its delta.
    before_delta: Arc<str>,
    next: u32,
    tokens: u32,
    pace: Option<Interval>,
    silent_after: Option<u32>,
    ended: bool,
}

impl Stream {
    fn new(name: u64, tokens: u32, pace: Pace, config: &Config) -> Self {
        let opening = opening(name, "chat.completion.chunk", config);
        let paced = !pace.between_tokens.is_zero();
        Self {
            name,
            before_delta: format!("data: {opening}\"delta\":{{").into(),
            next: 0,
            tokens,
            pace: paced.then(|| interval(pace.between_tokens)),
            silent_after: pace.silent_after,
            ended: false,
        }
    }

    fn token(&mut self) -> Bytes {
        let mut out = String::with_capacity(2 * (self.before_delta.len() + 160));
        if self.next == 0 {
            out.push_str(&self.before_delta);
            out.push_str("\"role\":\"assistant\",\"reasoning_content\":null,\"content\":\"");
            out.push_str(AFTER_TEXT);
        }
        out.push_str(&self.before_delta);
        out.push_str("\"reasoning_content\":null,\"content\":\"");
        Stamp::now(self.name, self.next).push(&mut out);
        out.push_str(AFTER_TEXT);
        self.next += 1;
        out.into()
    }

    fn end(&self) -> Bytes {
        format!(
            "{}\"reasoning_content\":null}},\"logprobs\":null,\"finish_reason\":\"length\",\"matched_stop\":null}}]}}\n\n\
             data: [DONE]\n\n",
            self.before_delta
        )
        .into()
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.silent_after.is_some_and(|tokens| self.next >= tokens) {
            // Whoever reads this leaves; nothing else ends it.
            return Poll::Pending;
        }
        if self.next < self.tokens {
            if let Some(pace) = &mut self.pace {
                ready!(pace.poll_tick(cx));
            }
            let token = self.token();
            return Poll::Ready(Some(Ok(Frame::data(token))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(self.end()))))
    }
}
