//! A stream that leaves its worker: how it gets another one, and what becomes of it if it doesn't.
//!
//! After a failure the stream has nothing while the next pair is asked. From a worker that is only drained it hasn't
//! left before the next one has answered: its bytes stay unread meanwhile, and if no other pair takes the stream it
//! reads on.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::time::Instant;

use super::Relay;
use crate::proxy::continuation::{
    self, Kept, Next, NotResumed, Obstacle, Resumed, Resuming, Rewrite,
};
use crate::proxy::sse;
use crate::telemetry::{Continuation, Outcome};

/// What a stream has for going on at another pair.
pub(super) struct Onward {
    kept: Arc<Kept>,
    /// How often it went on already.
    times: u32,
    /// Of the answer that is read now, if it isn't the first.
    pub(super) rewrite: Option<Rewrite>,
    resuming: Option<Resuming>,
    /// It couldn't leave a worker that is drained, and ends there if it can.
    stays: bool,
    /// How the client learns of the failure, should nobody go on.
    last_words: Option<Bytes>,
}

impl Onward {
    pub(super) fn new(kept: Arc<Kept>) -> Box<Self> {
        Box::new(Self {
            kept,
            times: 0,
            rewrite: None,
            resuming: None,
            stays: false,
            last_words: None,
        })
    }
}

impl Relay {
    pub(super) fn is_resuming(&self) -> bool {
        self.onward
            .as_ref()
            .is_some_and(|onward| onward.resuming.is_some())
    }

    /// Leaves a worker that is drained, if another pair can go on with the stream.
    pub(super) fn leave(&mut self) {
        let stays = self.onward.as_ref().is_none_or(|onward| onward.stays);
        // What has its end, or its error, is over in a moment.
        let over = self
            .events
            .as_ref()
            .is_none_or(|events| events.done || events.failed);
        if !stays && !over && self.rest.is_some() && !self.is_resuming() {
            self.goes_on(continuation::Cause::Drain, None);
        }
    }

    /// Asks another pair to go on with the stream, where that can be done, and answers whether it can. `last_words` are for
    /// the client, should nobody answer.
    pub(super) fn goes_on(
        &mut self,
        cause: continuation::Cause,
        last_words: Option<&Bytes>,
    ) -> bool {
        let (Some(onward), Some(events)) = (&mut self.onward, &self.events) else {
            return false;
        };
        let (Some(said), Some(meter)) = (&events.said, &events.meter) else {
            return false;
        };
        let next = if onward.times < continuation::MOST {
            let kept = &onward.kept;
            Next::of(
                kept.endpoint(),
                kept.body(),
                said,
                meter.output(),
                meter.prompt(),
            )
        } else {
            Err(Obstacle::TooOften)
        };
        match next {
            Ok(Next::Ask(draft)) => {
                onward.last_words = last_words.cloned();
                let from = self.ticket.worker();
                onward.resuming = Some(self.proxy.resume(cause, &onward.kept, draft, from));
                true
            }
            Ok(Next::Close) => {
                match cause {
                    // It says so itself in a moment.
                    continuation::Cause::Drain => onward.stays = true,
                    continuation::Cause::Failure => {
                        self.queue.push_back(Bytes::from_static(sse::DONE));
                        self.accepted.ends(Outcome::Completed);
                        self.count(cause, Continuation::Closed, "");
                    }
                }
                true
            }
            Err(obstacle) => {
                self.onward_ends(cause, &NotResumed::Obstacle(obstacle));
                false
            }
        }
    }

    /// Drives the next pair's answer to its beginning.
    pub(super) fn poll_resuming(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(onward) = &mut self.onward else {
            return Poll::Ready(());
        };
        let Some(resuming) = &mut onward.resuming else {
            return Poll::Ready(());
        };
        let cause = resuming.cause;
        let resumed = ready!(resuming.answer.as_mut().poll(context));
        onward.resuming = None;
        let last_words = onward.last_words.take();
        match resumed {
            Ok(resumed) => self.resumed(cause, resumed),
            Err(reason) => {
                self.onward_ends(cause, &reason);
                if cause == continuation::Cause::Failure {
                    self.ends_in_error(last_words);
                }
            }
        }
        Poll::Ready(())
    }

    /// The next pair takes over.
    fn resumed(&mut self, cause: continuation::Cause, resumed: Resumed) {
        let worker = Arc::clone(resumed.ticket.worker());
        tracing::info!(from = %self.worker().url, to = %worker.url, cause = cause.as_str(), "a stream goes on at another worker");
        self.count(cause, Continuation::Continued, "");
        let prefilled = resumed.prefill_times.as_ref();
        if let Some(ended) = prefilled.filter(|times| times.ended.is_some()) {
            self.proxy.leg_succeeded(&ended.worker);
        }
        self.accepted.moved(&worker, resumed.prefill_times);
        self.rest = Some(resumed.rest);
        self.abort = resumed.abort;
        self.trace = resumed.trace;
        self.prefill = resumed.prefill;
        // Last: whoever waits for the old worker to be empty finds the stream gone.
        self.ticket = resumed.ticket;
        if let Some(onward) = &mut self.onward {
            onward.times += 1;
            onward.rewrite = Some(resumed.rewrite);
        }
        if let Some(events) = &mut self.events {
            events.begin_anew();
            if let Some(meter) = &mut events.meter {
                meter.moved(&self.proxy.telemetry.metrics, &worker);
            }
        }
        let now = Instant::now();
        self.idle.touch(now);
        for piece in resumed.start {
            self.take(piece, now);
        }
    }

    /// Nobody goes on with the stream: it ends with its worker, or stays there to its end.
    fn onward_ends(&mut self, cause: continuation::Cause, reason: &NotResumed) {
        let (code, reason) = (reason.code(), reason.reason());
        tracing::warn!(worker = %self.worker().url, cause = cause.as_str(), code, "a stream can't go on at another worker");
        self.count(cause, Continuation::NotContinued, reason);
        match (cause, &mut self.onward) {
            (continuation::Cause::Drain, Some(onward)) => onward.stays = true,
            (_, onward) => *onward = None,
        }
    }

    fn count(&self, cause: continuation::Cause, how: Continuation, reason: &'static str) {
        let streams = &self.proxy.telemetry.metrics.continuations;
        streams.ended(self.endpoint.path(), cause.as_str(), how, reason);
    }
}
