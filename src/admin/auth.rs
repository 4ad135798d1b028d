//! Who may call: keys in `Authorization: Bearer`, compared in constant time.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq as _;

use crate::config::{AuthSettings, Config, ControlPlaneRole};
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

/// Middleware of the control plane: the API key, or a control-plane key of an administrator. Open only where neither
/// kind of key nor a token issuer is set.
pub async fn require_admin(
    State(config): State<Arc<Config>>,
    request: Request,
    next: Next,
) -> Response {
    let auth = &config.auth;
    let Some(caller) = administrator(auth, request.headers()) else {
        let message = if auth.jwt_configured {
            "a valid key is needed as a bearer token; JSON web tokens are not verified by this router"
        } else {
            "a valid key is needed as a bearer token"
        };
        return error_response(StatusCode::UNAUTHORIZED, "unauthorized", message);
    };
    if auth.audit {
        tracing::info!(caller, method = %request.method(), path = request.uri().path(), "control plane call");
    }
    next.run(request).await
}

/// Who calls, by the id of the key and never the key.
fn administrator<'a>(auth: &'a AuthSettings, headers: &HeaderMap) -> Option<&'a str> {
    let open =
        auth.api_key.is_none() && auth.control_plane_api_keys.is_empty() && !auth.jwt_configured;
    if open {
        return Some("anonymous");
    }
    if auth
        .api_key
        .as_deref()
        .is_some_and(|key| presents(headers, key))
    {
        return Some("api-key");
    }
    auth.control_plane_api_keys
        .iter()
        .find(|key| key.role == ControlPlaneRole::Admin && presents(headers, &key.key))
        .map(|key| key.id.as_str())
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
