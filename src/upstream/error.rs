//! What can go wrong between the router and a worker, below HTTP's own statuses.

use std::error::Error;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamError {
    /// No connection: refused, unreachable, name unknown, or not within the connect limit.
    Connect(String),
    /// The connection broke before the response head.
    Send(String),
    /// The connection broke inside the response body.
    Body(String),
}

impl UpstreamError {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Send(_) => "send",
            Self::Body(_) => "body",
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause) => write!(f, "could not connect: {cause}"),
            Self::Send(cause) => write!(f, "the connection broke before an answer: {cause}"),
            Self::Body(cause) => write!(f, "the connection broke inside the answer: {cause}"),
        }
    }
}

impl Error for UpstreamError {}

impl From<reqwest::Error> for UpstreamError {
    fn from(error: reqwest::Error) -> Self {
        // The innermost cause says what happened ("Connection refused"); the outer ones repeat the URL.
        let cause = innermost(&error);
        if error.is_connect() {
            Self::Connect(cause)
        } else if error.is_body() || error.is_decode() {
            Self::Body(cause)
        } else {
            Self::Send(cause)
        }
    }
}

pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
