//! The HTTP side of the load: one request, its answer, and when the parts of it came.

use super::{answer::Received, question::Question, report::Failure, tally::Timings};
use crate::wire::{Endpoint, Events, HttpClient, Prepared, UrlError};
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use std::fmt;
use tokio::time::Instant;

/// Why a load can't be sent.
#[derive(Debug)]
pub enum LoadError {
    Url(UrlError),
    ClientDied,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::ClientDied => f.write_str("a client panicked"),
        }
    }
}

impl std::error::Error for LoadError {}

pub(super) struct Client {
    /// By endpoint, in the order of [`Endpoint::ALL`].
    endpoints: [Prepared; 3],
    http: HttpClient,
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self, LoadError> {
        let [generate, completions, chat] =
            Endpoint::ALL.map(|endpoint| Prepared::new(url, endpoint.path(), HeaderMap::new()));
        let endpoints = (|| Ok([generate?, completions?, chat?]))().map_err(LoadError::Url)?;
        Ok(Self {
            endpoints,
            http: HttpClient::new(),
        })
    }

    /// Asks, reads the answer to its end and checks it.
    pub(super) async fn ask(&self, question: &Question) -> Result<Timings, Failure> {
        let sent = Instant::now();
        let [generate, completions, chat] = &self.endpoints;
        let to = match question.endpoint {
            Endpoint::Generate => generate,
            Endpoint::Completions => completions,
            Endpoint::Chat => chat,
        };
        let response = self.http.post(to, question.body.clone()).await;
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
