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
use crate::control::ratio::Steering;
use crate::error::error_response;
use crate::telemetry::Telemetry;
use crate::workers::WorkerRegistry;

use frame::{Entry, Frame, Look, Message, Point};
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
    /// Where the ratio controller runs.
    steering: Option<Arc<Steering>>,
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
        registry: &Arc<WorkerRegistry>,
        telemetry: Arc<Telemetry>,
        steering: Option<Arc<Steering>>,
        config: &Arc<Config>,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            registry: Arc::clone(registry),
            telemetry,
            steering,
            config: Arc::clone(config),
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
            steering,
            config,
            clock,
            ..
        } = &*self.0;
        let look = Look {
            now: clock.now(),
            clock,
            set: &registry.snapshot(),
            telemetry,
            steering: steering.as_deref(),
        };
        samples.take(look.now, look.set, telemetry);
        let frame = Frame::of(&look, samples, config.fleet.mode == Mode::Pd);
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt as _;
    use policies::lifecycle::WorkerEvent;
    use policies::model::WorkerModel;
    use policies::ratio::journal::Head;
    use policies::ratio::{GuardrailSettings, PlannerSettings};
    use policies::worker::Role;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use crate::telemetry::{Metrics, Slo};
    use crate::workers::{WorkerSpec, WorkerUrl};

    /// A fleet of one prefill worker, looked at once a second.
    struct Rig {
        live: Live,
        registry: Arc<WorkerRegistry>,
        steering: Arc<Steering>,
        _looking: tokio::task::JoinSet<()>,
    }

    fn rig(change: impl Fn(&mut Config)) -> Rig {
        let mut config = Config::default();
        change(&mut config);
        let slo = Slo {
            ttft: config.slo.ttft,
            itl: config.slo.itl,
        };
        let clock = Clock::start();
        let telemetry = Arc::new(Telemetry::new(Metrics::default(), slo));
        let registry = Arc::new(WorkerRegistry::new(config.breaker.clone(), {
            let telemetry = Arc::clone(&telemetry);
            move |notice| telemetry.notice(clock.now(), &notice)
        }));
        let url = WorkerUrl::parse("http://p:1").unwrap();
        registry.add(&WorkerSpec::new(url, Role::Prefill)).unwrap();
        let steering = Arc::new(Steering::new(Head {
            model: WorkerModel::default(),
            itl_seconds: 0.025,
            planner: PlannerSettings::Fixed,
            guardrails: GuardrailSettings::default(),
        }));
        let live = Live::new(
            &registry,
            telemetry,
            Some(Arc::clone(&steering)),
            &Arc::new(config),
            clock,
        );
        let mut looking = tokio::task::JoinSet::new();
        looking.spawn(live.clone().run(CancellationToken::new()));
        Rig {
            live,
            registry,
            steering,
            _looking: looking,
        }
    }

    async fn open(live: &Live) -> Response {
        let request = Request::get("/ui/events").body(Body::empty()).unwrap();
        routes(live.clone()).oneshot(request).await.unwrap()
    }

    /// The next event: its name and its data; `None` at the end of the stream.
    async fn next(body: &mut Body) -> Option<(String, Value)> {
        let frame = body.frame().await?.unwrap().into_data().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let (name, data) = text.trim_end().split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        Some((name.strip_prefix("event: ").unwrap().to_owned(), data))
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_gets_the_outline_and_then_a_frame_a_second() {
        let rig = rig(|_| {});
        tokio::time::sleep(Duration::from_millis(4_500)).await;
        let mut body = open(&rig.live).await.into_body();
        let (name, history) = next(&mut body).await.unwrap();
        assert_eq!(
            (name.as_str(), history["points"].as_array().unwrap().len()),
            ("history", 5)
        );
        let (name, first) = next(&mut body).await.unwrap();
        assert_eq!(name, "frame");
        assert_eq!(first["workers"][0]["state"], "starting");
        assert_eq!(first["fleet"]["attainment"], Value::Null);
        assert_eq!(
            first["entries"].as_array().unwrap().len(),
            1,
            "the journal so far"
        );
        let id = rig.registry.snapshot().members()[0].worker.id;
        rig.registry.apply(id, WorkerEvent::Passed).unwrap();
        let (_, second) = next(&mut body).await.unwrap();
        assert_eq!(second["fleet"]["prefill"], 1);
        assert_eq!(second["entries"][0]["to"], "serving");
        let (_, third) = next(&mut body).await.unwrap();
        assert_eq!(third["entries"].as_array().unwrap().len(), 0, "nothing new");
        let passed = third["at"].as_f64().unwrap() - second["at"].as_f64().unwrap();
        assert!((passed - 1.0).abs() < 0.01, "{passed}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_says_since_when_an_operator_has_pinned_the_split() {
        let rig = rig(|_| {});
        let mut body = open(&rig.live).await.into_body();
        next(&mut body).await.unwrap();
        let (_, automatic) = next(&mut body).await.unwrap();
        assert_eq!(automatic["controller"]["mode"], "automatic");
        assert_eq!(automatic["controller"]["pinned"], Value::Null);
        rig.steering
            .pin(rig.live.0.clock.now(), "3P1D".parse().ok());
        let pinned_at = automatic["at"].as_f64().unwrap();
        for _ in 0..3 {
            let (_, frame) = next(&mut body).await.unwrap();
            let controller = &frame["controller"];
            assert_eq!(controller["mode"], "pinned");
            assert_eq!(controller["pinned"]["split"], "3P1D");
            let since = controller["pinned"]["since"].as_f64().unwrap();
            assert!((since - pinned_at).abs() < 0.01, "{since}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_router_is_the_end_of_the_stream() {
        let rig = rig(|_| {});
        let mut body = open(&rig.live).await.into_body();
        next(&mut body).await.unwrap();
        rig.live.end();
        while let Some((name, _)) = next(&mut body).await {
            assert_eq!(name, "frame");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_may_listen_and_only_those_who_have_the_key() {
        let rig = rig(|_| {});
        let mut open_streams = Vec::new();
        for _ in 0..LISTENERS {
            open_streams.push(open(&rig.live).await);
        }
        assert_eq!(open(&rig.live).await.status(), 503);
        open_streams.pop();
        assert_eq!(open(&rig.live).await.status(), 200);
        let guarded = self::rig(|config| config.auth.api_key = Some("secret".to_owned()));
        assert_eq!(open(&guarded.live).await.status(), 401);
    }

    #[tokio::test(start_paused = true)]
    async fn the_outline_is_bounded() {
        let rig = rig(|_| {});
        tokio::time::sleep(Duration::from_secs(HISTORY as u64 + 60)).await;
        let mut body = open(&rig.live).await.into_body();
        let (_, history) = next(&mut body).await.unwrap();
        assert_eq!(history["points"].as_array().unwrap().len(), HISTORY);
    }
}
