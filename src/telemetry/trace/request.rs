//! The span of a request, and of its time in the queue.

use http::{HeaderMap, StatusCode};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use super::context;
use super::leg::{LegStart, LegTrace};

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
    outcome: &'static str,
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
            outcome: "client_gone",
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

    /// A leg of it, about to be sent.
    pub fn leg(&self, start: &LegStart<'_>) -> LegTrace {
        match &self.0 {
            Some(live) => LegTrace::start(&live.tracer, &live.context, start),
            None => LegTrace::off(),
        }
    }

    /// The status that the client gets. An error of the server's is one of the span's too; an error of the client's is
    /// not, by the semantic conventions.
    pub fn answered(&mut self, status: StatusCode) {
        let Some(live) = &mut self.0 else { return };
        live.span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status.as_u16()),
        ));
        if status.is_server_error() {
            live.fail(status.as_str().to_owned(), "answered with an error");
        }
    }

    /// The answer that had begun could not be ended well.
    pub fn broke(&mut self) {
        if let Some(live) = &mut self.0 {
            live.fail(
                "broken_answer".to_owned(),
                "the answer broke after it had begun",
            );
        }
    }

    /// How it ended, should nothing else happen.
    pub fn ends(&mut self, outcome: &'static str) {
        if let Some(live) = &mut self.0 {
            live.outcome = outcome;
        }
    }
}

impl Live {
    fn fail(&mut self, kind: String, description: &'static str) {
        self.span.set_attribute(KeyValue::new("error.type", kind));
        self.span.set_status(Status::error(description));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.end();
        }
        self.span
            .set_attribute(KeyValue::new("adaptive_router.outcome", self.outcome));
        self.span.end();
    }
}
