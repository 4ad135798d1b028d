//! One request, its answer read to the end, and what that end was.

use super::outcome::Outcome;
use crate::{
    load::{Failure, Question, Received},
    wire::{Events, HttpClient, Prepared},
};
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub outcome: Outcome,
    pub took: Duration,
}

/// Tokens after which a stream is under way.
const UNDER_WAY: u32 = 4;

/// Asks, and waits no longer than `limit`. `under_way` counts the streams that have brought tokens.
pub async fn ask(
    http: &HttpClient,
    to: &Prepared,
    question: &Question,
    under_way: &watch::Sender<usize>,
    limit: Duration,
) -> Asked {
    let sent = Instant::now();
    let answered = async {
        match http.post(to, question.body.clone()).await {
            Err(_) => Outcome::NoHead,
            Ok(response) => read(response, question, under_way).await,
        }
    };
    let outcome = timeout(limit, answered).await.unwrap_or(Outcome::Hang);
    Asked {
        outcome,
        took: sent.elapsed(),
    }
}

async fn read(
    response: Response<Incoming>,
    question: &Question,
    under_way: &watch::Sender<usize>,
) -> Outcome {
    let status = response.status();
    if !status.is_success() {
        let body = response.into_body().collect().await;
        let readable = body.is_ok_and(|body| is_readable(&body.to_bytes()));
        return if readable {
            Outcome::Status(status.as_u16())
        } else {
            Outcome::UnreadableStatus(status.as_u16())
        };
    }
    if question.stream {
        return stream(response.into_body(), question, under_way).await;
    }
    let Ok(body) = response.into_body().collect().await else {
        return Outcome::Cut;
    };
    let received = Received::whole(question.endpoint, &body.to_bytes());
    match received.and_then(|received| received.check(question)) {
        Ok(()) => Outcome::Right,
        // A whole answer with status 200 whose content is an error.
        Err(failure) => flaw(failure, Outcome::Garbled),
    }
}

async fn stream(
    mut body: Incoming,
    question: &Question,
    under_way: &watch::Sender<usize>,
) -> Outcome {
    let mut events = Events::default();
    let mut received = Received::default();
    let mut tokens = 0;
    let mut error = false;
    let mut done = false;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return if error {
                Outcome::ErrorEvent
            } else {
                Outcome::Cut
            };
        };
        events.push(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(event) = events.next() {
            done |= event == b"[DONE]";
            if error {
                continue;
            }
            match received.event(question.endpoint, event) {
                Ok(new) => {
                    let before = tokens;
                    tokens += new;
                    if before < UNDER_WAY && tokens >= UNDER_WAY {
                        under_way.send_modify(|streams| *streams += 1);
                    }
                }
                Err(Failure::ErrorEvent) => error = true,
                Err(failure) => return flaw(failure, Outcome::Garbled),
            }
        }
    }
    match (error, done) {
        (true, true) => Outcome::ErrorThenDone,
        (true, false) => Outcome::ErrorEvent,
        (false, false) => Outcome::Cut,
        // What is left behind the end, or before it without being an event.
        (false, true) if !events.is_empty() => Outcome::Garbled,
        (false, true) => match received.check(question) {
            Ok(()) => Outcome::Right,
            Err(failure) => flaw(failure, Outcome::PassesAsWhole),
        },
    }
}

/// An answer that ended well by its HTTP and has this flaw.
fn flaw(failure: Failure, error: Outcome) -> Outcome {
    match failure {
        Failure::Incomplete | Failure::WrongFinish | Failure::WrongUsage => Outcome::PassesAsWhole,
        Failure::WrongText => Outcome::WrongText,
        Failure::ErrorEvent => error,
        Failure::Connection
        | Failure::Status(_)
        | Failure::Broken
        | Failure::Garbled
        | Failure::Timeout => Outcome::Garbled,
    }
}

/// JSON, or events of JSON: what a client library makes an error of.
fn is_readable(body: &Bytes) -> bool {
    let is_json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).is_ok();
    if is_json(body) {
        return true;
    }
    let mut events = Events::default();
    events.push(body);
    let mut some = false;
    while let Some(event) = events.next() {
        if event != b"[DONE]" && !is_json(event) {
            return false;
        }
        some = true;
    }
    some && events.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_readable_if_it_is_json_or_whole_events_of_it() {
        let table: [(&[u8], bool); 6] = [
            (br#"{"error": {"message": "no"}}"#, true),
            (b"data: {\"error\": 1}\n\n", true),
            (b"data: {\"error\": 1}\n\ndata: [DONE]\n\n", true),
            (b"data: {'error': 1}\n\n", false),
            (b"data: {\"error\": 1", false),
            (b"", false),
        ];
        for (body, readable) in table {
            let body = Bytes::from_static(body);
            assert_eq!(is_readable(&body), readable, "{body:?}");
        }
    }
}
