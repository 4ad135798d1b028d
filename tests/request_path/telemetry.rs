//! What the router measures, against what its client sees of the same answers. In virtual time both clocks are one, so
//! that they have to agree to the microsecond.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use simulated_worker::Fault;

use crate::rig::{Ledger, Rig, within};

const TOKENS: u32 = 24;

const ENDPOINTS: [&str; 3] = ["/generate", "/v1/completions", "/v1/chat/completions"];

/// A streamed request whose chunks say how many tokens there are.
fn request(path: &str, number: usize) -> String {
    let prompt = format!("a prompt that is told apart by its number, {number}");
    let options = json!({"include_usage": true, "continuous_usage_stats": true});
    match path {
        "/generate" => json!({
            "text": prompt, "stream": true,
            "sampling_params": {"max_new_tokens": TOKENS, "ignore_eos": true},
        }),
        "/v1/completions" => json!({
            "model": "any", "prompt": prompt, "stream": true, "max_tokens": TOKENS,
            "ignore_eos": true, "stream_options": options,
        }),
        _ => json!({
            "model": "any", "messages": [{"role": "user", "content": prompt}], "stream": true,
            "max_tokens": TOKENS, "ignore_eos": true, "stream_options": options,
        }),
    }
    .to_string()
}

/// Time to first token and times between tokens as a client makes them of the events.
fn measured(events: &[(Duration, Value)]) -> (Duration, Vec<Duration>) {
    let (mut ttft, mut gaps, mut last, mut counted) = (None, Vec::new(), Duration::ZERO, 0);
    for (at, event) in events {
        let delta = &event["choices"][0]["delta"]["content"];
        let text = [&event["text"], &event["choices"][0]["text"], delta];
        let has_text = text
            .iter()
            .any(|text| text.as_str().is_some_and(|text| !text.is_empty()));
        let tokens = event
            .pointer("/meta_info/completion_tokens")
            .or_else(|| event.pointer("/usage/completion_tokens"))
            .and_then(Value::as_u64);
        let (true, Some(tokens)) = (has_text, tokens) else {
            continue;
        };
        let came = tokens - counted;
        counted = tokens;
        if came == 0 {
            continue;
        }
        if ttft.is_none() {
            ttft = Some(*at);
        } else {
            let gap = at.saturating_sub(last) / u32::try_from(came).expect("few");
            gaps.extend(std::iter::repeat_n(gap, came as usize));
        }
        last = *at;
    }
    (ttft.expect("a token"), gaps)
}

fn seconds(durations: &[Duration]) -> f64 {
    durations.iter().map(Duration::as_secs_f64).sum()
}

fn assert_close(router: f64, client: f64, what: &str) {
    assert!(
        (router - client).abs() < 1e-4,
        "{what}: {router} at the router, {client} at its client"
    );
}

#[tokio::test(start_paused = true)]
async fn ttft_and_itl_are_what_the_client_measures() {
    for path in ENDPOINTS {
        for stream_interval in [1, 4] {
            let rig = Rig::with(&[], |worker| worker.stream_interval = stream_interval);
            let (mut ttfts, mut gaps) = (Vec::new(), Vec::new());
            for number in 0..6 {
                let events = rig.timed(path, request(path, number)).await;
                let (ttft, between) = measured(&events);
                ttfts.push(ttft);
                gaps.extend(between);
            }
            let case = format!("{path}, {stream_interval} a chunk");
            for role in ["prefill", "decode"] {
                let labels = [("role", role)];
                let sum = rig.metric("adaptive_router_ttft_seconds_sum", &labels);
                assert_close(sum, seconds(&ttfts), &format!("TTFT by {role}, {case}"));
            }
            let sum = rig.metric("smg_router_ttft_seconds_sum", &[("endpoint", path)]);
            assert_close(sum, seconds(&ttfts), &case);
            let count = rig.metric("adaptive_router_itl_seconds_count", &[]);
            assert_eq!(count as usize, gaps.len(), "{case}");
            let sum = rig.metric("adaptive_router_itl_seconds_sum", &[]);
            assert_close(sum, seconds(&gaps), &format!("ITL, {case}"));
            let tokens = rig.metric("adaptive_router_output_tokens_total", &[]);
            assert_eq!(tokens as u32, 6 * TOKENS, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_windows_agree_with_the_client_to_a_percent() {
    let rig = Rig::new(&[]);
    let mut ttfts = Vec::new();
    for number in 0..21 {
        let events = rig.timed("/generate", request("/generate", number)).await;
        ttfts.push(measured(&events).0);
    }
    ttfts.sort();
    let median = rig.metric(
        "adaptive_router_ttft_window_seconds",
        &[("quantile", "0.5")],
    );
    let client = ttfts[10].as_secs_f64();
    assert!(
        (median - client).abs() < client * 0.011,
        "{median} {client}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_token_is_no_role_chunk() {
    let rig = Rig::new(&[]);
    let path = "/v1/chat/completions";
    let events = rig.timed(path, request(path, 0)).await;
    assert_eq!(events[0].1["choices"][0]["delta"]["role"], "assistant");
    let sum = rig.metric("smg_router_ttft_seconds_sum", &[]);
    assert_close(sum, measured(&events).0.as_secs_f64(), "TTFT");
}

#[tokio::test(start_paused = true)]
async fn the_legs_of_a_request_are_measured() {
    let rig = Rig::new(&[]);
    let events = rig.timed("/generate", request("/generate", 0)).await;
    let ttft = measured(&events).0.as_secs_f64();
    let prefill = rig.metric("adaptive_router_prefill_seconds_sum", &[]);
    let gap = rig.metric("adaptive_router_kv_transfer_gap_seconds_sum", &[]);
    assert_eq!(
        rig.metric("adaptive_router_prefill_seconds_count", &[]) as u32,
        1
    );
    assert_eq!(
        rig.metric("adaptive_router_kv_transfer_gap_seconds_count", &[]) as u32,
        1
    );
    assert!(prefill > 0.0 && prefill <= ttft + 1e-9, "{prefill} {ttft}");
    assert!(
        gap >= 0.0 && prefill + gap >= ttft - 0.01,
        "{prefill} + {gap} against {ttft}"
    );
    let total = rig.metric(
        "adaptive_router_request_seconds_sum",
        &[("streaming", "true")],
    );
    assert_close(
        total,
        events.last().expect("events").0.as_secs_f64(),
        "all of it",
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_are_the_workers_count_where_it_gives_one() {
    let rig = Rig::new(&[]);
    let whole = json!({"model": "m", "prompt": "four", "max_tokens": TOKENS, "ignore_eos": true});
    rig.post("/v1/completions", whole.to_string()).await;
    let usage = [("source", "usage")];
    let output = "adaptive_router_request_output_tokens_sum";
    assert_eq!(rig.metric(output, &usage) as u32, TOKENS);
    assert!(rig.metric("adaptive_router_request_prompt_tokens_sum", &usage) > 0.0);
    // A stream without usage: a chunk with text is a token.
    let streamed = json!({"model": "m", "prompt": "four", "max_tokens": TOKENS, "ignore_eos": true, "stream": true});
    rig.post("/v1/completions", streamed.to_string()).await;
    assert_eq!(rig.metric(output, &[("source", "events")]) as u32, TOKENS);
    let estimated = [("source", "estimate")];
    assert!(rig.metric("adaptive_router_request_prompt_tokens_sum", &estimated) > 0.0);
}

#[tokio::test(start_paused = true)]
async fn requests_are_good_late_slow_failed_or_not_judged() {
    let slo = "adaptive_router_slo_requests_total";
    let cases = [
        (&["--ttft-slo-ms", "2000", "--itl-slo-ms", "25"], "good"),
        (&["--ttft-slo-ms", "1", "--itl-slo-ms", "25"], "ttft_missed"),
        (
            &["--ttft-slo-ms", "2000", "--itl-slo-ms", "1"],
            "itl_missed",
        ),
        (&["--ttft-slo-ms", "1", "--itl-slo-ms", "1"], "both_missed"),
    ];
    for (flags, result) in cases {
        let rig = Rig::new(flags);
        rig.timed("/generate", request("/generate", 0)).await;
        assert_eq!(rig.metric(slo, &[("result", result)]) as u32, 1, "{result}");
        assert_eq!(rig.metric(slo, &[]) as u32, 1, "{result} alone");
    }
    let rig = Rig::new(&["--disable-retries"]);
    Rig::fault(&rig.decode, &Fault::ResetBeforeHead);
    rig.post("/generate", request("/generate", 0)).await;
    assert_eq!(rig.metric(slo, &[("result", "failed")]) as u32, 1);
}

#[tokio::test(start_paused = true)]
async fn a_clients_mistake_is_refused_and_not_held_against_the_target() {
    let rig = Rig::new(&[]);
    // More than the workers' context.
    let body =
        json!({"text": "a", "stream": true, "sampling_params": {"max_new_tokens": 10_000_000}});
    let answer = rig.post("/generate", body.to_string()).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let refused = Ledger {
        refused: 1,
        ..Ledger::default()
    };
    assert_eq!(rig.ledger(), refused);
    assert!(rig.metric("adaptive_router_slo_requests_total", &[]).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn streams_and_pending_prompt_tokens_come_and_go() {
    let rig = Rig::new(&[]);
    let streams = || rig.metric("adaptive_router_worker_streams", &[]) as u32;
    let pending = || rig.metric("adaptive_router_worker_pending_prompt_tokens", &[]) as u32;
    let mut body = rig
        .open("/generate", request("/generate", 0))
        .await
        .into_body();
    body.frame().await.expect("a frame").expect("whole");
    assert_eq!(streams(), 1);
    assert!(pending() > 0);
    drop(body);
    let limit = Duration::from_secs(1);
    assert!(within(limit, || streams() == 0 && pending() == 0).await);
}

#[tokio::test(start_paused = true)]
async fn streams_are_not_looked_into_where_that_is_switched_off() {
    let rig = Rig::new(&["--disable-stream-metrics"]);
    rig.timed("/generate", request("/generate", 0)).await;
    assert_eq!(rig.ledger().completed, 1);
    for name in [
        "smg_router_ttft_seconds_count",
        "adaptive_router_itl_seconds_count",
        "adaptive_router_slo_requests_total",
    ] {
        assert!(rig.metric(name, &[]).abs() < 1e-9, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn parallel_samples_are_told_apart() {
    let rig = Rig::new(&[]);
    let body = json!({"text": "a", "stream": true,
                      "sampling_params": {"max_new_tokens": TOKENS, "ignore_eos": true, "n": 3}});
    rig.post("/generate", body.to_string()).await;
    let tokens = rig.metric("adaptive_router_output_tokens_total", &[]);
    assert_eq!(tokens as u32, 3 * TOKENS);
    // The first token of each has no time before it.
    let gaps = rig.metric("adaptive_router_itl_seconds_count", &[]);
    assert_eq!(gaps as u32, 3 * (TOKENS - 1));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_left_leaves_no_series() {
    let rig = Rig::new(&[]);
    rig.timed("/generate", request("/generate", 0)).await;
    let set = rig.proxy.registry.snapshot();
    let urls: Vec<_> = set
        .members()
        .iter()
        .map(|member| (member.worker.id, member.worker.url.to_string()))
        .collect();
    let text = || String::from_utf8(rig.proxy.metrics_text()).expect("text");
    for (id, url) in urls {
        assert!(text().contains(&url), "{url}");
        rig.proxy
            .registry
            .apply(id, policies::lifecycle::WorkerEvent::Removed)
            .expect("every worker can be removed");
        assert!(!text().contains(&url), "{url}");
    }
}
