//! What the page at `/ui` shows, once a second: one task looks at everything, and whoever listens at `/ui/events` is sent
//! what it saw, after the last ten minutes in outline.

mod frame;
mod samples;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Router, middleware};
use futures_util::Stream;
use futures_util::stream::unfold;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admin::auth;
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::error::error_response;
use crate::telemetry::Telemetry;
use crate::workers::WorkerRegistry;

use frame::{Entry, Frame, Message, Point};
use samples::Samples;

const TICK: Duration = Duration::from_secs(1);

/// Points of the outline: ten minutes.
const HISTORY: usize = 600;

/// Pages that may listen at once: each costs a few kilobytes and a serialisation a second.
const LISTENERS: usize = 64;

/// Journal entries that a new listener is sent.
const ENTRIES: usize = 200;

/// The live picture. Cloning shares it.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    registry: Arc<WorkerRegistry>,
    telemetry: Arc<Telemetry>,
    config: Arc<Config>,
    clock: Clock,
    history: Mutex<VecDeque<Point>>,
    /// The newest picture; `None` before the first and after the end.
    newest: watch::Sender<Option<Arc<Frame>>>,
    places: Arc<Semaphore>,
    ended: CancellationToken,
}

impl Live {
    pub fn new(
        registry: Arc<WorkerRegistry>,
        telemetry: Arc<Telemetry>,
        config: Arc<Config>,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            registry,
            telemetry,
            config,
            clock,
            history: Mutex::default(),
            newest: watch::Sender::new(None),
            places: Arc::new(Semaphore::new(LISTENERS)),
            ended: CancellationToken::new(),
        }))
    }

    /// Ends every listener's stream, so that nobody waits for them.
    pub fn end(&self) {
        self.0.ended.cancel();
    }

    /// Looks once a second until `cancel`.
    pub async fn run(self, cancel: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut samples = Samples::default();
        let looks = async {
            loop {
                ticks.tick().await;
                self.look(&mut samples);
            }
        };
        cancel.run_until_cancelled(looks).await;
    }

    fn look(&self, samples: &mut Samples) {
        let Inner {
            registry,
            telemetry,
            config,
            clock,
            ..
        } = &*self.0;
        let now = clock.now();
        let set = registry.snapshot();
        samples.take(now, &set, telemetry);
        let paired = config.fleet.mode == Mode::Pd;
        let frame = Frame::of(now, clock, &set, telemetry, samples, paired);
        {
            let mut history = self.0.history.lock();
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back(frame.point());
        }
        self.0.newest.send_replace(Some(Arc::new(frame)));
    }
}

/// `/ui/events`, for whoever may see the workers.
pub fn routes(live: Live) -> Router {
    let config = Arc::clone(&live.0.config);
    Router::new()
        .route("/ui/events", get(events))
        .route_layer(middleware::from_fn_with_state(config, auth::require_admin))
        .with_state(live)
}

async fn events(State(live): State<Live>) -> Response {
    let Ok(place) = Arc::clone(&live.0.places).try_acquire_owned() else {
        return error_response(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_listeners",
            "as many pages as may are listening; close one and try again",
        );
    };
    let headers = [
        ("cache-control", "no-store"),
        // Proxies that gather output would hold the events back.
        ("x-accel-buffering", "no"),
    ];
    (headers, Sse::new(Listener::new(live, place).events())).into_response()
}

/// One page that listens.
struct Listener {
    live: Live,
    newest: watch::Receiver<Option<Arc<Frame>>>,
    /// The last journal entry that was sent; `None` before the outline was.
    seen: Option<u64>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    fn new(live: Live, place: OwnedSemaphorePermit) -> Self {
        let mut newest = live.0.newest.subscribe();
        // The picture that is there already is news to this one.
        newest.mark_changed();
        Self {
            live,
            newest,
            seen: None,
            _place: place,
        }
    }

    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        unfold(self, async |mut listener| {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        })
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        if self.seen.is_none() {
            self.seen = Some(0);
            return Some(self.outline());
        }
        let ended = self.live.0.ended.clone();
        loop {
            ended
                .run_until_cancelled(self.newest.changed())
                .await?
                .ok()?;
            let newest = self.newest.borrow_and_update().clone();
            if let Some(frame) = newest {
                return Some(self.frame(&frame));
            }
        }
    }

    fn outline(&self) -> Event {
        let points: Vec<Point> = self.live.0.history.lock().iter().cloned().collect();
        json("history", &serde_json::json!({ "points": points }))
    }

    fn frame(&mut self, frame: &Frame) -> Event {
        let Inner {
            telemetry, clock, ..
        } = &*self.live.0;
        let entries = telemetry.journal.after(self.seen.unwrap_or(0), ENTRIES);
        if let Some(last) = entries.last() {
            self.seen = Some(last.seq);
        }
        let entries = entries
            .iter()
            .map(|entry| Entry::of(entry, clock))
            .collect();
        json("frame", &Message { frame, entries })
    }
}

fn json(name: &str, data: &impl serde::Serialize) -> Event {
    Event::default()
        .event(name)
        .json_data(data)
        .expect("numbers and strings can be written")
}
