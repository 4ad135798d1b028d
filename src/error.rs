//! The JSON shape of an error that the router itself makes.
//!
//! It is the peer's, so that clients that read it go on working: the type is the status's own reason, the code is for
//! programs, the message for people.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

/// Repeats the code, for proxies and logs that see no body.
pub const ERROR_CODE: HeaderName = HeaderName::from_static("x-smg-error-code");

pub fn error_response(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "error": { "type": kind, "code": code, "message": message } });
    let mut response = (status, Json(body)).into_response();
    if let Ok(value) = HeaderValue::from_str(code) {
        response.headers_mut().insert(ERROR_CODE, value);
    }
    response
}
