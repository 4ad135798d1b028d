//! Distributed traces: one a request, sent to a collector by OTLP.
//!
//! ```text
//! POST /v1/chat/completions   the request: from its body read to the last byte of its answer
//! ├── queue                   until the router let it in
//! ├── prefill                 a leg: from its sending to its worker's last byte
//! └── decode
//! ```
//! A retry shows as further legs. A client's `traceparent` is continued, and each worker gets its own leg's, so that
//! the spans of SGLang hang below the leg they belong to.
//!
//! Spans are values that move with the request's own structs, not ambient spans of `tracing`: the request outlives its
//! handler (its answer is relayed by the connection's task), both legs run interleaved in one task, and an ambient span
//! is entered at every poll. Held as values they end where their owner ends, also when a client leaves; and where
//! tracing is off each call is one look at a `None`.
//!
//! What is recorded is a closed list: no prompt, no body, no key, and none of a worker's own words, which may quote
//! them.

mod context;
mod export;
mod leg;
mod request;

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use export::TraceError;
pub use leg::{LegStart, LegTrace, LegTraces};
pub use request::RequestTrace;

use crate::config::TracingSettings;

/// What has not reached the collector by then is lost: an end that hangs is worse.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// Where traces begin; off unless `--enable-trace` is given.
#[derive(Debug, Default)]
pub struct Traces(Option<Exporting>);

#[derive(Debug)]
struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Records nothing.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Records if the settings say so. The collector need not be there yet: nothing waits for it.
    pub fn start(settings: &TracingSettings) -> Result<Self, TraceError> {
        if !settings.enabled {
            return Ok(Self::off());
        }
        let provider = export::provider(&settings.endpoint)?;
        let tracer = provider.tracer("adaptive-router");
        Ok(Self(Some(Exporting { provider, tracer })))
    }

    /// A request of a client to `route`, in the client's own trace where its headers name one.
    pub fn request(&self, route: &'static str, headers: &HeaderMap) -> RequestTrace {
        match &self.0 {
            Some(exporting) => RequestTrace::start(&exporting.tracer, route, headers),
            None => RequestTrace::off(),
        }
    }

    /// Sends what has not been sent, within a few seconds. What is recorded later is lost.
    pub async fn shutdown(&self) {
        let Some(Exporting { provider, .. }) = &self.0 else {
            return;
        };
        let provider = provider.clone();
        // It blocks until the exporting thread is done, which the runtime's own threads must not.
        let flushed =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_FLUSH));
        match flushed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces did not reach the collector"),
            Err(error) => tracing::error!(%error, "sending the last traces panicked"),
        }
    }
}
