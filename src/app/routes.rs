//! Every route, and what every request passes on its way to one.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::{Router, middleware};
use futures_util::FutureExt as _;
use http::header::{CONNECTION, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::admin::{self, AdminState};
use crate::error::{ERROR_CODE, error_response};
use crate::live::{self, Live};
use crate::proxy::{self, Proxy};
use crate::ui;

pub(super) fn main_port(proxy: &Arc<Proxy>, admin: AdminState, live: Live) -> Router {
    let config = Arc::clone(&proxy.config);
    let inference = proxy::routes(proxy).route_layer(middleware::from_fn_with_state(
        Arc::clone(&config),
        admin::auth::require_api_key,
    ));
    inference
        .merge(admin::routes(admin))
        .merge(ui::routes())
        .merge(live::routes(live))
        .fallback(proxy::not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(proxy), count))
        .layer(cors(&config.server.cors_allowed_origins))
}

/// Counts requests and responses. The path is the route's pattern, so that ids in paths make no series of their own.
async fn count(State(proxy): State<Arc<Proxy>>, request: Request, next: Next) -> Response {
    let received = Instant::now();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let path = matched.as_ref().map_or("unknown", MatchedPath::as_str);
    let method = method_label(&method);
    let http = &proxy.telemetry.metrics.http;
    http.received(method, path);
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = without_panic(next.run(request)).await;
    comes_back(&mut response);
    if chunked {
        // There may have been a length, too, by which somebody before this router takes the rest for a request of another
        // client (RFC 9112, 6.1); hyper takes the chunks' word and doesn't tell.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    let code = response.headers().get(ERROR_CODE);
    let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
    let status = response.status();
    http.responded(method, path, status.as_str(), code, received.elapsed());
    response
}

/// An answer also where the handler panics, so that the other requests go on. tower-http's layer for it boxes every
/// answer's body twice, which each token of a stream then passes.
async fn without_panic(answering: impl Future<Output = Response>) -> Response {
    let answered = AssertUnwindSafe(answering).catch_unwind().await;
    answered.unwrap_or_else(|panic| panicked(&*panic))
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        panic = said.unwrap_or("of an unknown kind"),
        "a request's handler panicked"
    );
    error_response(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "the router failed at this request; its log says more",
    )
}

/// Whoever is told that there is no room now is told when to come back, also where a worker said so without that.
fn comes_back(response: &mut Response) {
    let busy = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if busy.contains(&response.status()) {
        let soon = HeaderValue::from_static("1");
        response.headers_mut().entry(RETRY_AFTER).or_insert(soon);
    }
}

/// A method that clients make up makes no series.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
    ];
    const NAMES: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    let position = KNOWN.iter().position(|known| known == method);
    position.map_or("other", |position| NAMES[position])
}

/// The metrics port answers every path with the metrics, as the peer's does.
pub(super) fn metrics_port(proxy: Arc<Proxy>) -> Router {
    Router::new().fallback(move || {
        let text = proxy.metrics_text();
        async move {
            (
                [(http::header::CONTENT_TYPE, prometheus::TEXT_FORMAT)],
                text,
            )
        }
    })
}

/// Any origin unless some are named, as the peer has it.
fn cors(origins: &[String]) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods(tower_http::cors::Any)
        .allow_headers(tower_http::cors::Any);
    if origins.is_empty() {
        return layer.allow_origin(tower_http::cors::Any);
    }
    layer.allow_origin(AllowOrigin::list(
        origins.iter().filter_map(|origin| origin.parse().ok()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_without_what_it_said() {
        let answering = async {
            tokio::task::yield_now().await;
            panic!("a secret");
        };
        let response = without_panic(answering).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[ERROR_CODE], "internal_error");
        let body = axum::body::to_bytes(response.into_body(), 1000).await;
        assert!(!body.unwrap().escape_ascii().to_string().contains("secret"));
    }
}
