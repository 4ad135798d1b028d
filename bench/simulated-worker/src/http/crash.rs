//! A worker whose scheduler died: what runs breaks, and nothing is answered any more.

use super::reset;
use crate::engine::Engine;
use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures_util::StreamExt as _;
use std::sync::Arc;

/// Lets a request through for as long as the worker lives.
pub(crate) async fn unless_crashed(
    State(engine): State<Arc<Engine>>,
    request: Request,
    next: Next,
) -> Response {
    if engine.has_crashed() {
        return reset::response();
    }
    tokio::select! {
        biased;
        () = engine.crashed() => reset::response(),
        response = next.run(request) => response.map(|body| broken_by_crash(body, engine)),
    }
}

fn broken_by_crash(body: Body, engine: Arc<Engine>) -> Body {
    let pieces = body.into_data_stream();
    let frames = futures_util::stream::unfold(Some((engine, pieces)), |state| async {
        let (engine, mut pieces) = state?;
        tokio::select! {
            biased;
            () = engine.crashed() => Some((Err(axum::Error::new(reset::ConnectionReset)), None)),
            piece = pieces.next() => Some((piece?, Some((engine, pieces)))),
        }
    });
    Body::from_stream(frames)
}
