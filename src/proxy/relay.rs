//! The client's response body: the serving worker's bytes, untouched, and everything that must live as long as they
//! do.
//!
//! Dropping it (the client left) drops both legs, aborts them by `rid` and records the outcome. A stream is relayed in
//! whole events: what a dying worker left half-written is never shown, so the error event that follows is well formed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use policies::worker::Role;
use tokio::time::{Instant, Sleep};

use super::abort::AbortGuard;
use super::failure::{Cause, Failure};
use super::handler::Proxy;
use super::leg::PrefillLeg;
use super::logprobs::PromptLogprobs;
use super::meter::StreamMeter;
use super::outcome::Accepted;
use super::sse::{self, EventScanner};
use crate::telemetry::Outcome;
use crate::telemetry::trace::LegTrace;
use crate::upstream::{UpstreamBody, UpstreamError};
use crate::workers::{Ticket, Worker};

/// What is relayed.
pub struct Relay {
    proxy: Arc<Proxy>,
    abort: AbortGuard,
    role: Role,
    ticket: Ticket,
    trace: LegTrace,
    prefill: Option<PrefillLeg>,
    /// Below the legs, so that it is dropped after them: a request ends when its legs have.
    accepted: Accepted,
    /// Ready to go out.
    queue: VecDeque<Bytes>,
    /// Where more comes from; `None` after its end.
    rest: Option<UpstreamBody>,
    events: Option<Events>,
    idle: IdleTimer,
}

/// What a stream of events needs beyond bytes.
struct Events {
    scanner: EventScanner,
    /// Pieces of an event that has not ended, up to [`sse::LONGEST_EVENT`] bytes: a worker that never ends its event
    /// fills no memory.
    held: Vec<Bytes>,
    held_bytes: usize,
    merge: Option<PromptLogprobs>,
    /// `None` where streams are not to be measured.
    meter: Option<StreamMeter>,
    /// The worker reported an error inside the stream.
    failed: bool,
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
        let mut events = Events::new(merge, handover.proxy.config.server.max_payload_size);
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
            queue: VecDeque::new(),
            rest: Some(handover.rest),
            events,
            idle: IdleTimer::new(handover.idle),
        }
    }

    fn worker(&self) -> &Arc<Worker> {
        self.ticket.worker()
    }

    /// Takes a piece from the worker into the queue.
    fn take(&mut self, piece: Bytes, now: Instant) {
        let Some(events) = &mut self.events else {
            self.queue.push_back(piece);
            return;
        };
        let began = events.has_token();
        events.take(piece, &mut self.queue, now);
        if !began && events.has_token() {
            self.accepted
                .first_token(now, self.ticket.worker(), self.role);
            self.trace.first_token();
        }
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

    /// The worker broke off or fell silent. A stream gets its error event; a whole answer can only be cut.
    fn break_off(&mut self, cause: Cause) -> Option<UpstreamError> {
        self.rest = None;
        self.accepted.ends(Outcome::Failed);
        let failure = Failure {
            role: self.role,
            worker: Arc::clone(self.worker()),
            cause,
        };
        self.proxy.leg_failed(&failure);
        self.trace.failed(failure.kind(), Some(failure.status()));
        tracing::warn!(worker = %failure.worker.url, error = failure.logged(), "a stream was cut");
        let Some(events) = &mut self.events else {
            return Some(UpstreamError::Body(failure.message()));
        };
        events.held.clear();
        if !events.failed {
            let status = match failure.cause {
                Cause::Silent { .. } => StatusCode::GATEWAY_TIMEOUT,
                Cause::Transport(_) | Cause::Status(_) | Cause::InStream(_) => {
                    StatusCode::BAD_GATEWAY
                }
            };
            self.queue
                .push_back(sse::error_event(status, failure.code(), &failure.message()));
        }
        None
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

impl Events {
    /// Events that are changed have to be seen whole, however long, up to `longest_merged` bytes.
    fn new(merge: Option<PromptLogprobs>, longest_merged: usize) -> Self {
        Self {
            scanner: match merge {
                Some(_) => EventScanner::up_to(longest_merged),
                None => EventScanner::default(),
            },
            held: Vec::new(),
            held_bytes: 0,
            merge,
            meter: None,
            failed: false,
        }
    }

    /// Whether a token has come.
    fn has_token(&self) -> bool {
        self.meter
            .as_ref()
            .is_some_and(|meter| meter.first_token().is_some())
    }

    fn hold(&mut self, piece: Bytes, queue: &mut VecDeque<Bytes>) {
        self.held_bytes += piece.len();
        self.held.push(piece);
        if self.held_bytes > sse::LONGEST_EVENT {
            self.release(queue);
        }
    }

    fn release(&mut self, queue: &mut VecDeque<Bytes>) {
        queue.extend(self.held.drain(..));
        self.held_bytes = 0;
    }

    fn take(&mut self, piece: Bytes, queue: &mut VecDeque<Bytes>, now: Instant) {
        let Self {
            scanner,
            merge,
            meter,
            failed,
            ..
        } = self;
        let ended = scanner.feed(&piece, |event| {
            *failed |= sse::error_in(event).is_some();
            if let Some(meter) = meter {
                meter.event(event, now);
            }
            if let Some(merge) = merge {
                queue.push_back(merge.merge_event(event));
            }
        });
        if merge.is_some() {
            return;
        }
        if ended == 0 {
            self.hold(piece, queue);
            return;
        }
        self.release(queue);
        if ended == piece.len() {
            queue.push_back(piece);
        } else {
            queue.push_back(piece.slice(..ended));
            self.hold(piece.slice(ended..), queue);
        }
    }
}

/// What was counted goes to the request that concludes next: `accepted` is dropped after this.
impl Drop for Relay {
    fn drop(&mut self) {
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
        loop {
            if let Some(piece) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(rest) = &mut this.rest else {
                return Poll::Ready(None);
            };
            let broken = match rest.poll_data(context) {
                Poll::Ready(Some(Ok(piece))) => {
                    let now = Instant::now();
                    this.idle.touch(now);
                    this.take(piece, now);
                    continue;
                }
                Poll::Ready(None) => {
                    this.finish();
                    continue;
                }
                Poll::Ready(Some(Err(error))) => Cause::Transport(error),
                Poll::Pending => {
                    ready!(this.idle.poll(context));
                    Cause::Silent {
                        limit: this.idle.limit,
                    }
                }
            };
            if let Some(error) = this.break_off(broken) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.queue.is_empty() && self.rest.is_none()
    }
}

/// Fires when nothing was touched for the limit. Touching is a store; the timer is only moved when it fires early.
struct IdleTimer {
    limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl IdleTimer {
    fn new(limit: Duration) -> Self {
        let last = Instant::now();
        Self {
            limit,
            last,
            sleep: Box::pin(tokio::time::sleep_until(last + limit)),
        }
    }

    fn touch(&mut self, now: Instant) {
        self.last = now;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(context));
            let due = self.last + self.limit;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_never_ends_is_passed_on_and_fills_no_memory() {
        let mut events = Events::new(None, usize::MAX);
        let mut queue = VecDeque::new();
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        for _ in 0..40 {
            events.take(piece.clone(), &mut queue, Instant::now());
            assert!(events.held_bytes <= sse::LONGEST_EVENT);
        }
        let passed: usize = queue.iter().map(Bytes::len).sum();
        assert_eq!(passed + events.held_bytes, 40 * 1024 * 1024);
    }

    #[test]
    fn a_half_written_event_is_held_until_it_is_whole() {
        let mut events = Events::new(None, usize::MAX);
        let mut queue = VecDeque::new();
        let now = Instant::now();
        events.take(Bytes::from_static(b"data: a\n\ndata: b"), &mut queue, now);
        assert_eq!(queue, [&b"data: a\n\n"[..]]);
        events.take(Bytes::from_static(b"\n\n"), &mut queue, now);
        assert_eq!(
            queue.iter().flatten().copied().collect::<Vec<_>>(),
            b"data: a\n\ndata: b\n\n"
        );
    }
}
