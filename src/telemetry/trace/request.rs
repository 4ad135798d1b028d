//! The span of a request, and of its time in the queue.

use http::{HeaderMap, StatusCode};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use super::context;
use super::leg::LegTraces;
use crate::telemetry::Outcome;

/// A model's name is the client's own text: this much of it is kept.
const LONGEST_MODEL: usize = 128;

/// A request's span, which ends when this is dropped: by then somebody has said how it ended, or the client left.
#[derive(Debug, Default)]
pub struct RequestTrace(Option<Box<Live>>);

#[derive(Debug)]
struct Live {
    tracer: SdkTracer,
    span: Span,
    /// Names the span as the parent of what belongs to the request.
    context: Context,
    queue: Option<Span>,
    outcome: Outcome,
}

impl RequestTrace {
    /// Records nothing.
    pub const fn off() -> Self {
        Self(None)
    }

    pub(super) fn start(tracer: &SdkTracer, route: &'static str, headers: &HeaderMap) -> Self {
        let builder = SpanBuilder::from_name(format!("POST {route}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", "POST"),
                KeyValue::new("http.route", route),
            ]);
        let span = tracer.build_with_context(builder, &context::of_sender(headers));
        Self(Some(Box::new(Live {
            tracer: tracer.clone(),
            context: Context::new().with_remote_span_context(span.span_context().clone()),
            span,
            queue: None,
            outcome: Outcome::ClientGone,
        })))
    }

    /// The model that the client asks for.
    pub fn model(&mut self, model: Option<&str>) {
        if let (Some(live), Some(model)) = (&mut self.0, model) {
            let model: String = model.chars().take(LONGEST_MODEL).collect();
            live.span
                .set_attribute(KeyValue::new("gen_ai.request.model", model));
        }
    }

    /// It waits to be let in.
    pub fn queued(&mut self) {
        if let Some(live) = &mut self.0 {
            let builder = SpanBuilder::from_name("queue");
            live.queue = Some(live.tracer.build_with_context(builder, &live.context));
        }
    }

    /// It was let in, or refused.
    pub fn queue_ended(&mut self) {
        if let Some(live) = &mut self.0
            && let Some(mut queue) = live.queue.take()
        {
            queue.end();
        }
    }

    /// Where its legs begin.
    pub fn legs(&self) -> LegTraces {
        match &self.0 {
            Some(live) => LegTraces::of(&live.tracer, &live.context),
            None => LegTraces::default(),
        }
    }

    /// The status that the client gets.
    pub fn answered(&mut self, status: StatusCode) {
        if let Some(live) = &mut self.0 {
            let status = i64::from(status.as_u16());
            live.span
                .set_attribute(KeyValue::new("http.response.status_code", status));
        }
    }

    /// The client gets an error, which it can tell by `code`. By the semantic conventions an error of the client's own
    /// is none of the server's span.
    pub fn refused(&mut self, status: StatusCode, code: &'static str) {
        self.answered(status);
        if let Some(live) = &mut self.0
            && status.is_server_error()
        {
            live.fail(code, "answered with an error");
        }
    }

    /// The answer that had begun could not be ended well.
    pub fn broke(&mut self) {
        if let Some(live) = &mut self.0 {
            live.fail("broken_answer", "the answer broke after it had begun");
        }
    }

    /// How it ended, should nothing else happen.
    pub fn ends(&mut self, outcome: Outcome) {
        if let Some(live) = &mut self.0 {
            live.outcome = outcome;
        }
    }
}

impl Live {
    fn fail(&mut self, kind: &'static str, description: &'static str) {
        self.span.set_attribute(KeyValue::new("error.type", kind));
        self.span.set_status(Status::error(description));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.end();
        }
        let outcome = self.outcome.as_str();
        self.span
            .set_attribute(KeyValue::new("adaptive_router.outcome", outcome));
        self.span.end();
    }
}
