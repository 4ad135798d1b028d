//! W3C trace context in HTTP headers: `traceparent` and `tracestate`.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;

const HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// The span that the sender of `headers` names as the parent; none where they name none or a malformed one.
pub(super) fn of_sender(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Read(headers))
}

/// Makes the span in `context` the parent of whatever the receiver of `headers` does. What was passed on from the
/// client goes: the worker's parent is the leg, not the client's span.
pub(super) fn put(context: &Context, headers: &mut HeaderMap) {
    for name in HEADERS {
        headers.remove(name);
    }
    TraceContextPropagator::new().inject_context(context, &mut Written(headers));
}

struct Read<'a>(&'a HeaderMap);

impl Extractor for Read<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Written<'a>(&'a mut HeaderMap);

impl Injector for Written<'_> {
    fn set(&mut self, key: &str, value: String) {
        // A trace without vendor state has an empty one here, which is no legal header.
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt as _;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn what_was_read_is_written_again() {
        let sent = headers(&[("traceparent", PARENT), ("tracestate", "vendor=1")]);
        let mut passed = headers(&[("traceparent", "old"), ("tracestate", "old")]);
        put(&of_sender(&sent), &mut passed);
        assert_eq!(passed, sent);
    }

    #[test]
    fn a_malformed_parent_is_no_parent() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            let context = of_sender(&headers(&[("traceparent", text)]));
            assert!(!context.has_active_span(), "{text}");
        }
    }

    #[test]
    fn no_state_leaves_no_empty_header() {
        let mut passed = headers(&[("tracestate", "the clients")]);
        put(
            &of_sender(&headers(&[("traceparent", PARENT)])),
            &mut passed,
        );
        assert_eq!(passed, headers(&[("traceparent", PARENT)]));
    }
}
