//! The span of a leg: what one worker did for a request.

use http::{HeaderMap, StatusCode};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use policies::worker::Role;
use url::Url;

use super::context;

/// What is known of a leg when it is sent.
#[derive(Debug)]
pub struct LegStart<'a> {
    pub role: Role,
    /// The worker by the name that it has in metrics and in the admin API.
    pub worker: &'a str,
    /// What is asked of it.
    pub url: &'a Url,
    /// 1 is the first.
    pub attempt: u32,
    /// Where its pair meets; `None` on a regular worker.
    pub room: Option<u64>,
}

/// Where the legs of a request begin.
#[derive(Debug, Clone, Default)]
pub struct LegTraces(Option<(SdkTracer, Context)>);

impl LegTraces {
    /// Below the span that `request` names.
    pub(super) fn of(tracer: &SdkTracer, request: &Context) -> Self {
        Self(Some((tracer.clone(), request.clone())))
    }

    /// A leg that is about to be sent.
    pub fn leg(&self, start: &LegStart<'_>) -> LegTrace {
        match &self.0 {
            Some((tracer, request)) => LegTrace::start(tracer, request, start),
            None => LegTrace::default(),
        }
    }
}

/// A leg's span. It ends once somebody says how, or when this is dropped: then the leg was cancelled.
#[derive(Debug, Default)]
pub struct LegTrace(Option<Box<Live>>);

#[derive(Debug)]
struct Live {
    span: Span,
    outcome: &'static str,
}

impl LegTrace {
    fn start(tracer: &SdkTracer, request: &Context, start: &LegStart<'_>) -> Self {
        // The conventions would name it POST; in a waterfall of two legs the role is what one looks for.
        let builder = SpanBuilder::from_name(start.role.as_str())
            .with_kind(SpanKind::Client)
            .with_attributes(attributes(start));
        Self(Some(Box::new(Live {
            span: tracer.build_with_context(builder, request),
            outcome: "cancelled",
        })))
    }

    /// Makes the leg the parent of what its worker records. Leaves the headers alone where nothing is recorded.
    pub fn inject(&self, headers: &mut HeaderMap) {
        if let Some(live) = &self.0 {
            let span = live.span.span_context().clone();
            context::put(&Context::new().with_remote_span_context(span), headers);
        }
    }

    /// The first token of the answer is on its way to the client.
    pub fn first_token(&mut self) {
        if let Some(live) = &mut self.0 {
            live.span.add_event("first_token", Vec::new());
        }
    }

    /// The worker has done what it was asked.
    pub fn completed(&mut self) {
        if let Some(mut live) = self.0.take() {
            live.outcome = "completed";
        }
    }

    /// The leg failed: the kind as in metrics, and the status that the failure stands for where it has one.
    pub fn failed(&mut self, kind: &'static str, status: Option<StatusCode>) {
        let Some(mut live) = self.0.take() else {
            return;
        };
        live.outcome = "failed";
        live.span.set_attribute(KeyValue::new("error.type", kind));
        live.span.set_status(match status {
            Some(status) => Status::error(format!("{kind}: {status}")),
            None => Status::error(kind),
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.span
            .set_attribute(KeyValue::new("adaptive_router.outcome", self.outcome));
        self.span.end();
    }
}

fn attributes(start: &LegStart<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("url.full", start.url.as_str().to_owned()),
        KeyValue::new("adaptive_router.worker", start.worker.to_owned()),
        KeyValue::new("adaptive_router.role", start.role.as_str()),
        KeyValue::new("adaptive_router.attempt", i64::from(start.attempt)),
    ];
    if let Some(host) = start.url.host_str() {
        attributes.push(KeyValue::new("server.address", host.to_owned()));
    }
    if let Some(port) = start.url.port_or_known_default() {
        attributes.push(KeyValue::new("server.port", i64::from(port)));
    }
    if let Some(room) = start.room.and_then(|room| i64::try_from(room).ok()) {
        attributes.push(KeyValue::new("adaptive_router.bootstrap_room", room));
    }
    attributes
}
