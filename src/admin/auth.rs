//! Who may call: keys in `Authorization: Bearer`, compared in constant time.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq as _;

use crate::config::Config;
use crate::error::error_response;

/// Middleware of the inference routes: the API key, where one is set.
pub async fn require_api_key(
    State(config): State<Arc<Config>>,
    request: Request,
    next: Next,
) -> Response {
    match &config.auth.api_key {
        Some(key) if !presents(request.headers(), key) => error_response(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a valid API key is needed as a bearer token",
        ),
        _ => next.run(request).await,
    }
}

fn presents(headers: &HeaderMap, key: &str) -> bool {
    bearer(headers).is_some_and(|given| given.as_bytes().ct_eq(key.as_bytes()).into())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}
