//! Each fault does what it says.

use crate::support::{Fleet, Pair, generate, get, post, streamed};
use http_body_util::BodyExt;
use serde_json::json;
use simulated_worker::{
    Config, ConnectionReset, Fault, Role, SimulatedWorker, answer::expected_text,
};
use std::time::Duration;
use tokio::time::Instant;

fn lone(fleet: &mut Fleet, fault: Fault) -> SimulatedWorker {
    fleet.start(Config {
        faults: vec![fault.times(1)],
        ..Config::instant(Role::Null)
    })
}

fn count(events: &[u8]) -> usize {
    events.windows(6).filter(|text| text == b"data: ").count()
}

async fn serves_again(worker: &SimulatedWorker) {
    let answered = post(worker, "/generate", &generate("q", 5)).await;
    assert_eq!(answered.status, 200);
    assert_eq!(answered.json()["text"], expected_text("q", 5));
    assert_eq!(worker.stats().faults_injected, 1);
}

#[tokio::test(start_paused = true)]
async fn refuse_answers_the_status_before_any_work() {
    let mut fleet = Fleet::new();
    for status in [400, 429, 500, 503] {
        let worker = lone(
            &mut fleet,
            Fault::Refuse {
                status,
                retry_after_s: Some(3),
            },
        );
        let body = generate("q", 5).to_string();
        let refused = crate::support::send(&worker, "POST", "/generate", body).await;
        assert_eq!(refused.status().as_u16(), status);
        assert_eq!(refused.headers()["retry-after"], "3");
        assert_eq!(worker.stats().requests, 0);
        serves_again(&worker).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_before_the_head_sends_nothing_until_it_is_over() {
    let mut fleet = Fleet::new();
    let worker = lone(
        &mut fleet,
        Fault::StallBeforeHead {
            stall_ms: Some(5000),
        },
    );
    let began = Instant::now();
    let answered = post(&worker, "/generate", &generate("q", 5)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(answered.json()["text"], expected_text("q", 5));
}

#[tokio::test(start_paused = true)]
async fn a_stall_without_end_lasts_as_long_as_the_client() {
    let mut fleet = Fleet::new();
    let worker = lone(&mut fleet, Fault::StallBeforeHead { stall_ms: None });
    let body = generate("q", 5);
    let waited = tokio::time::timeout(Duration::from_hours(1), post(&worker, "/generate", &body));
    assert!(waited.await.is_err());
    serves_again(&worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_stalls_after_its_tokens_and_goes_on() {
    let mut fleet = Fleet::new();
    let worker = lone(
        &mut fleet,
        Fault::StallMidStream {
            after_tokens: 3,
            stall_ms: Some(7000),
        },
    );
    let began = Instant::now();
    let body = streamed(&generate("q", 5)).to_string();
    let mut body = crate::support::send(&worker, "POST", "/generate", body)
        .await
        .into_body();
    let mut before = Vec::new();
    while count(&before) < 3 {
        before.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(count(&before), 3);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let after = body.collect().await.unwrap().to_bytes();
    assert_eq!(began.elapsed(), Duration::from_secs(7));
    assert!(after.ends_with(b"data: [DONE]\n\n"));
}

#[tokio::test(start_paused = true)]
async fn a_reset_before_the_head_is_marked_and_breaks_at_once() {
    let mut fleet = Fleet::new();
    let worker = lone(&mut fleet, Fault::ResetBeforeHead);
    let body = generate("q", 5).to_string();
    let response = crate::support::send(&worker, "POST", "/generate", body).await;
    assert!(response.extensions().get::<ConnectionReset>().is_some());
    let answered = crate::support::read(response).await;
    assert!(answered.broken && answered.body.is_empty());
    serves_again(&worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_a_stream_breaks_the_body_after_its_tokens() {
    for (path, body) in [
        ("/generate", generate("q", 9)),
        ("/v1/completions", json!({"prompt": "q", "max_tokens": 9})),
    ] {
        let mut fleet = Fleet::new();
        let worker = lone(&mut fleet, Fault::ResetMidStream { after_tokens: 4 });
        let answered = post(&worker, path, &streamed(&body)).await;
        assert!(answered.broken);
        assert_eq!(answered.events().len(), 4, "{}", answered.body);
        serves_again(&worker).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_a_whole_answer_leaves_half_of_it() {
    let mut fleet = Fleet::new();
    let worker = lone(&mut fleet, Fault::ResetMidStream { after_tokens: 0 });
    let answered = post(&worker, "/generate", &generate("q", 9)).await;
    assert!(answered.broken && !answered.body.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_cut_short_ends_cleanly_without_its_end() {
    let mut fleet = Fleet::new();
    let worker = lone(&mut fleet, Fault::CutShort { after_tokens: 2 });
    let answered = post(&worker, "/generate", &streamed(&generate("q", 9))).await;
    assert!(!answered.broken);
    assert_eq!(answered.events().len(), 2);
    assert!(!answered.body.contains("[DONE]\n\n"), "{}", answered.body);

    worker
        .faults()
        .set([Fault::CutShort { after_tokens: 0 }.times(1)]);
    let whole = post(&worker, "/generate", &generate("q", 9)).await;
    assert!(serde_json::from_str::<serde_json::Value>(&whole.body).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_error_event_comes_inside_a_200_stream() {
    let fault = |after_tokens| Fault::ErrorEvent { after_tokens };
    for after_tokens in [0, 3] {
        let mut fleet = Fleet::new();
        let worker = lone(&mut fleet, fault(after_tokens));
        let answered = post(&worker, "/generate", &streamed(&generate("q", 9))).await;
        assert_eq!(answered.status, 200);
        let chunks = answered.chunks();
        assert_eq!(chunks.len(), after_tokens as usize + 1);
        let finish = &chunks[after_tokens as usize]["meta_info"]["finish_reason"];
        assert_eq!(finish["status_code"], 500);

        worker.faults().set([fault(after_tokens).times(1)]);
        let body = json!({"prompt": "q", "max_tokens": 9});
        let answered = post(&worker, "/v1/completions", &streamed(&body)).await;
        assert_eq!(answered.status, 200);
        let error = &answered.chunks()[after_tokens as usize]["error"];
        assert_eq!(error["type"], "INTERNAL_SERVER_ERROR");

        worker.faults().set([fault(after_tokens).times(1)]);
        assert_eq!(post(&worker, "/v1/completions", &body).await.status, 500);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_worker_takes_longer() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::default());
    let mut took = Vec::new();
    for factor in [1.0, 4.0] {
        worker.faults().set([Fault::Slow { factor }.into()]);
        let began = Instant::now();
        post(&worker, "/generate", &generate("q", 50)).await;
        took.push(began.elapsed().as_secs_f64());
    }
    assert!((took[1] / took[0] - 4.0).abs() < 0.1, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lying_worker_claims_the_other_role() {
    let pair = Pair::instant();
    let lie = Fault::WrongRole { role: Role::Decode };
    pair.prefill.faults().set([lie.into()]);
    let info = get(&pair.prefill, "/model_info").await.json();
    assert_eq!(info["disaggregation_mode"], "decode");
    let (_, decoded) = pair.post("/generate", &generate("q", 4), 1).await;
    assert_eq!(
        decoded.json()["text"],
        expected_text("q", 4),
        "it only claims it"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unready_worker_says_so_and_serves_all_the_same() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    worker.faults().set([Fault::Unready.into()]);
    assert_eq!(get(&worker, "/ready").await.status, 503);
    assert_eq!(get(&worker, "/health").await.status, 503);
    assert_eq!(
        post(&worker, "/generate", &generate("q", 4)).await.status,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_bootstrap_port_leaves_health_green_and_fails_every_request() {
    let pair = Pair::instant();
    crate::support::settle().await;
    pair.prefill.faults().set([Fault::BootstrapDead.into()]);
    assert_eq!(get(&pair.prefill, "/health").await.status, 200);
    let body = pair.in_room(&generate("q", 4), 1);
    let failed = post(&pair.decode, "/generate", &body).await;
    assert_eq!(failed.status, 500);
    assert!(
        failed.body.contains("Decode handshake failed"),
        "{}",
        failed.body
    );
}

#[tokio::test(start_paused = true)]
async fn faults_are_set_and_read_over_http() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    let rules = json!([{"fault": "refuse", "status": 429, "limit": 1}]);
    let set = post(&worker, "/simulated/faults", &rules).await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(
        post(&worker, "/generate", &generate("q", 4)).await.status,
        429
    );
    let left = get(&worker, "/simulated/faults").await.json();
    assert_eq!(left[0]["limit"], 0);
    let unknown = post(&worker, "/simulated/faults", &json!([{"fault": "explode"}])).await;
    assert_eq!(unknown.status, 400);
}
