//! A GET whose answer is a short text.

use bytes::Bytes;
use http::{StatusCode, Uri, uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{error::Error, fmt};

/// Longest answer: the metrics of a router with hundreds of workers fit ten times over.
const LONGEST: usize = 16 << 20;

/// Why there is no text.
#[derive(Debug)]
pub enum GetError {
    Url(uri::InvalidUri),
    NoAnswer(legacy::Error),
    Status(StatusCode),
    Body(Box<dyn Error + Send + Sync>),
    NotText,
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "the url is not valid: {error}"),
            Self::NoAnswer(error) => write!(f, "no answer: {error}"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Body(error) => write!(f, "the answer broke off: {error}"),
            Self::NotText => f.write_str("the answer is not UTF-8"),
        }
    }
}

impl Error for GetError {}

pub(crate) struct Getter {
    http: Client<HttpConnector, Empty<Bytes>>,
}

impl Getter {
    pub(crate) fn new() -> Self {
        Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// The body of a successful answer.
    pub(crate) async fn get(&self, url: &str) -> Result<String, GetError> {
        let url: Uri = url.parse().map_err(GetError::Url)?;
        let response = self.http.get(url).await.map_err(GetError::NoAnswer)?;
        let status = response.status();
        if !status.is_success() {
            return Err(GetError::Status(status));
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(GetError::Body)?.to_bytes();
        String::from_utf8(body.into()).map_err(|_| GetError::NotText)
    }
}
