//! The HTTP side of the load: one request, its answer, and when the parts of it came.

use super::{
    answer::{Events, Received},
    question::Question,
    report::Failure,
    tally::Timings,
};
use bytes::Bytes;
use http::{Method, Request, Uri, header, uri};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::fmt;
use tokio::time::Instant;

/// Why a load can't be sent.
#[derive(Debug)]
pub enum LoadError {
    Url(uri::InvalidUri),
    NotPlainHttp,
    ClientDied,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "the url is not valid: {error}"),
            Self::NotPlainHttp => f.write_str("the url must start with http://"),
            Self::ClientDied => f.write_str("a client panicked"),
        }
    }
}

impl std::error::Error for LoadError {}

pub(super) struct Client {
    base: String,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self, LoadError> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed: Uri = base.parse().map_err(LoadError::Url)?;
        if parsed.scheme_str() != Some("http") {
            return Err(LoadError::NotPlainHttp);
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new()).build(connector);
        Ok(Self { base, http })
    }

    /// Asks, reads the answer to its end and checks it.
    pub(super) async fn ask(&self, question: &Question) -> Result<Timings, Failure> {
        let sent = Instant::now();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{}", self.base, question.endpoint.path()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(question.body.clone()))
            .map_err(|_| Failure::Connection)?;
        let response = self.http.request(request).await;
        let response = response.map_err(|_| Failure::Connection)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Failure::Status(status.as_u16()));
        }
        if question.stream {
            stream(response.into_body(), question, sent).await
        } else {
            let body = response.into_body().collect().await;
            let body = body.map_err(|_| Failure::Broken)?.to_bytes();
            Received::whole(question.endpoint, &body)?.check(question)?;
            Ok(Timings::whole(sent.elapsed()))
        }
    }
}

async fn stream<B>(mut body: B, question: &Question, sent: Instant) -> Result<Timings, Failure>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut events = Events::default();
    let mut received = Received::default();
    let mut timings = Timings::streamed();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Broken)?;
        let now = sent.elapsed();
        timings.read();
        events.push(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(event) = events.next() {
            let tokens = received.event(question.endpoint, event)?;
            timings.event(now, tokens);
        }
    }
    if !events.is_empty() {
        return Err(Failure::Incomplete);
    }
    received.check(question)?;
    timings.ended(sent.elapsed());
    Ok(timings)
}
