//! Traces as a collector receives them from a router that runs as in production, and as its workers see them.

mod collector;
mod rig;

use std::fmt::Write as _;

use collector::{Collector, Trace, is_error, text};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rig::{KEY, LIMIT, PROMPT, Rig};
use simulated_worker::Fault;
use tokio::net::TcpListener;

const REQUEST: &str = "POST /v1/chat/completions";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

struct Traced {
    rig: Rig,
    collector: Collector,
}

impl Traced {
    async fn start() -> Self {
        Self::with(Collector::by_grpc(), &[]).await
    }

    async fn with(collector: Collector, more: &[&str]) -> Self {
        let traced = [
            "--enable-trace",
            "--otlp-traces-endpoint",
            &collector.address,
        ];
        let flags = [&traced, more].concat();
        Self {
            rig: Rig::start(&flags).await,
            collector,
        }
    }

    /// Everything that was recorded. Whatever a test is about, no span may hold what is nobody's business.
    async fn end(self) -> Trace {
        self.rig.stop().await;
        let trace = self.collector.received();
        let shown = format!("{trace:?}");
        assert!(!shown.contains(PROMPT) && !shown.contains(KEY), "{shown}");
        trace
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What the span's holder sends to whom it calls.
fn traceparent(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

/// Attempt and outcome of each of these legs.
fn attempts(legs: &[&Span]) -> Vec<(String, String)> {
    let attribute = |leg, key| text(leg, key).unwrap_or_default();
    let rows = legs.iter().map(|leg| {
        (
            attribute(leg, "adaptive_router.attempt"),
            attribute(leg, "adaptive_router.outcome"),
        )
    });
    rows.collect()
}

#[tokio::test]
async fn a_request_is_a_tree_of_queue_prefill_and_decode() {
    let traced = Traced::start().await;
    assert!(
        traced
            .rig
            .whole_chat(&[])
            .await
            .ends_with("data: [DONE]\n\n")
    );
    let (prefill_url, decode_url) = (
        traced.rig.prefill.url.clone(),
        traced.rig.decode.url.clone(),
    );
    let trace = traced.end().await;

    assert_eq!(trace.spans().len(), 4);
    let request = trace.only(REQUEST);
    assert!(request.parent_span_id.is_empty());
    assert_eq!(request.kind(), SpanKind::Server);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/chat/completions"),
        ("http.response.status_code", "200"),
        ("gen_ai.request.model", "any"),
        ("adaptive_router.outcome", "completed"),
    ] {
        assert_eq!(text(request, key).as_deref(), Some(value), "{key}");
    }
    let (queue, prefill, decode) = (
        trace.only("queue"),
        trace.only("prefill"),
        trace.only("decode"),
    );
    for child in [queue, prefill, decode] {
        assert_eq!(child.parent_span_id, request.span_id);
        assert_eq!(child.trace_id, request.trace_id);
        assert!(child.start_time_unix_nano >= request.start_time_unix_nano);
        assert!(child.end_time_unix_nano <= request.end_time_unix_nano);
        assert!(!is_error(child));
    }
    assert!(queue.end_time_unix_nano <= prefill.start_time_unix_nano);
    for (leg, url) in [(prefill, prefill_url), (decode, decode_url)] {
        assert_eq!(leg.kind(), SpanKind::Client);
        assert_eq!(text(leg, "adaptive_router.role").as_ref(), Some(&leg.name));
        assert_eq!(text(leg, "adaptive_router.worker").as_ref(), Some(&url));
        assert_eq!(
            text(leg, "url.full"),
            Some(format!("{url}/v1/chat/completions"))
        );
        assert_eq!(text(leg, "server.address").as_deref(), Some("127.0.0.1"));
        assert!(url.ends_with(&text(leg, "server.port").expect("a port")));
        assert_eq!(attempts(&[leg]), [("1".to_owned(), "completed".to_owned())]);
    }
    let room = |leg| text(leg, "adaptive_router.bootstrap_room").expect("a room");
    assert_eq!(room(prefill), room(decode));
    let events: Vec<_> = decode.events.iter().map(|event| &event.name).collect();
    assert_eq!(events, ["first_token"]);
    assert_eq!(
        trace.service("service.name").as_deref(),
        Some("adaptive-router")
    );
}

#[tokio::test]
async fn a_collector_may_take_its_traces_over_http() {
    let traced = Traced::with(Collector::by_http().await, &[]).await;
    traced.rig.whole_chat(&[]).await;
    let trace = traced.end().await;
    for name in [REQUEST, "queue", "prefill", "decode"] {
        trace.only(name);
    }
}

#[tokio::test]
async fn a_clients_trace_is_continued_and_each_worker_gets_its_own_leg() {
    let traced = Traced::start().await;
    let parent = format!("00-{TRACE}-{CLIENT_SPAN}-01");
    traced
        .rig
        .whole_chat(&[("traceparent", &parent), ("tracestate", "vendor=1")])
        .await;
    let parents = [&traced.rig.prefill, &traced.rig.decode].map(|worker| worker.got("traceparent"));
    let states = [&traced.rig.prefill, &traced.rig.decode].map(|worker| worker.got("tracestate"));
    let trace = traced.end().await;

    let request = trace.only(REQUEST);
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), CLIENT_SPAN);
    let legs = ["prefill", "decode"].map(|name| vec![traceparent(trace.only(name))]);
    assert_eq!(parents, legs);
    assert_eq!(states, [["vendor=1"], ["vendor=1"]]);
}

#[tokio::test]
async fn a_trace_that_its_client_does_not_record_is_handed_on_unrecorded() {
    let traced = Traced::start().await;
    let parent = format!("00-{TRACE}-{CLIENT_SPAN}-00");
    traced.rig.whole_chat(&[("traceparent", &parent)]).await;
    for worker in [&traced.rig.prefill, &traced.rig.decode] {
        let got = worker.got("traceparent").concat();
        assert!(
            got.starts_with(&format!("00-{TRACE}-")) && got.ends_with("-00"),
            "{got}"
        );
    }
    assert!(traced.end().await.spans().is_empty());
}

#[tokio::test]
async fn a_failed_leg_is_an_error_and_its_retry_two_more_legs() {
    let traced = Traced::start().await;
    let refuse = Fault::Refuse {
        status: 503,
        retry_after_s: None,
    };
    traced.rig.prefill.simulated.faults().set([refuse.times(1)]);
    assert!(
        traced
            .rig
            .whole_chat(&[])
            .await
            .ends_with("data: [DONE]\n\n")
    );
    let trace = traced.end().await;

    let row = |attempt: &str, outcome: &str| (attempt.to_owned(), outcome.to_owned());
    let (prefills, decodes) = (trace.all("prefill"), trace.all("decode"));
    assert_eq!(
        attempts(&prefills),
        [row("1", "failed"), row("2", "completed")]
    );
    assert_eq!(
        attempts(&decodes),
        [row("1", "cancelled"), row("2", "completed")]
    );
    assert!(is_error(prefills[0]));
    assert_eq!(text(prefills[0], "error.type").as_deref(), Some("status"));
    let status = prefills[0].status.as_ref().expect("an error has a status");
    assert_eq!(status.message, "status: 503 Service Unavailable");
    // The request itself went well.
    let request = trace.only(REQUEST);
    assert!(!is_error(request));
    assert_eq!(
        text(request, "adaptive_router.outcome").as_deref(),
        Some("completed")
    );
}

#[tokio::test]
async fn a_request_that_no_attempt_could_save_ends_with_the_clients_status() {
    let traced = Traced::start().await;
    let refuse = Fault::Refuse {
        status: 500,
        retry_after_s: None,
    };
    traced.rig.decode.simulated.faults().set([refuse.into()]);
    let answer = traced.rig.chat(8, &[]).await;
    assert_eq!(answer.status(), 500);
    let trace = traced.end().await;

    let request = trace.only(REQUEST);
    assert!(is_error(request));
    assert_eq!(
        text(request, "error.type").as_deref(),
        Some("decode_internal_error")
    );
    assert_eq!(
        text(request, "adaptive_router.outcome").as_deref(),
        Some("failed")
    );
}

#[tokio::test]
async fn a_stream_that_breaks_is_an_error_of_its_leg_and_of_the_request() {
    let ends_with_its_worker = ["--stream-continuation", "off"];
    let traced = Traced::with(Collector::by_grpc(), &ends_with_its_worker).await;
    let reset = Fault::ResetMidStream { after_tokens: 2 };
    traced.rig.decode.simulated.faults().set([reset.into()]);
    let answer = traced.rig.whole_chat(&[]).await;
    assert!(!answer.contains("[DONE]"));
    let trace = traced.end().await;

    for name in ["decode", REQUEST] {
        let span = trace.only(name);
        assert!(is_error(span), "{span:#?}");
        assert_eq!(
            text(span, "adaptive_router.outcome").as_deref(),
            Some("failed")
        );
    }
    assert_eq!(
        text(trace.only(REQUEST), "error.type").as_deref(),
        Some("broken_answer")
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_and_cancels_its_legs() {
    let traced = Traced::start().await;
    let stall = Fault::StallMidStream {
        after_tokens: 2,
        stall_ms: None,
    };
    traced.rig.decode.simulated.faults().set([stall.into()]);
    let mut answer = traced.rig.chat(8, &[]).await;
    let first = tokio::time::timeout(LIMIT, answer.chunk()).await;
    assert!(first.expect("in time").expect("a chunk").is_some());
    drop(answer);
    let trace = traced.end().await;

    let request = trace.only(REQUEST);
    assert!(!is_error(request));
    assert_eq!(
        text(request, "adaptive_router.outcome").as_deref(),
        Some("client_gone")
    );
    assert_eq!(
        text(trace.only("decode"), "adaptive_router.outcome").as_deref(),
        Some("cancelled")
    );
}

#[tokio::test]
async fn without_the_flag_nothing_is_sent_and_the_clients_headers_pass_unchanged() {
    let collector = Collector::by_grpc();
    let rig = Rig::start(&["--otlp-traces-endpoint", &collector.address]).await;
    let parent = format!("00-{TRACE}-{CLIENT_SPAN}-01");
    rig.whole_chat(&[("traceparent", &parent)]).await;
    rig.whole_chat(&[]).await;
    for worker in [&rig.prefill, &rig.decode] {
        assert_eq!(worker.got("traceparent"), [parent.as_str(), "-"]);
    }
    rig.stop().await;
    assert!(collector.received().spans().is_empty());
}

/// It takes as long as the last flush may.
#[tokio::test]
async fn a_collector_that_never_answers_holds_up_neither_requests_nor_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("a bound port").to_string();
    let rig = Rig::start(&["--enable-trace", "--otlp-traces-endpoint", &address]).await;
    for _ in 0..10 {
        assert!(rig.whole_chat(&[]).await.ends_with("data: [DONE]\n\n"));
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_stream_that_goes_on_has_a_leg_for_each_worker_and_completes() {
    let traced = Traced::start().await;
    let reset = Fault::ResetMidStream { after_tokens: 2 };
    traced.rig.decode.simulated.faults().set([reset.times(1)]);
    let answer = traced.rig.whole_chat(&[]).await;
    assert!(answer.contains("[DONE]"));
    let trace = traced.end().await;
    let outcomes: Vec<_> = trace
        .all("decode")
        .into_iter()
        .map(|span| text(span, "adaptive_router.outcome"))
        .collect();
    let [failed, completed] = ["failed", "completed"].map(|outcome| Some(outcome.to_owned()));
    assert_eq!(outcomes, [failed, completed]);
    let request = trace.only(REQUEST);
    assert!(!is_error(request), "{request:#?}");
}
