//! A stream as events: where each ends, what it reports, and what is held back until it is whole.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use super::logprobs::PromptLogprobs;
use super::meter::StreamMeter;
use super::sse::{self, EventScanner};

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
    /// The worker reported an error inside the stream.
    pub(super) failed: bool,
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
            failed: false,
        }
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

    pub(super) fn take(&mut self, piece: Bytes, queue: &mut VecDeque<Bytes>, now: Instant) {
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
