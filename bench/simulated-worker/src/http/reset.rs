//! Closing a connection without an answer.
//!
//! A handler can't reach its connection, but a body can break it: hyper drops a connection whose body fails, and when
//! the body fails at its first poll the head has not been flushed yet, so the client sees the connection close before
//! any byte. A caller in memory has no connection and gets the response itself; it is marked with
//! [`ConnectionReset`], which such a caller should turn into its own kind of broken connection.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use std::fmt;

/// Marks a response that stands for a connection closed before the head.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionReset;

impl fmt::Display for ConnectionReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection reset by a simulated fault")
    }
}

impl std::error::Error for ConnectionReset {}

pub(crate) fn response() -> Response {
    let broken = futures_util::stream::iter([Err::<Bytes, _>(ConnectionReset)]);
    let mut response = Response::new(Body::from_stream(broken));
    response.extensions_mut().insert(ConnectionReset);
    response
}
