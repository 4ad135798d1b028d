//! What the hot path costs in instructions and allocations, and the most that it may cost.
//!
//! Counted by valgrind, so that a figure is the same on a busy machine. A budget is the figure when it was set and a few
//! per cent: whoever goes over it either finds out why or raises it in the open. Sockets are not part of it.

#![expect(
    clippy::disallowed_methods,
    reason = "gungraun's main ends with std::process::exit"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adaptive_router::clock::Clock;
use adaptive_router::config::{Config, Parsed};
use adaptive_router::proxy::{
    self, Admission, KeptBytes, Picked, Picker, Policies, Proxy, Tried, WaitingRoom, abort,
};
use adaptive_router::telemetry::trace::Traces;
use adaptive_router::telemetry::{Metrics, Slo, Telemetry};
use adaptive_router::upstream::{InMemoryService, Segments, Upstream};
use adaptive_router::workers::{WorkerRegistry, WorkerSpec, WorkerUrl};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use gungraun::prelude::*;
use gungraun::{Callgrind, Dhat, DhatMetric, EventKind};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use policies::lifecycle::WorkerEvent;
use policies::route::RouteRequest;
use policies::worker::Role;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

/// Half of them prefill, half of them decode.
const WORKERS: u16 = 1000;

/// Events of a stream, each with a wake-up of its own.
const EVENTS: usize = 1000;

const CHAT: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"What costs what?"}],"max_tokens":32}"#;
const STREAMED_CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"What costs what?"}],"max_tokens":1000,"stream":true}"#;
/// The same, with events that come some at a time: the workers know it by its blank.
const FLOODED_CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"What costs what?"}],"max_tokens":1000,"stream":true }"#;
/// Events that come at once in a flood: about a read's.
const AT_ONCE: usize = 50;
const ANSWER: &[u8] = br#"{"id":"a","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"This."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"total_tokens":11,"completion_tokens":2}}"#;
const EVENT: &[u8] = br#"data: {"id":"5c1d61a7a9e84f1a9f3e5f2f0d6f2f6e","object":"chat.completion.chunk","created":1764000000,"model":"m","choices":[{"index":0,"delta":{"role":null,"content":" token","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null}

"#;

const DONE: &[u8] = b"data: [DONE]\n\n";

fn config(policy: &str) -> Config {
    let flags = ["--pd-disaggregation", "--policy", policy].map(Into::into);
    let Ok(Parsed::Run(config)) = Config::from_sources(flags, &|_| None) else {
        panic!("good flags")
    };
    *config
}

/// A registry of so many serving workers.
fn registry(config: &Config, workers: u16) -> WorkerRegistry {
    let registry = WorkerRegistry::new(config.breaker.clone(), |_| {});
    for number in 0..workers {
        let role = if number % 2 == 0 {
            Role::Prefill
        } else {
            Role::Decode
        };
        let url = WorkerUrl::parse(&format!("http://worker-{number}:30000")).expect("a good URL");
        let spec = WorkerSpec {
            bootstrap_port: Some(9000),
            ..WorkerSpec::new(url, role)
        };
        let added = registry.add(&spec).expect("registered once");
        let change = registry.apply(added.id, WorkerEvent::Passed);
        change.expect("a starting worker may pass");
    }
    registry
}

/// A fleet, and the policies that pick in it.
struct Fleet {
    registry: WorkerRegistry,
    policies: Policies,
    clock: Clock,
}

impl Fleet {
    fn new(policy: &str) -> Self {
        let config = config(policy);
        let fleet = Self {
            registry: registry(&config, WORKERS),
            policies: Policies::new(&config.routing),
            clock: Clock::start(),
        };
        // What is set up at the first pick is not a pick's.
        fleet.pick();
        fleet
    }

    fn pick(&self) -> (Picked, Picked) {
        let picker = Picker {
            registry: &self.registry,
            policies: &self.policies,
            now: self.clock.now(),
            load_interval: Duration::from_secs(1),
            prompt_tokens: 100,
        };
        let request = RouteRequest {
            prompt: "\"What costs what?\"",
            ..RouteRequest::default()
        };
        picker
            .pair(request, &Tried::new())
            .expect("everybody serves")
    }
}

/// A router in front of two workers in this process, and what runs it.
struct Rig {
    runtime: Runtime,
    router: Router,
    _aborts: mpsc::Receiver<abort::Abort>,
    _suspected: mpsc::Receiver<policies::worker::WorkerId>,
}

impl Rig {
    fn new() -> Self {
        let config = config("round_robin");
        // Only so that a client can be built: nothing is encrypted here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let upstream = Upstream::new(config.timeouts.connect, &config.upstream_tls);
        let mut upstream = upstream.expect("no files to read");
        for number in 0..2 {
            let service = tower::service_fn(|request| {
                std::future::ready(Ok::<_, Infallible>(answer(&request)))
            });
            upstream.serve_in_memory(
                format!("worker-{number}:30000"),
                InMemoryService::new(service),
            );
        }
        let slo = Slo {
            ttft: config.slo.ttft,
            itl: config.slo.itl,
        };
        let telemetry = Arc::new(Telemetry::new(Metrics::default(), slo));
        let room = WaitingRoom::new(&config.queue, telemetry.queued.clone());
        let kept_bytes = KeptBytes::new(
            &config.continuation,
            telemetry.metrics.continuations.kept_bytes(),
        );
        let (aborter, aborts) = abort::channel();
        let (suspects, suspected) = mpsc::channel(1);
        let proxy = Arc::new(Proxy {
            admission: Admission::new(&config.admission, room, &telemetry.metrics.http),
            queue: None,
            registry: Arc::new(registry(&config, 2)),
            policies: Arc::new(Policies::new(&config.routing)),
            upstream,
            clock: Clock::start(),
            telemetry,
            traces: Traces::off(),
            aborter,
            kept_bytes,
            suspects,
            config: Arc::new(config),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let rig = Self {
            runtime: runtime.expect("threads are not needed"),
            router: proxy::routes(&proxy),
            _aborts: aborts,
            _suspected: suspected,
        };
        assert_eq!(rig.ask(CHAT), 1, "the first request sets things up");
        rig
    }

    /// Asks and reads the answer to its end: how many pieces it came in.
    fn ask(&self, body: impl Into<Body>) -> usize {
        let request = Request::post("/v1/chat/completions");
        let request = request.body(body.into()).expect("a good request");
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await;
            let response = response.expect("the router never fails");
            assert_eq!(response.status(), StatusCode::OK);
            let (mut pieces, mut body) = (0, response.into_body());
            while let Some(frame) = body.frame().await {
                frame.expect("the worker doesn't break off");
                pieces += 1;
            }
            pieces
        })
    }
}

/// What both workers answer: events to whoever wants a stream.
fn answer(request: &Request<Segments>) -> Response<Events> {
    let asked = request.body().to_vec();
    let flooded = asked.ends_with(b"true }");
    let streamed = flooded || asked.ends_with(b"true}");
    let (piece, at_once) = if flooded {
        (EVENT.repeat(AT_ONCE).into(), AT_ONCE)
    } else {
        (Bytes::from_static(EVENT), 1)
    };
    let (left, content_type) = if streamed {
        (EVENTS / at_once, "text/event-stream")
    } else {
        (0, "application/json")
    };
    let response = Response::builder().header("content-type", content_type);
    let body = Events {
        whole: !streamed,
        piece,
        left,
        waits: false,
        ends: streamed,
    };
    response.body(body).expect("a good response")
}

/// A whole answer, or pieces of events: between two there is nothing for the moment.
struct Events {
    whole: bool,
    piece: Bytes,
    left: usize,
    waits: bool,
    /// `[DONE]` is to come, with the last event.
    ends: bool,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if std::mem::take(&mut this.whole) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(ANSWER)))));
        }
        if this.left == 0 {
            let end = std::mem::take(&mut this.ends);
            return Poll::Ready(end.then(|| Ok(Frame::data(Bytes::from_static(DONE)))));
        }
        this.waits = !this.waits;
        if this.waits {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(this.piece.clone()))))
    }
}

/// The most instructions, and heap blocks, of one benchmark.
fn at_most(instructions: u64, blocks: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    // Whole stacks: what is allocated below more frames than valgrind keeps by itself would not be counted.
    let mut dhat = Dhat::with_args(["--num-callers=200"]);
    dhat.hard_limits([(DhatMetric::TotalBlocks, blocks)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind).tool(dhat);
    config
}

#[library_benchmark]
#[bench::round_robin(args = (Fleet::new("round_robin")), config = at_most(1_150, 0))]
#[bench::power_of_two(args = (Fleet::new("power_of_two")), config = at_most(1_600, 0))]
#[bench::random(args = (Fleet::new("random")), config = at_most(1_200, 0))]
#[bench::cache_aware(args = (Fleet::new("cache_aware")), config = at_most(26_000, 0))]
fn pair_among_1000(fleet: Fleet) -> (Fleet, (Picked, Picked)) {
    let pair = black_box(fleet.pick());
    (fleet, pair)
}

#[library_benchmark]
#[bench::small(args = (Rig::new()), config = at_most(64_800, 68))]
fn chat(rig: Rig) -> Rig {
    assert_eq!(rig.ask(CHAT), 1);
    rig
}

#[library_benchmark]
#[bench::one_by_one(args = (Rig::new(), STREAMED_CHAT, EVENTS), config = at_most(2_850_000, 390))]
#[bench::fifty_at_once(args = (Rig::new(), FLOODED_CHAT, EVENTS / AT_ONCE + 1), config = at_most(1_190_000, 425))]
fn a_thousand_events(rig: Rig, body: &'static str, pieces: usize) -> Rig {
    assert_eq!(rig.ask(body), pieces);
    rig
}

/// A chat of about so many bytes that is all nesting, in a member that the router has no use for or in the prompt.
fn nested(member: &str, bytes: usize) -> (Rig, Bytes) {
    let (open, close) = ("[".repeat(bytes / 2), "]".repeat(bytes / 2));
    let body = format!(r#"{{"model":"m","{member}":{open}{close}}}"#);
    (Rig::new(), body.into())
}

/// A chat of about so many bytes with as many members as fit.
fn members(bytes: usize) -> (Rig, Bytes) {
    let members = (0..bytes / 12).fold(String::new(), |members, n| {
        members + &format!(r#""m{n:06}":1,"#)
    });
    let body = format!(r#"{{{members}"messages":[]}}"#);
    (Rig::new(), body.into())
}

// Ten times as long costs ten times as much, not a hundred times: what clients can make of JSON is read in one pass.
#[library_benchmark]
#[bench::nested_100_kb(args = (nested("x", 100_000)), config = at_most(3_960_000, 85))]
#[bench::nested_1_mb(args = (nested("x", 1_000_000)), config = at_most(39_000_000, 85))]
#[bench::nested_prompt_100_kb(args = (nested("messages", 100_000)), config = at_most(4_000_000, 85))]
#[bench::nested_prompt_1_mb(args = (nested("messages", 1_000_000)), config = at_most(39_400_000, 85))]
#[bench::members_100_kb(args = (members(100_000)), config = at_most(3_870_000, 315))]
#[bench::members_1_mb(args = (members(1_000_000)), config = at_most(37_300_000, 315))]
fn hostile_json((rig, body): (Rig, Bytes)) -> (Rig, Bytes) {
    assert_eq!(rig.ask(body.clone()), 1);
    (rig, body)
}

library_benchmark_group!(
    name = hot_path,
    benchmarks = [pair_among_1000, chat, a_thousand_events, hostile_json]
);
main!(library_benchmark_groups = hot_path);
