//! The client's response body: the serving worker's bytes, untouched, and everything that must live as long as they
//! do.
//!
//! Dropping it (the client left) drops both legs, aborts them by `rid` and records the outcome. A stream is relayed in
//! whole events: what a dying worker left half-written is never shown, so that another pair can go on with the stream
//! ([`onward`]), and an error event that ends it is well formed.

mod onward;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use policies::worker::Role;
use tokio::time::Instant;

use super::abort::AbortGuard;
use super::continuation::{self, Kept, Said};
use super::endpoint::Endpoint;
use super::events::Events;
use super::failure::{Cause, Failure};
use super::handler::Proxy;
use super::idle::IdleTimer;
use super::leg::PrefillLeg;
use super::logprobs::PromptLogprobs;
use super::meter::StreamMeter;
use super::outcome::Accepted;
use super::sse;
use crate::server::Outlet;
use crate::telemetry::Outcome;
use crate::telemetry::trace::LegTrace;
use crate::upstream::{UpstreamBody, UpstreamError};
use crate::workers::{Ticket, Worker};
use onward::Onward;

/// Bytes of a stream that go out in one chunk where they came at once: with so many nothing more is read before they are
/// written. A client sees nothing later for it, because nothing is waited for.
const BATCH: usize = 16 * 1024;

/// Of these, as many bytes are copied together into one piece.
const COPIED: usize = 4 * 1024;

/// What is relayed.
pub struct Relay {
    proxy: Arc<Proxy>,
    abort: AbortGuard,
    role: Role,
    endpoint: Endpoint,
    ticket: Ticket,
    trace: LegTrace,
    prefill: Option<PrefillLeg>,
    /// With which another pair can go on; `None` where none can.
    onward: Option<Box<Onward>>,
    /// Below the legs, so that it is dropped after them: a request ends when its legs have.
    accepted: Accepted,
    /// Ready to go out.
    queue: VecDeque<Bytes>,
    /// Where a stream's chunks go out; `None` where its connection has no chunks.
    outlet: Option<Arc<Outlet>>,
    /// The first piece was given, with which the head goes out.
    began: bool,
    /// Where more comes from; `None` after its end.
    rest: Option<UpstreamBody>,
    events: Option<Events>,
    idle: IdleTimer,
}

/// Everything a relay takes over from the attempt.
pub struct Handover {
    pub proxy: Arc<Proxy>,
    pub accepted: Accepted,
    pub abort: AbortGuard,
    pub role: Role,
    pub ticket: Ticket,
    pub trace: LegTrace,
    pub prefill: Option<PrefillLeg>,
    pub rest: UpstreamBody,
    pub idle: Duration,
    pub endpoint: Endpoint,
    /// What another pair needs to go on with the stream, if one is to.
    pub(super) kept: Option<Arc<Kept>>,
    /// Of the client's connection.
    pub(super) outlet: Option<Arc<Outlet>>,
}

impl Relay {
    /// A long answer that isn't a stream: its beginning and the rest.
    pub fn long(handover: Handover, start: Bytes) -> Self {
        let mut relay = Self::new(handover, None);
        relay.queue.push_back(start);
        relay
    }

    /// A stream: the pieces that came before the commit go the same way as those that follow.
    pub fn stream(
        handover: Handover,
        start: impl IntoIterator<Item = Bytes>,
        merge: Option<PromptLogprobs>,
        meter: Option<StreamMeter>,
    ) -> Self {
        let longest_merged = handover.proxy.config.server.max_payload_size;
        let mut events = Events::new(handover.endpoint, merge, longest_merged);
        if handover.kept.is_some() {
            events.said = Some(Said::new(handover.endpoint));
        }
        events.meter = meter;
        let mut relay = Self::new(handover, Some(events));
        let now = Instant::now();
        for piece in start {
            relay.take(piece, now);
        }
        relay
    }

    fn new(handover: Handover, events: Option<Events>) -> Self {
        Self {
            proxy: handover.proxy,
            accepted: handover.accepted,
            abort: handover.abort,
            role: handover.role,
            ticket: handover.ticket,
            trace: handover.trace,
            prefill: handover.prefill,
            onward: handover.kept.map(Onward::new),
            endpoint: handover.endpoint,
            queue: VecDeque::new(),
            outlet: handover.outlet,
            began: false,
            rest: Some(handover.rest),
            events,
            idle: IdleTimer::new(handover.idle),
        }
    }

    fn worker(&self) -> &Arc<Worker> {
        self.ticket.worker()
    }

    /// Takes a piece from the worker into the queue, rewritten where it is another one's than the stream began with.
    fn take(&mut self, piece: Bytes, now: Instant) {
        match self
            .onward
            .as_mut()
            .and_then(|onward| onward.rewrite.as_mut())
        {
            None => self.take_event_bytes(piece, now),
            Some(rewrite) => {
                for event in rewrite.feed(&piece) {
                    self.take_event_bytes(event, now);
                }
            }
        }
    }

    fn take_event_bytes(&mut self, piece: Bytes, now: Instant) {
        // Behind an error there is nothing more to be had from the worker.
        if self.rest.is_none() {
            return;
        }
        let Some(events) = &mut self.events else {
            self.queue.push_back(piece);
            return;
        };
        let began = events.has_token();
        let broke = events.take(piece, &mut self.queue, now);
        if !began && events.has_token() {
            self.accepted
                .first_token(now, self.ticket.worker(), self.role);
            self.trace.first_token();
        }
        if let Some(error) = broke {
            self.break_off(Cause::InStream(error));
        }
    }

    /// Takes what the worker has sent into the queue; ready with something to send, or when nothing more comes. All
    /// that came at once has one time: when it was read.
    fn gather(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        let mut read_at = None;
        let mut gathered = 0;
        while self.queue.is_empty() || (self.events.is_some() && gathered < BATCH) {
            if self.is_resuming() {
                match self.poll_resuming(context) {
                    Poll::Ready(()) => continue,
                    Poll::Pending if !self.queue.is_empty() => break,
                    Poll::Pending => return Poll::Pending,
                }
            }
            let Some(rest) = &mut self.rest else { break };
            let broken = match rest.poll_data(context) {
                Poll::Ready(Some(Ok(piece))) => {
                    let now = *read_at.get_or_insert_with(Instant::now);
                    self.idle.touch(now);
                    gathered += piece.len();
                    self.take(piece, now);
                    if self.worker().is_left_by_streams() {
                        self.leave();
                    }
                    continue;
                }
                Poll::Ready(None) if self.is_whole() => {
                    self.finish();
                    continue;
                }
                Poll::Ready(None) => {
                    Cause::Transport(UpstreamError::Body("it ended before its end".to_owned()))
                }
                Poll::Ready(Some(Err(error))) => Cause::Transport(error),
                Poll::Pending if !self.queue.is_empty() => break,
                Poll::Pending => {
                    ready!(self.idle.poll(context));
                    Cause::Silent {
                        limit: self.idle.limit,
                    }
                }
            };
            if let Some(error) = self.break_off(broken) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether what is in the queue is the last.
    fn brings_nothing_more(&self) -> bool {
        self.rest.is_none() && !self.is_resuming()
    }

    /// Whether a body that ends here is all of the answer. SGLang ends a stream of tokens with an event that says so.
    fn is_whole(&self) -> bool {
        let has_end = self.endpoint.streams_tokens();
        self.events
            .as_ref()
            .is_none_or(|events| events.done || events.failed || !has_end)
    }

    /// The worker's answer ended well.
    fn finish(&mut self) {
        self.rest = None;
        self.abort.disarm();
        let mut outcome = Outcome::Completed;
        if let Some(events) = &mut self.events {
            self.queue.extend(events.held.drain(..));
            if events.failed {
                outcome = Outcome::Failed;
                self.trace.failed("in_stream", None);
            }
        }
        self.accepted.ends(outcome);
        if outcome == Outcome::Completed {
            self.trace.completed();
            self.proxy.leg_succeeded(self.worker());
        }
    }

    /// The worker broke off or fell silent. A stream goes on elsewhere or gets its error event; a whole answer can only
    /// be cut.
    fn break_off(&mut self, cause: Cause) -> Option<UpstreamError> {
        self.rest = None;
        let failure = Failure {
            partner: None,
            role: self.role,
            worker: Arc::clone(self.worker()),
            cause,
        };
        self.proxy.leg_failed(&failure);
        self.trace.failed(failure.kind(), Some(failure.status()));
        let Some(events) = &mut self.events else {
            self.accepted.ends(Outcome::Failed);
            tracing::warn!(worker = %failure.worker.url, error = failure.logged(), "an answer was cut");
            return Some(UpstreamError::Body(failure.message()));
        };
        events.held.clear();
        let failed = events.failed;
        tracing::warn!(worker = %failure.worker.url, error = failure.logged(), "a stream lost its worker");
        let last_words = (!failed).then(|| error_event(&failure));
        if failed || !self.goes_on(continuation::Cause::Failure, last_words.as_ref()) {
            self.ends_in_error(last_words);
        }
        None
    }

    fn ends_in_error(&mut self, last_words: Option<Bytes>) {
        self.accepted.ends(Outcome::Failed);
        self.queue.extend(last_words);
    }

    /// Drives a prefill leg that outlived the commit. It can't fail the request any more (decode has the KV and
    /// serves), but its end frees its ticket and its failure is charged.
    fn poll_prefill(&mut self, context: &mut Context<'_>) {
        let Some(leg) = &mut self.prefill else { return };
        let Poll::Ready(done) = leg.as_mut().poll(context) else {
            return;
        };
        self.prefill = None;
        match done {
            Ok(_) => {
                if let Some(worker) = self.accepted.prefill_ended(Instant::now()) {
                    self.proxy.leg_succeeded(worker);
                }
            }
            Err(failure) => {
                self.proxy.leg_failed(&failure);
                tracing::warn!(worker = %failure.worker.url, error = failure.logged(), "prefill failed after decode began");
            }
        }
    }
}

fn error_event(failure: &Failure) -> Bytes {
    let status = match failure.cause {
        Cause::Silent { .. } => StatusCode::GATEWAY_TIMEOUT,
        Cause::Transport(_) | Cause::Status(_) | Cause::InStream(_) => StatusCode::BAD_GATEWAY,
    };
    sse::error_event(status, failure.code(), &failure.message())
}

/// What goes out next: small pieces that are there at once go as one, since each costs a chunk and its buffers. What is
/// large costs more to copy than to send by itself.
fn next_piece(queue: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let first = queue.pop_front()?;
    let (mut together, mut length) = (0, first.len());
    for piece in queue.iter() {
        if length + piece.len() > COPIED {
            break;
        }
        together += 1;
        length += piece.len();
    }
    if together == 0 {
        return Some(first);
    }
    let mut all = Vec::with_capacity(length);
    all.extend_from_slice(&first);
    for piece in queue.drain(..together) {
        all.extend_from_slice(&piece);
    }
    Some(all.into())
}

/// What was counted goes to the request that concludes next: `accepted` is dropped after this.
impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(outlet) = &self.outlet {
            outlet.close();
        }
        let meter = self
            .events
            .as_ref()
            .and_then(|events| events.meter.as_ref());
        if let Some(meter) = meter {
            self.accepted
                .counted(meter.output(), meter.prompt(), meter.tpot());
        }
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        this.poll_prefill(context);
        let outlet = this.outlet.as_ref().filter(|_| this.began);
        if outlet.is_some_and(|outlet| !outlet.is_free()) {
            return Poll::Pending;
        }
        if this.queue.is_empty()
            && let Err(error) = ready!(this.gather(context))
        {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(outlet) = this.outlet.as_ref().filter(|_| this.began)
            && !this.brings_nothing_more()
        {
            outlet.send(&mut this.queue);
            return Poll::Pending;
        }
        this.began = true;
        Poll::Ready(next_piece(&mut this.queue).map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.queue.is_empty() && self.brings_nothing_more()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_at_once_goes_out_as_one_chunk_up_to_a_bound() {
        let small = Bytes::from_static(b"data: a\n\n");
        let large = Bytes::from(vec![b'x'; COPIED]);
        let mut queue =
            VecDeque::from([small.clone(), small.clone(), large.clone(), small.clone()]);
        let pieces: Vec<_> = std::iter::from_fn(|| next_piece(&mut queue)).collect();
        assert_eq!(pieces, [[&small[..], &small].concat().into(), large, small]);
    }
}
