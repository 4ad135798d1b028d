//! The life of an inference request, the same for every endpoint.
//!
//! Faults first, since a worker that refuses does so before it reads; then validation; then one job a choice is
//! queued; then the answer is streamed or collected. Everything that the request holds in the engine is owned by its
//! response, so a client that goes away drops it.

use super::{
    choice::{Choice, Next},
    errors::{self, Refusal},
    request::{Partner, Request},
    reset,
    sse::Stream,
    wire::{DONE, Wire},
};
use crate::{
    SimulatedWorker,
    answer::Answer,
    config::Role,
    engine::{Job, Meeting, Plan, Sampling},
    faults::{Fault, stall},
    rendezvous::Wanted,
    ticket::{Abort, Ticket},
};
use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode, header};
use std::sync::Arc;

pub(crate) const NO_ROOM: &str = "Disaggregated request received without bootstrap room id";

/// Answers a request whose body was read into `parsed`.
pub(crate) async fn serve<W: Wire>(
    worker: SimulatedWorker,
    parsed: Result<(Request, W), Refusal>,
) -> Response {
    if worker.engine.is_unhealthy() {
        worker.engine.refuse();
        return errors::failed(StatusCode::SERVICE_UNAVAILABLE, "Server is unhealthy");
    }
    let fault = worker.engine.faults.for_request();
    match &fault {
        Some(Fault::Refuse {
            status,
            retry_after_s,
        }) => {
            worker.engine.refuse();
            return errors::refused_by_fault(*status, *retry_after_s);
        }
        Some(Fault::ResetBeforeHead) => return reset::response(),
        Some(Fault::StallBeforeHead { stall_ms }) => stall(*stall_ms).await,
        _ => {}
    }
    let (request, wire) = match parsed {
        Ok(parsed) => parsed,
        Err(refusal) => {
            worker.engine.refuse();
            return W::refuse(&refusal);
        }
    };
    if let Err(refusal) = request.validate(&worker.engine.config) {
        worker.engine.refuse();
        return refuse_invalid::<W>(&request, &refusal);
    }
    let pending = admit(&worker, &request);
    let interval = request
        .stream_interval
        .unwrap_or(worker.engine.config.stream_interval)
        .max(1);
    if request.stream {
        let stream = Stream::new(worker, wire, pending, interval, fault);
        return respond_streaming::<W>(stream).await;
    }
    respond_whole(&worker, &wire, pending, fault).await
}

/// A choice, and what is left to do before it can be decoded.
pub(crate) struct Pending {
    pub(crate) choice: Choice,
    kv: Source,
}

enum Source {
    /// This worker computes it.
    Own,
    /// Nobody, for a request whose room is another's.
    Never,
    /// Another one does.
    Fetched {
        partner: Partner,
        room: u64,
        sampling: Sampling,
    },
}

fn admit(worker: &SimulatedWorker, request: &Request) -> Vec<Pending> {
    (0..request.choices())
        .map(|index| admit_choice(worker, request, index))
        .collect()
}

fn admit_choice(worker: &SimulatedWorker, request: &Request, index: usize) -> Pending {
    let (prompt, sampling, sample) = request.prompt_of(index);
    let answer = prompt.answer.choice(sample);
    let partner = request.pd.partner(request.prompt_number(index));
    let role = worker.engine.role();
    // All samples of a prompt are sent with the room of its first, and the KV of a room is handed over once: prefill
    // answers for all of them, decode for one, and the others wait until the client leaves.
    let shares_room = sample > 0 && role != Role::Null;
    let (meeting, missing) = match (role, partner.meeting) {
        (Role::Prefill, Some(_)) if shares_room => (Meeting::Nobody, false),
        (Role::Null, _) => (Meeting::Nobody, false),
        (Role::Prefill | Role::Decode, Some(meeting)) => (meeting, false),
        (Role::Prefill | Role::Decode, None) => (Meeting::Nobody, true),
    };
    let plan = match role {
        Role::Prefill => Plan::first_token(answer),
        Role::Decode | Role::Null => Plan::new(answer, sampling),
    };
    let blocks = if worker.engine.config.caches_prompts() {
        prompt.blocks()
    } else {
        Vec::new()
    };
    let rid = request.rid_of(index);
    let hold = if missing {
        worker.engine.reject(Abort::new(400, NO_ROOM))
    } else {
        worker.engine.admit(Job {
            rid: Arc::clone(&rid),
            meeting,
            prompt_tokens: prompt.tokens,
            blocks,
            plan: plan.clone(),
            ticket: Arc::new(Ticket::default()),
            probe: false,
        })
    };
    let kv = match (hold.role, meeting) {
        (Role::Decode, Meeting::Room(_)) if shares_room => Source::Never,
        (Role::Decode, Meeting::Room(room)) => Source::Fetched {
            partner,
            room,
            sampling: sampling.clone(),
        },
        _ => Source::Own,
    };
    let mut choice = Choice::new(index, rid, prompt, hold);
    choice.written.plan = plan;
    if request.echo {
        prompt.echo().clone_into(&mut choice.echo);
    }
    choice.logged_input = logged_input(role, request, index);
    Pending { choice, kv }
}

/// The prompt tokens that this worker reports log probabilities of: it is the one that computed them.
fn logged_input(role: Role, request: &Request, index: usize) -> Vec<u32> {
    match (role, request.logprob_start) {
        (Role::Prefill | Role::Null, Some(start)) => {
            let mut ids = request.prompt_of(index).0.ids();
            ids.drain(..start.min(ids.len()));
            ids
        }
        (Role::Prefill | Role::Null, None) | (Role::Decode, _) => Vec::new(),
    }
}

/// Gets the KV of every choice to this worker.
pub(crate) async fn fetch_all(worker: &SimulatedWorker, pending: Vec<Pending>) -> Vec<Choice> {
    join_all(pending.into_iter().map(|pending| fetch(worker, pending))).await
}

async fn fetch(worker: &SimulatedWorker, pending: Pending) -> Choice {
    let Pending { mut choice, kv } = pending;
    match kv {
        Source::Own | Source::Never => {}
        Source::Fetched {
            partner,
            room,
            sampling,
        } => {
            let ticket = Arc::clone(&choice.hold.ticket);
            tokio::select! {
                // Aborted while it waited: the fetch is dropped, which tells the prefill.
                biased;
                _ = ticket.ended() => {}
                () = land(worker, &mut choice, &partner, room, &sampling) => {}
            }
        }
    }
    choice
}

async fn land(
    worker: &SimulatedWorker,
    choice: &mut Choice,
    partner: &Partner,
    room: u64,
    sampling: &Sampling,
) {
    choice.hold.space().await;
    let own = choice.written.plan.answer;
    let wanted = Wanted {
        host: &partner.host,
        port: partner.port.unwrap_or(worker.engine.config.bootstrap_port),
        room,
        rid: &choice.rid,
    };
    match worker.receiver.fetch(&worker.engine, &wanted).await {
        Ok(kv) => {
            let answer = Answer::from_key(kv.answer);
            let plan = Plan::new(answer, sampling);
            choice.written.plan = plan.clone();
            choice.hold.land(plan, answer != own, kv.cached_tokens);
        }
        Err(abort) => choice.hold.fail(abort),
    }
}

fn refuse_invalid<W: Wire>(request: &Request, refusal: &Refusal) -> Response {
    if !(request.stream && W::HEAD_FIRST) {
        return W::refuse(refusal);
    }
    let mut out = String::new();
    W::refuse_in_stream(&mut out, refusal);
    out.push_str(DONE);
    event_stream(Body::from(out))
}

async fn respond_streaming<W: Wire>(mut stream: Stream<W>) -> Response {
    if W::HEAD_FIRST {
        return event_stream(Body::from_stream(stream.into_frames(None)));
    }
    let first = stream.next_frame().await;
    event_stream(Body::from_stream(stream.into_frames(first)))
}

fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn respond_whole<W: Wire>(
    worker: &SimulatedWorker,
    wire: &W,
    pending: Vec<Pending>,
    fault: Option<Fault>,
) -> Response {
    let mut choices = fetch_all(worker, pending).await;
    join_all(choices.iter_mut().map(Choice::wait_for_end)).await;
    if let Some(abort) = choices.iter().find_map(Choice::failure) {
        return W::failed(abort);
    }
    if let Some(Fault::ErrorEvent { .. }) = fault {
        return W::failed(&simulated_failure());
    }
    for choice in &mut choices {
        choice.write_all();
    }
    let body = wire.whole(&choices);
    match fault {
        Some(fault) if fault.breaks_body() => broken_whole(&body, fault),
        _ => errors::json_response(StatusCode::OK, body),
    }
}

pub(crate) fn simulated_failure() -> Abort {
    Abort::new(500, "error event of a simulated fault")
}

/// Neither an event nor JSON, nor text.
pub(crate) const GARBAGE: &[u8] = b"\x00\xff\xfe{\"unclosed: \r\n\r\n\x80garbage";

/// Half of an answer, and then what the fault says.
fn broken_whole(body: &str, fault: Fault) -> Response {
    let mut half = body.as_bytes().to_vec();
    half.truncate(body.len() / 2);
    let rest = Bytes::copy_from_slice(&body.as_bytes()[half.len()..]);
    let frames = futures_util::stream::unfold(
        (Some(Bytes::from(half)), Some((fault, rest))),
        |(half, ending)| async move {
            if let Some(half) = half {
                return Some((Ok(half), (None, ending)));
            }
            match ending? {
                (Fault::StallMidStream { stall_ms, .. }, rest) => {
                    stall(stall_ms).await;
                    Some((Ok(rest), (None, None)))
                }
                (Fault::Garbage { .. }, _) => Some((Ok(Bytes::from_static(GARBAGE)), (None, None))),
                (Fault::ResetMidStream { .. }, _) => {
                    Some((Err(reset::ConnectionReset), (None, None)))
                }
                _ => None,
            }
        },
    );
    errors::json_response(StatusCode::OK, Body::from_stream(frames))
}

impl Fault {
    /// Whether the fault shows in the body of an answer.
    const fn breaks_body(&self) -> bool {
        matches!(
            self,
            Self::StallMidStream { .. }
                | Self::ResetMidStream { .. }
                | Self::CutShort { .. }
                | Self::Garbage { .. }
        )
    }
}

impl Choice {
    /// What can be written now, at most up to `cap` tokens.
    pub(crate) fn next_within(&self, interval: u32, cap: u32) -> Option<Next> {
        match self.next(interval)? {
            Next::Tokens(tokens) if tokens > cap => {
                (self.written.tokens < cap).then_some(Next::Tokens(cap))
            }
            next => Some(next),
        }
    }
}
