//! Errors in the shapes of SGLang, of which it has several.
//!
//! `/generate` wraps the message in `{"error": {...}}`, the OpenAI endpoints answer a flat `{"object": "error", ...}`,
//! and so does the web framework for what it refuses itself. Inside a stream the status is 200 and each endpoint has a
//! form of its own; those are in the endpoints' files.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The body is no JSON, or not of the endpoint's form: refused by the framework.
    Malformed(String),
    /// The endpoint itself objects.
    Invalid(String),
}

impl Refusal {
    pub(crate) fn malformed(error: &serde_json::Error) -> Self {
        Self::Malformed(format!("1 validation error: {error}"))
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Malformed(message) | Self::Invalid(message) => message,
        }
    }
}

pub(crate) fn flat(status: StatusCode, kind: &str, message: &str) -> Response {
    respond(status, &flat_value(status, kind, message))
}

pub(crate) fn flat_value(status: StatusCode, kind: &str, message: &str) -> Value {
    json!({
        "object": "error",
        "message": message,
        "type": kind,
        "param": null,
        "code": status.as_u16(),
    })
}

/// What the framework says to a body that it can't read.
pub(crate) fn malformed(message: &str) -> Response {
    flat(StatusCode::BAD_REQUEST, "Bad Request", message)
}

/// `/generate`'s own form.
pub(crate) fn nested(status: StatusCode, message: &str) -> Response {
    respond(status, &json!({"error": {"message": message}}))
}

/// The same form for every request that failed in the engine and isn't streamed.
pub(crate) fn failed(status: StatusCode, message: &str) -> Response {
    flat(status, status.as_str(), message)
}

pub(crate) fn refused_by_fault(status: u16, retry_after_s: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = failed(status, "refused by a simulated fault");
    if let Some(seconds) = retry_after_s {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The name that streamed OpenAI errors carry as their type.
pub(crate) fn status_name(status: StatusCode) -> String {
    status
        .canonical_reason()
        .unwrap_or("UNKNOWN")
        .to_ascii_uppercase()
        .replace(' ', "_")
}

fn respond(status: StatusCode, body: &Value) -> Response {
    json_response(status, body.to_string())
}

pub(crate) fn json_response(status: StatusCode, body: impl Into<Body>) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body.into()).into_response()
}
