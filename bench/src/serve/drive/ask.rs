//! One request on the wire.

use super::ahead::Ready;
use crate::{
    load::Failure,
    serve::{
        answer::{Answer, Problem, Reading},
        body::Asked,
        record::Ended,
    },
    wire::{Endpoint, Events, HttpClient, Prepared, UrlError},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use std::{error::Error, time::Duration};
use tokio::time::Instant;

/// How long a request may take, as long as vLLM's client lets one.
const LONGEST_REQUEST: Duration = Duration::from_hours(6);

/// The largest event of a stream: `/generate` repeats the text, of which this is a million tokens.
const LARGEST_EVENT: usize = 8 << 20;

/// Of an answer that is no stream, so much is read for what it says.
const LARGEST_REFUSAL: usize = 64 << 10;

pub(super) struct Asker {
    http: HttpClient,
    to: Prepared,
    endpoint: Endpoint,
    ignore_eos: bool,
    keep_text: bool,
}

impl Asker {
    pub(super) fn new(
        base_url: &str,
        path: &str,
        headers: HeaderMap,
        asked: &Asked,
        keep_text: bool,
    ) -> Result<Self, UrlError> {
        Ok(Self {
            http: HttpClient::new(),
            to: Prepared::new(base_url, path, headers)?,
            endpoint: asked.endpoint,
            ignore_eos: asked.ignore_eos,
            keep_text,
        })
    }

    /// Sends a request of a run that began then, and reads the answer to its end.
    pub(super) async fn ask(&self, ready: Ready, began: Instant) -> Ended {
        let sent = Instant::now();
        // Without a moment of its own a request is due when there is room for it.
        let due = ready.due.map_or(sent, |due| began + due);
        let (number, prompt_tokens) = (ready.number, ready.prompt_tokens);
        let answer = tokio::time::timeout(LONGEST_REQUEST, self.answer(ready, due)).await;
        let late = || format!("no whole answer within {LONGEST_REQUEST:?}");
        Ended {
            number,
            sent: sent.duration_since(began),
            late: sent.saturating_duration_since(due),
            prompt_tokens,
            result: answer.unwrap_or_else(|_| Err(Problem::new(Failure::Timeout, &late()))),
        }
    }

    async fn answer(&self, ready: Ready, due: Instant) -> Result<Answer, Problem> {
        let must_have = self.ignore_eos.then_some(ready.output_tokens);
        let response = self.http.post(&self.to, ready.body).await;
        let response =
            response.map_err(|error| Problem::new(Failure::Connection, &whole(&error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status, response.into_body()).await);
        }
        self.read(response.into_body(), due).await?.end(must_have)
    }

    async fn read<B>(&self, mut body: B, due: Instant) -> Result<Reading, Problem>
    where
        B: http_body::Body<Data = Bytes, Error: Error> + Unpin,
    {
        let mut events = Events::default();
        let mut reading = Reading::new(self.endpoint, self.keep_text);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Problem::new(Failure::Broken, &whole(&error)))?;
            let at = due.elapsed();
            let Some(data) = frame.data_ref() else {
                continue;
            };
            events.push(data);
            while let Some(event) = events.next() {
                reading.event(event, at)?;
            }
            if events.unread() > LARGEST_EVENT {
                return Err(Problem::new(
                    Failure::Garbled,
                    "an event of more than 8 MiB",
                ));
            }
        }
        if events.is_empty() {
            Ok(reading)
        } else {
            Err(Problem::new(
                Failure::Incomplete,
                "the last event has no end",
            ))
        }
    }
}

async fn refused<B>(status: StatusCode, body: B) -> Problem
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let said = Limited::new(body, LARGEST_REFUSAL).collect().await;
    let said = said.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    Problem::new(
        Failure::Status(status.as_u16()),
        said.unwrap_or_default().trim(),
    )
}

/// An error with its causes: the outermost says little.
fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
