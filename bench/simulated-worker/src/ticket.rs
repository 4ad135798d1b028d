//! What the engine tells a waiting request: how many tokens there are, and how it ended.
//!
//! The engine counts, the request's handler writes the text: a step of a large batch is one small locked write for
//! each request, without allocation or channel. Each ticket has one engine and one reader.

use parking_lot::Mutex;
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Finished,
    Aborted(Abort),
}

/// An end that nobody wanted, as SGLang reports it. Without a status it is the quiet end of a request that a client
/// asked to abort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Abort {
    pub(crate) message: Arc<str>,
    pub(crate) status: Option<u16>,
}

impl Abort {
    pub(crate) fn new(status: u16, message: impl Into<Arc<str>>) -> Self {
        Self {
            message: message.into(),
            status: Some(status),
        }
    }

    pub(crate) fn quiet(message: &str) -> Self {
        Self {
            message: message.into(),
            status: None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ticket {
    cell: Mutex<Cell>,
    /// Of the prompt, found in a prefix cache. Known before the first token.
    cached_tokens: AtomicU64,
    /// How often the request had to make room for others.
    retractions: AtomicU32,
}

#[derive(Debug, Default)]
struct Cell {
    tokens: u32,
    end: Option<End>,
    reader: Option<Waker>,
}

/// What a reader finds: all tokens so far and, once it is known, the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) tokens: u32,
    pub(crate) end: Option<End>,
}

impl Ticket {
    pub(crate) fn advance(&self, tokens: u32) {
        self.update(|cell| cell.tokens = tokens);
    }

    pub(crate) fn found_cached(&self, tokens: u64) {
        self.cached_tokens.store(tokens, Ordering::Relaxed);
    }

    pub(crate) fn cached_tokens(&self) -> u64 {
        self.cached_tokens.load(Ordering::Relaxed)
    }

    pub(crate) fn retract(&self) {
        self.retractions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retractions(&self) -> u32 {
        self.retractions.load(Ordering::Relaxed)
    }

    /// The first end counts: a request that was aborted can't finish any more.
    pub(crate) fn end(&self, tokens: u32, end: End) {
        self.update(|cell| {
            if cell.end.is_none() {
                cell.tokens = tokens.max(cell.tokens);
                cell.end = Some(end);
            }
        });
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.cell.lock().end.is_some()
    }

    /// Ready once there are more tokens than `seen`, or an end.
    pub(crate) fn poll_beyond(&self, seen: u32, cx: &mut Context<'_>) -> Poll<Progress> {
        let mut cell = self.cell.lock();
        if cell.tokens > seen || cell.end.is_some() {
            return Poll::Ready(Progress {
                tokens: cell.tokens,
                end: cell.end.clone(),
            });
        }
        if !cell
            .reader
            .as_ref()
            .is_some_and(|reader| reader.will_wake(cx.waker()))
        {
            cell.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// All tokens, once the request has ended.
    pub(crate) async fn ended(&self) -> (u32, End) {
        poll_fn(|cx| match self.poll_beyond(u32::MAX, cx) {
            Poll::Ready(Progress {
                tokens,
                end: Some(end),
            }) => Poll::Ready((tokens, end)),
            Poll::Ready(Progress { end: None, .. }) | Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn update(&self, change: impl FnOnce(&mut Cell)) {
        let reader = {
            let mut cell = self.cell.lock();
            change(&mut cell);
            cell.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_end_counts() {
        let ticket = Ticket::default();
        ticket.end(1, End::Aborted(Abort::quiet("gone")));
        ticket.end(5, End::Finished);
        assert_eq!(
            ticket.ended().await,
            (1, End::Aborted(Abort::quiet("gone")))
        );
    }
}
