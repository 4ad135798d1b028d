//! A GET or a POST whose answer is a short text.

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Full, Limited};
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
    http: Client<HttpConnector, Full<Bytes>>,
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
        self.text(Request::get(url), Bytes::new()).await
    }

    /// The same of a POST with a JSON body.
    pub(crate) async fn post_json(&self, url: &str, body: String) -> Result<String, GetError> {
        let url: Uri = url.parse().map_err(GetError::Url)?;
        let request = Request::post(url).header(header::CONTENT_TYPE, "application/json");
        self.text(request, body.into()).await
    }

    async fn text(&self, request: http::request::Builder, body: Bytes) -> Result<String, GetError> {
        let request = request
            .body(Full::new(body))
            .expect("the URL was parsed and the header is a good one");
        let response = self
            .http
            .request(request)
            .await
            .map_err(GetError::NoAnswer)?;
        let status = response.status();
        if !status.is_success() {
            return Err(GetError::Status(status));
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(GetError::Body)?.to_bytes();
        String::from_utf8(body.into()).map_err(|_| GetError::NotText)
    }
}
