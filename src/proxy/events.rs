//! A stream as events: where each ends, what it reports, and what is held back until it is whole.

use std::collections::VecDeque;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::continuation::Said;
use super::logprobs::PromptLogprobs;
use super::meter::StreamMeter;
use super::sse::{self, EventScanner, StreamError};

/// What a stream of events needs beyond bytes.
pub(super) struct Events {
    scanner: EventScanner,
    /// Pieces of an event that has not ended, up to [`sse::LONGEST_EVENT`] bytes: a worker that never ends its event
    /// fills no memory.
    pub(super) held: Vec<Bytes>,
    held_bytes: usize,
    merge: Option<PromptLogprobs>,
    /// `None` where streams are not to be measured.
    pub(super) meter: Option<StreamMeter>,
    /// What the client has been told, where the stream can be continued.
    pub(super) said: Option<Said>,
    /// The worker reported an error inside the stream, and the client has it.
    pub(super) failed: bool,
    /// The error was none that somebody asked for, so nothing may follow it.
    over: bool,
    /// The event came that says that the stream is whole.
    pub(super) done: bool,
}

impl Events {
    /// Events that are changed have to be seen whole, however long, up to `longest_merged` bytes.
    pub(super) fn new(merge: Option<PromptLogprobs>, longest_merged: usize) -> Self {
        Self {
            scanner: match merge {
                Some(_) => EventScanner::up_to(longest_merged),
                None => EventScanner::default(),
            },
            held: Vec::new(),
            held_bytes: 0,
            merge,
            meter: None,
            said: None,
            failed: false,
            over: false,
            done: false,
        }
    }

    /// Another worker goes on with the stream: what the last one left half-written is nothing.
    pub(super) fn begin_anew(&mut self) {
        self.scanner = EventScanner::default();
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Whether a token has come.
    pub(super) fn has_token(&self) -> bool {
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

    /// Takes a piece and puts what may go to the client into `queue`. Answers the error that the worker reported, where the
    /// stream can go on elsewhere, or that it sent something else than events: the client learns nothing of it. Behind an
    /// error that the client does get nothing follows, and no `[DONE]`: it would say that all is well. An abort that
    /// somebody asked for is no such error.
    pub(super) fn take(
        &mut self,
        piece: Bytes,
        queue: &mut VecDeque<Bytes>,
        now: Instant,
    ) -> Option<StreamError> {
        let Self {
            scanner,
            merge,
            meter,
            said,
            failed,
            over,
            done,
            ..
        } = self;
        let mut broke: Option<StreamError> = None;
        // Bytes of the piece that belong to events in front of the error.
        let mut good = 0;
        let mut ended = scanner.feed_with_ends(&piece, |event, end| {
            if broke.is_some() || *over {
                return;
            }
            if !sse::is_event(event) {
                broke = Some(not_an_event());
                return;
            }
            if let Some(error) = sse::error_in(event) {
                if said.is_some() && is_the_workers(&error) {
                    broke = Some(error);
                    return;
                }
                *failed = true;
                *over = !error.asked_for;
            }
            good = end;
            *done |= sse::is_done(event);
            if let Some(said) = said {
                said.event(event, &piece);
            }
            if let Some(meter) = meter {
                meter.event(event, now);
            }
            if let Some(merge) = merge {
                queue.push_back(merge.merge_event(event));
            }
        });
        if merge.is_some() {
            return broke;
        }
        let over = broke.is_some() || *over;
        if over {
            ended = good;
        }
        if ended > 0 {
            self.release(queue);
        }
        if ended == piece.len() {
            queue.push_back(piece);
            return broke;
        }
        if ended > 0 {
            queue.push_back(piece.slice(..ended));
        }
        if !over {
            self.hold(piece.slice(ended..), queue);
        }
        broke
    }
}

fn not_an_event() -> StreamError {
    StreamError {
        status: StatusCode::BAD_GATEWAY,
        message: "the worker sent something else than events".to_owned(),
        asked_for: false,
    }
}

/// Not the client's mistake, and nothing that somebody asked for.
fn is_the_workers(error: &StreamError) -> bool {
    error.status.is_server_error() && !error.asked_for
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
    fn behind_an_error_nothing_follows_and_what_is_no_event_is_not_passed_on() {
        let error = b"data: {\"error\":{\"message\":\"m\",\"code\":500}}\n\n";
        for cut in 0..error.len() {
            let mut events = Events::new(None, usize::MAX);
            let mut queue = VecDeque::new();
            let stream = [&b"data: a\n\n"[..], error, b"data: [DONE]\n\n"].concat();
            let (first, second) = stream.split_at(9 + cut);
            for piece in [first, second] {
                let piece = Bytes::copy_from_slice(piece);
                assert_eq!(events.take(piece, &mut queue, Instant::now()), None);
            }
            assert!(events.failed);
            assert_eq!(queue.iter().flatten().count(), stream.len() - 14, "{cut}");
        }
        let mut events = Events::new(None, usize::MAX);
        let mut queue = VecDeque::new();
        let stream = Bytes::from_static(b"data: a\n\n\xff garbage\n\ndata: b\n\n");
        assert_eq!(
            events.take(stream, &mut queue, Instant::now()),
            Some(not_an_event())
        );
        assert_eq!(queue, [&b"data: a\n\n"[..]]);
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
