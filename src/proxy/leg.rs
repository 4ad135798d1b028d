//! One leg of a request: the half that runs on one worker, from sending it to the point where its answer can be
//! trusted.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use policies::worker::Role;
use smallvec::SmallVec;

use super::failure::{Cause, Failure, WorkerAnswer};
use super::headers;
use super::queue::Turn;
use super::sse::{self, EventScanner, StreamError};
use crate::telemetry::trace::LegTrace;
use crate::upstream::{Upstream, UpstreamBody, UpstreamError, UpstreamRequest};
use crate::workers::{Ticket, Worker};

/// How much of a worker's error answer is read.
const LONGEST_ERROR: usize = 64 * 1024;

/// A whole answer up to this size is held back until it is complete, so that one which is cut short can be retried;
/// a longer one is passed on from there. A megabyte is some 200,000 generated tokens.
pub const HELD_ANSWER: usize = 1024 * 1024;

/// A leg ready to be sent.
pub struct Leg {
    pub role: Role,
    pub ticket: Ticket,
    /// Of a prefill leg that waited for room, below the ticket: dropped after it.
    pub turn: Option<Turn>,
    pub request: UpstreamRequest,
    pub trace: LegTrace,
}

/// What a prefill leg leaves: its body, where somebody wanted it.
pub type PrefillOutcome = Result<Bytes, Failure>;

/// A prefill leg under way. Its ticket is released when it ends, not when the client's stream does.
pub type PrefillLeg = Pin<Box<dyn Future<Output = PrefillOutcome> + Send>>;

/// A serving leg whose answer has begun and may be shown to the client.
#[derive(Debug)]
pub struct Opened {
    pub head: Parts,
    pub ticket: Ticket,
    pub answer: Answer,
    pub trace: LegTrace,
}

#[derive(Debug)]
pub enum Answer {
    /// All of it.
    Whole(Bytes),
    /// Its beginning, and where the rest comes from.
    Long { start: Bytes, rest: UpstreamBody },
    /// A stream of events: the pieces so far, with at least one whole event, and where the rest comes from.
    Stream {
        start: SmallVec<[Bytes; 1]>,
        rest: UpstreamBody,
    },
}

impl Leg {
    pub fn worker(&self) -> &Arc<Worker> {
        self.ticket.worker()
    }

    /// Runs a prefill leg to its end and keeps up to `keep` bytes of its body.
    pub async fn run_prefill(mut self, upstream: Upstream, keep: usize) -> PrefillOutcome {
        let mut trace = std::mem::take(&mut self.trace);
        let mut turn = self.turn.take();
        let outcome = self.run_prefill_untraced(upstream, keep).await;
        match &outcome {
            Ok(_) => {
                trace.completed();
                if let Some(turn) = &mut turn {
                    turn.prefilled();
                }
            }
            Err(failure) => trace.failed(failure.kind(), Some(failure.status())),
        }
        outcome
    }

    async fn run_prefill_untraced(self, upstream: Upstream, keep: usize) -> PrefillOutcome {
        let fail = failure(self.role, self.worker());
        let response = upstream
            .send(self.request)
            .await
            .map_err(|error| fail(Cause::Transport(error)))?;
        let (head, mut body) = response.into_parts();
        if !head.status.is_success() {
            return Err(fail(Cause::Status(read_error(&head, body).await)));
        }
        let streamed = headers::is_event_stream(&head.headers);
        let mut kept = Vec::new();
        let mut scanner = EventScanner::default();
        let (mut error, mut any) = (None, false);
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(|error| fail(Cause::Transport(error)))?;
            if streamed {
                scanner.feed(&piece, |event| {
                    any |= sse::is_event(event);
                    error = error.take().or_else(|| sse::error_in(event));
                });
            }
            if let Some(error) = error {
                return Err(fail(Cause::InStream(error)));
            }
            if kept.len() < keep {
                kept.extend_from_slice(&piece);
            }
        }
        if streamed && !any {
            // It said nothing of the prompt, so decode would wait for KV that doesn't come.
            return Err(fail(no_event()));
        }
        Ok(kept.into())
    }

    /// Runs the leg whose answer the client gets until the answer can be trusted: the first event of a stream, or a
    /// whole answer that is complete.
    pub async fn open(mut self, upstream: &Upstream, limits: Limits) -> Result<Opened, Failure> {
        let fail = failure(self.role, self.worker());
        let limit = limits.first;
        let mut trace = std::mem::take(&mut self.trace);
        let opening = self.open_unbounded(upstream, limits.held, &fail);
        let opened = match tokio::time::timeout(limit, opening).await {
            Ok(result) => result,
            Err(_) => Err(fail(Cause::Silent { limit })),
        };
        match opened {
            Ok(opened) => Ok(Opened { trace, ..opened }),
            Err(failure) => {
                trace.failed(failure.kind(), Some(failure.status()));
                Err(failure)
            }
        }
    }

    async fn open_unbounded(
        self,
        upstream: &Upstream,
        held: usize,
        fail: &impl Fn(Cause) -> Failure,
    ) -> Result<Opened, Failure> {
        let response = upstream
            .send(self.request)
            .await
            .map_err(|error| fail(Cause::Transport(error)))?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Err(fail(Cause::Status(read_error(&head, body).await)));
        }
        let answer = if headers::is_event_stream(&head.headers) {
            first_event(body).await
        } else {
            match whole_or_long(body, held).await {
                Ok(Answer::Whole(answer)) if !is_whole(&head, &answer) => Err(Cause::Transport(
                    UpstreamError::Body("the answer is cut short".to_owned()),
                )),
                read => read.map_err(Cause::Transport),
            }
        };
        Ok(Opened {
            head,
            ticket: self.ticket,
            trace: self.trace,
            answer: answer.map_err(fail)?,
        })
    }
}

/// How long a leg may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the first event of a stream, or all of a whole answer.
    pub first: Duration,
    /// Bytes of a whole answer that are held back: [`HELD_ANSWER`], or more where the answer is to be changed.
    pub held: usize,
}

fn failure(role: Role, worker: &Arc<Worker>) -> impl Fn(Cause) -> Failure + use<> {
    let worker = Arc::clone(worker);
    move |cause| Failure {
        partner: None,
        role,
        worker: Arc::clone(&worker),
        cause,
    }
}

async fn read_error(head: &Parts, mut body: UpstreamBody) -> WorkerAnswer {
    // An error answer that breaks off is still that error.
    let bytes = body.collect_up_to(LONGEST_ERROR).await.unwrap_or_default();
    WorkerAnswer {
        status: head.status,
        content_type: head.headers.get(http::header::CONTENT_TYPE).cloned(),
        retry_after: head.headers.get(http::header::RETRY_AFTER).cloned(),
        body: bytes,
    }
}

/// What the first event of a stream turned out to be.
enum First {
    Event,
    Error(StreamError),
    /// Something between blank lines that is no event.
    Garbage,
}

impl First {
    fn of(event: &[u8]) -> Self {
        match sse::error_in(event) {
            Some(error) => Self::Error(error),
            None if sse::is_event(event) => Self::Event,
            None => Self::Garbage,
        }
    }
}

fn no_event() -> Cause {
    Cause::Transport(UpstreamError::Body(
        "the stream ended before its first event".to_owned(),
    ))
}

/// Reads until one event is whole and looks whether it is an error. A stream that ends before is none, and may be had
/// from another pair; one whose first event is longer than any worker sends is passed on as it is.
async fn first_event(mut body: UpstreamBody) -> Result<Answer, Cause> {
    let mut scanner = EventScanner::default();
    let mut start = SmallVec::new();
    let mut first = None;
    let mut held = 0;
    while first.is_none() && held < sse::LONGEST_EVENT {
        let Some(piece) = body.data().await else {
            return Err(no_event());
        };
        let piece = piece.map_err(Cause::Transport)?;
        scanner.feed(&piece, |event| {
            first = first.take().or_else(|| Some(First::of(event)));
        });
        held += piece.len();
        start.push(piece);
    }
    match first {
        Some(First::Error(error)) => Err(Cause::InStream(error)),
        Some(First::Garbage) => Err(Cause::Transport(UpstreamError::Body(
            "the stream does not begin with an event".to_owned(),
        ))),
        Some(First::Event) | None => Ok(Answer::Stream { start, rest: body }),
    }
}

/// Whether a body can be all of an answer. A worker that names its length can't cut it unnoticed, and SGLang names it;
/// where none is named, JSON is looked at to its end.
fn is_whole(head: &Parts, body: &[u8]) -> bool {
    let says = |name, value: &[u8]| {
        let header = head.headers.get(name);
        header.is_some_and(|header: &http::HeaderValue| header.as_bytes().starts_with(value))
    };
    says(http::header::CONTENT_LENGTH, b"")
        || !says(http::header::CONTENT_TYPE, b"application/json")
        || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

async fn whole_or_long(mut body: UpstreamBody, held: usize) -> Result<Answer, UpstreamError> {
    let Some(first) = body.data().await.transpose()? else {
        return Ok(Answer::Whole(Bytes::new()));
    };
    let Some(second) = body.data().await.transpose()? else {
        return Ok(Answer::Whole(first));
    };
    let mut start = [first, second].concat();
    while start.len() < held {
        match body.data().await.transpose()? {
            Some(piece) => start.extend_from_slice(&piece),
            None => return Ok(Answer::Whole(start.into())),
        }
    }
    Ok(Answer::Long {
        start: start.into(),
        rest: body,
    })
}
