//! One client: asks, reads, checks, and asks again on the same connection.

use super::{
    Window,
    connection::{Connection, Target},
    question::Question,
    reading::{self, Event, Reading},
    tally::Tally,
};
use crate::load::Failure;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use simulated_worker::stamp;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A client that found nobody waits, so that a router in trouble isn't met by a storm.
const PAUSE: Duration = Duration::from_millis(20);

/// A request that takes longer has failed: no answer of a measurement takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Client {
    pub(super) target: Arc<Target>,
    pub(super) questions: Arc<[Question]>,
    /// Which question it begins with.
    pub(super) first: usize,
    pub(super) streamed: bool,
    pub(super) tokens: u32,
    pub(super) window: Arc<Window>,
    pub(super) tally: Arc<Mutex<Tally>>,
    pub(super) stop: CancellationToken,
    pub(super) waits: Duration,
}

impl Client {
    pub(super) async fn run(self) {
        tokio::select! {
            () = sleep(self.waits) => {}
            () = self.stop.cancelled() => {}
        }
        let mut kept = None;
        // The clients go round the questions from places far apart.
        let mut place = self.first.wrapping_mul(self.questions.len() / 2 + 1);
        while !self.stop.is_cancelled() {
            let question = &self.questions[place % self.questions.len()];
            place = place.wrapping_add(1);
            let asked = timeout(PATIENCE, self.ask(kept.take(), question)).await;
            match asked.unwrap_or(Err(Failure::Timeout)) {
                Ok(connection) => {
                    kept = Some(connection);
                    self.tally.lock().right += 1;
                }
                Err(failure) => {
                    self.tally.lock().failed(failure);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Asks once; gives the connection back where it can be used again.
    async fn ask(
        &self,
        kept: Option<Connection>,
        question: &Question,
    ) -> Result<Connection, Failure> {
        let mut connection = match kept {
            Some(connection) => connection,
            None => self
                .target
                .connect()
                .await
                .map_err(|_| Failure::Connection)?,
        };
        let sent = Instant::now();
        let response = connection.post(&self.target, question.body.clone()).await?;
        let body = response.into_body();
        if self.streamed {
            self.read_stream(body, sent, question).await?;
        } else {
            let body = body.collect().await.map_err(|_| Failure::Broken)?;
            reading::whole(question.name, self.tokens, &body.to_bytes())?;
        }
        if self.window.is_open() {
            self.tally.lock().whole(sent.elapsed());
            self.window.requests.fetch_add(1, Ordering::Relaxed);
        }
        Ok(connection)
    }

    async fn read_stream(
        &self,
        mut body: Incoming,
        sent: Instant,
        question: &Question,
    ) -> Result<(), Failure> {
        let mut reading = Reading::new(question.name, self.tokens);
        let mut last = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Failure::Broken)?;
            let Some(piece) = frame.data_ref() else {
                continue;
            };
            let (now, now_ns) = (Instant::now(), stamp::now_ns());
            let counts = self.window.is_open();
            let mut tokens = 0;
            let mut tally = self.tally.lock();
            reading.push(piece, |event| match event {
                Event::Token { written_ns } => {
                    tokens += 1;
                    if counts {
                        tally.on_the_way(now, now_ns.saturating_sub(written_ns));
                        match last {
                            None => tally.first_token(now - sent),
                            Some(last) => tally.between_tokens(now - last),
                        }
                    }
                    last = Some(now);
                }
                Event::Other => {}
            })?;
            if counts {
                self.window.events.fetch_add(tokens, Ordering::Relaxed);
            }
        }
        reading.check()
    }
}

/// An answer that is held open without being read, and what it comes by.
pub(super) struct HeldStream {
    _connection: Connection,
    _body: Incoming,
}

/// Opens a stream, reads its first token, and holds it.
pub(super) async fn open_and_hold(
    target: &Target,
    question: &Question,
) -> Result<HeldStream, Failure> {
    let opened = timeout(PATIENCE, async {
        let mut connection = target.connect().await.map_err(|_| Failure::Connection)?;
        let response = connection.post(target, question.body.clone()).await?;
        let mut body = response.into_body();
        let mut reading = Reading::new(question.name, u32::MAX);
        let mut begun = false;
        while !begun {
            let frame = body.frame().await.ok_or(Failure::Incomplete)?;
            let frame = frame.map_err(|_| Failure::Broken)?;
            if let Some(piece) = frame.data_ref() {
                reading.push(piece, |event| begun |= matches!(event, Event::Token { .. }))?;
            }
        }
        Ok(HeldStream {
            _connection: connection,
            _body: body,
        })
    });
    opened.await.unwrap_or(Err(Failure::Timeout))
}
