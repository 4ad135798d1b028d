//! Streams that outlive their decode worker.
//!
//! Before the first byte a failed request simply runs again elsewhere. After it the client holds a part of the answer,
//! so another pair has to go on where the first one stopped: it computes the prompt and the answer so far as one prompt
//! ([`draft`]), and its events are told as the rest of the first answer ([`rewrite`]). The client sees one stream. The
//! same way a worker that is to change its role gets rid of streams that would keep it ([`Cause::Drain`]).
//!
//! What a stream needs for that is kept beside it: the request, and what the client has been told ([`said`]). Nothing of
//! it is parsed before it is needed, and then only once. Requests that a second pair could not go on with exactly are
//! not continued ([`obstacle`]).

mod answer;
mod draft;
mod eligible;
mod obstacle;
mod resume;
mod rewrite;
mod said;
#[cfg(test)]
mod tests;
mod tokenizer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use prometheus::IntGauge;

use super::endpoint::Endpoint;
use super::handler::Routed;
use super::headers;
use crate::config::{ContinuationSettings, Switch};
use crate::telemetry::trace::LegTraces;

pub(super) use draft::Next;
pub(super) use obstacle::Obstacle;
pub(super) use resume::{NotResumed, Resumed, Resuming};
pub(super) use rewrite::Rewrite;
pub(super) use said::Said;

/// How often one stream is continued at most. Each time its prompt is computed anew, and a fleet that loses a stream's
/// worker so often has another problem.
pub(super) const MOST: u32 = 8;

/// Why a stream leaves its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The worker died, fell silent, or said that it failed.
    Failure,
    /// The worker is drained, and its time is up.
    Drain,
}

impl Cause {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Drain => "drain",
        }
    }
}

/// Bytes that running streams keep of their requests, and how many they may.
#[derive(Debug)]
pub struct KeptBytes {
    now: AtomicUsize,
    most: usize,
    on: bool,
    gauge: IntGauge,
}

impl KeptBytes {
    /// `gauge` shows them.
    pub fn new(settings: &ContinuationSettings, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            now: AtomicUsize::new(0),
            most: settings.max_bytes,
            on: settings.streams == Switch::On,
            gauge,
        })
    }

    fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reserved> {
        if !self.on {
            return None;
        }
        let before = self.now.fetch_add(bytes, Ordering::Relaxed);
        self.gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        // Dropped where it is too much.
        let reserved = Reserved {
            kept: Arc::clone(self),
            bytes,
        };
        (before.saturating_add(bytes) <= self.most).then_some(reserved)
    }
}

/// Given back on drop.
#[derive(Debug)]
struct Reserved {
    kept: Arc<KeptBytes>,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.kept.now.fetch_sub(self.bytes, Ordering::Relaxed);
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        self.kept.gauge.sub(bytes);
    }
}

/// A body longer than this has memory of its own, or so much of what it was read into that it may as well keep all.
const LONGEST_COPIED: usize = 16 * 1024;

/// The same bytes without the buffer that a short request was read into together with its head.
fn detached(body: &Bytes) -> Bytes {
    if body.len() > LONGEST_COPIED {
        body.clone()
    } else {
        Bytes::copy_from_slice(body)
    }
}

/// A stream's request, kept until its end.
#[derive(Debug)]
pub(super) struct Kept {
    endpoint: Endpoint,
    paired: bool,
    headers: HeaderMap,
    body: Bytes,
    model: Arc<str>,
    traces: LegTraces,
    _bytes: Reserved,
}

impl Kept {
    /// `None` where the stream can't be continued anyway, or too much is kept already.
    pub(super) fn of(routed: &Routed<'_>, bytes: &Arc<KeptBytes>) -> Option<Arc<Self>> {
        let view = routed.view;
        if !routed.endpoint.streams_tokens() || view.batch.rooms() > 1 || view.wants_prompt_logprobs
        {
            return None;
        }
        let reserved = bytes.reserve(routed.body.len())?;
        Some(Arc::new(Self {
            endpoint: routed.endpoint,
            paired: routed.paired,
            headers: headers::detached(routed.headers),
            body: detached(routed.body),
            model: Arc::from(routed.model),
            traces: routed.traces.clone(),
            _bytes: reserved,
        }))
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}
