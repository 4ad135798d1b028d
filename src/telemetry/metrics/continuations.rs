//! Families of streams that leave their worker and go on at another pair.

use prometheus::{IntCounterVec, IntGauge};

use super::catalogue::Catalogue;

/// What became of a stream that was to leave its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// Another pair goes on with it.
    Continued,
    /// Only its end was missing, which the router wrote.
    Closed,
    /// It could not be continued: it ended in an error, or stayed where it was drained.
    NotContinued,
}

impl Continuation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Continued => "continued",
            Self::Closed => "closed",
            Self::NotContinued => "not_continued",
        }
    }
}

#[derive(Debug)]
pub struct ContinuationFamilies {
    streams: IntCounterVec,
    kept_bytes: IntGauge,
}

impl ContinuationFamilies {
    pub(super) fn new(make: &mut Catalogue) -> Self {
        let families = Self {
            streams: make.counter(
                "adaptive_router_stream_continuations_total",
                "Streams that were to leave their worker, because it failed (cause=failure) or is drained (cause=drain), by what became of them: continued at another pair, closed by the router because only their end was missing, or not_continued for a reason that docs/continuation.md lists",
                &["endpoint", "cause", "result", "reason"],
            ),
            kept_bytes: make
                .gauge(
                    "adaptive_router_stream_kept_bytes",
                    "Bytes of running streams' requests that are kept so that they can go on elsewhere (--stream-continuation-max-bytes)",
                    &[],
                )
                .with_label_values::<&str>(&[]),
        };
        // From the start, so that the first stream that goes on is seen as a rise.
        for endpoint in ["/generate", "/v1/completions", "/v1/chat/completions"] {
            for cause in ["failure", "drain"] {
                families.streams.with_label_values(&[
                    endpoint,
                    cause,
                    Continuation::Continued.as_str(),
                    "",
                ]);
            }
        }
        families
    }

    /// `reason` is why it was not continued.
    pub fn ended(&self, endpoint: &str, cause: &str, how: Continuation, reason: &str) {
        self.streams
            .with_label_values(&[endpoint, cause, how.as_str(), reason])
            .inc();
    }

    /// To be kept up to date by whoever keeps them.
    pub fn kept_bytes(&self) -> IntGauge {
        self.kept_bytes.clone()
    }
}
