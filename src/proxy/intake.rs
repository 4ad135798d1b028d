//! Reading a request's body: no longer than it may be, within the memory that there is for bodies, and no slower than a
//! client may send.
//!
//! A body that says how long it is has its memory before a byte of it is read, or is refused then. One that doesn't gets
//! it as it comes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::admission::Refused;
use super::error::RouteError;
use super::memory::{BodyMemory, Held, NoMemory};

/// What has to come within the limit, each time: a body of any length may take its time, but none can be dripped in. With
/// the default of 60 s that is 17 KiB a second.
const STEP: usize = 1024 * 1024;

/// What is held at first for a body that doesn't say how long it is: most requests fit.
const FIRST: usize = 16 * 1024;

#[derive(Debug, Clone, Copy)]
pub struct Intake<'a> {
    pub memory: &'a Arc<BodyMemory>,
    pub longest: usize,
    /// For each [`STEP`].
    pub limit: Duration,
}

impl Intake<'_> {
    pub async fn read(self, body: Body) -> Result<Bytes, RouteError> {
        let announced = body.size_hint().exact();
        let announced = announced.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let longest = self.longest.min(self.memory.most());
        if announced.is_some_and(|length| length > longest) {
            return Err(too_long(longest));
        }
        let held = self.memory.hold(announced.unwrap_or(FIRST.min(longest)))?;
        let mut reading = Reading {
            body,
            read: 0,
            due: Instant::now() + self.limit,
            limit: self.limit,
        };
        let Some(first) = reading.next().await? else {
            return Ok(Bytes::new());
        };
        // As a rule the body comes in one piece, and stays where it is.
        if announced == Some(first.len()) && reading.body.is_end_stream() {
            return Ok(held.over(first));
        }
        let mut growing = Growing::new(held, longest);
        let mut piece = Some(first);
        while let Some(bytes) = piece {
            growing.take(&bytes)?;
            piece = reading.next().await?;
        }
        Ok(growing.done())
    }
}

/// A body that comes in pieces, and by when the next step has to have come.
struct Reading {
    body: Body,
    read: usize,
    due: Instant,
    limit: Duration,
}

impl Reading {
    /// The next piece with anything in it; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, RouteError> {
        loop {
            let frame = tokio::time::timeout_at(self.due, self.body.frame());
            let frame = frame.await.map_err(|_| too_slow(self.limit))?;
            let Some(frame) = frame.transpose().map_err(|error| broken(&error))? else {
                return Ok(None);
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            if (self.read + data.len()) / STEP > self.read / STEP {
                self.due = Instant::now() + self.limit;
            }
            self.read += data.len();
            return Ok(Some(data));
        }
    }
}

/// The pieces in one, and the memory that it takes.
struct Growing {
    held: Held,
    bytes: Vec<u8>,
    longest: usize,
}

impl Growing {
    fn new(held: Held, longest: usize) -> Self {
        let bytes = Vec::with_capacity(held.bytes());
        Self {
            held,
            bytes,
            longest,
        }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), NoRoom> {
        let length = self.bytes.len() + piece.len();
        if length > self.longest {
            return Err(NoRoom::Ever(self.longest));
        }
        if length > self.held.bytes() {
            // By doubling, so that few bytes are moved; back to what they are in the end.
            let capacity = (2 * self.held.bytes()).clamp(length, self.longest);
            self.held
                .grow_to(capacity)
                .map_err(|NoMemory| NoRoom::Now)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn done(mut self) -> Bytes {
        self.bytes.shrink_to_fit();
        self.held.shrink_to(self.bytes.len());
        self.held.over(self.bytes)
    }
}

/// Why a body can't grow.
enum NoRoom {
    Now,
    Ever(usize),
}

impl From<NoRoom> for RouteError {
    fn from(none: NoRoom) -> Self {
        match none {
            NoRoom::Now => NoMemory.into(),
            NoRoom::Ever(longest) => too_long(longest),
        }
    }
}

impl From<NoMemory> for RouteError {
    fn from(NoMemory: NoMemory) -> Self {
        Self::Refused(Refused::NoMemory)
    }
}

fn too_long(longest: usize) -> RouteError {
    RouteError::Body {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        message: format!(
            "the request body is longer than {longest} bytes (--max-payload-size, --max-request-memory)"
        ),
    }
}

fn too_slow(limit: Duration) -> RouteError {
    RouteError::Body {
        status: StatusCode::REQUEST_TIMEOUT,
        message: format!(
            "the request body did not come within {} s (--client-body-timeout-secs)",
            limit.as_secs_f64()
        ),
    }
}

fn broken(error: &axum::Error) -> RouteError {
    RouteError::Body {
        status: StatusCode::BAD_REQUEST,
        message: format!("the request body broke off: {error}"),
    }
}

#[cfg(test)]
mod tests;
