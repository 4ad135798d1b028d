//! Bodies made ahead of their moments, on a thread of their own: a long prompt takes a millisecond to make, which must
//! not delay the request before it.

use crate::serve::{item::Item, prompts::PromptError};
use bytes::Bytes;
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinSet};

/// Bodies that are ready and wait, at most: enough for a burst, and of 100,000 tokens each still 64 MB.
const AHEAD: usize = 128;

/// A request that can be sent.
pub(super) struct Ready {
    pub(super) number: u64,
    pub(super) due: Option<Duration>,
    pub(super) body: Bytes,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
}

pub(super) struct Ahead {
    ready: mpsc::Receiver<Result<Ready, PromptError>>,
    /// Ends by itself once nobody receives.
    _maker: JoinSet<()>,
}

impl Ahead {
    /// The next request, in order; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Result<Ready, PromptError>> {
        self.ready.recv().await
    }
}

/// Makes each item with its place.
pub(super) fn made_ahead<M>(items: Vec<Item>, make: M) -> Ahead
where
    M: Fn(&Item, u64) -> Result<Ready, PromptError> + Send + 'static,
{
    let (send, ready) = mpsc::channel(AHEAD);
    let mut maker = JoinSet::new();
    maker.spawn_blocking(move || {
        for (item, place) in items.iter().zip(0..) {
            let made = make(item, place);
            let failed = made.is_err();
            if send.blocking_send(made).is_err() || failed {
                return;
            }
        }
    });
    Ahead {
        ready,
        _maker: maker,
    }
}
