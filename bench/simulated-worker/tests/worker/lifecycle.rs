//! Orphans, aborts, disconnects and counters.

use crate::support::{Fleet, Pair, disaggregation, generate, get, post, settle, streamed};
use http_body_util::BodyExt;
use serde_json::json;
use simulated_worker::{Config, Role, Timing, answer::expected_text};
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};

#[tokio::test(start_paused = true)]
async fn a_prefill_whose_decode_never_comes_times_out() {
    let pair = Pair::instant();
    let began = Instant::now();
    let body = pair.in_room(&generate("q", 4), 9);
    let failed = post(&pair.prefill, "/generate", &body).await;
    assert_eq!(began.elapsed().as_secs(), 300);
    assert_eq!(failed.status, 500);
    let error = failed.json();
    assert_eq!(error["object"], "error");
    assert_eq!(error["type"], "500");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("timed out after 300.0s in KVPoll.Bootstrapping"),
        "{message}"
    );
    assert_eq!(pair.prefill.stats().failed, 1);
    assert_eq!(pair.prefill.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_decode_whose_prefill_never_comes_times_out() {
    let pair = Pair::instant();
    let began = Instant::now();
    let body = pair.in_room(&generate("q", 4), 9);
    let failed = post(&pair.decode, "/generate", &body).await;
    assert_eq!(began.elapsed().as_secs(), 300);
    assert_eq!(failed.status, 500);
    assert!(
        failed.body.contains("KVPoll.WaitingForInput"),
        "{}",
        failed.body
    );
    assert_eq!(pair.decode.stats().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn an_orphaned_stream_fails_inside_its_200() {
    let pair = Pair::instant();
    let table = [
        (
            "/generate",
            generate("q", 4),
            "/meta_info/finish_reason/status_code",
        ),
        ("/v1/completions", json!({"prompt": "q"}), "/error/code"),
    ];
    for (path, body, at) in table {
        let body = pair.in_room(&streamed(&body), 9);
        let failed = post(&pair.decode, path, &body).await;
        assert_eq!(failed.status, 200);
        assert_eq!(
            failed.chunks()[0].pointer(at),
            Some(&json!(500)),
            "{}",
            failed.body
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_bootstrap_server_is_tried_fifteen_times() {
    let pair = Pair::instant();
    let config = pair.prefill.config();
    pair.fleet
        .switchboard
        .disconnect(&config.host, config.bootstrap_port);
    let began = Instant::now();
    let body = pair.in_room(&generate("q", 4), 9);
    let failed = post(&pair.decode, "/generate", &body).await;
    assert_eq!(began.elapsed().as_secs(), 15);
    assert_eq!(failed.status, 500);
    assert!(
        failed.body.contains("Decode handshake failed"),
        "{}",
        failed.body
    );
}

#[tokio::test(start_paused = true)]
async fn the_host_of_a_bootstrap_server_is_found_in_any_letter_case() {
    let mut fleet = Fleet::new();
    let prefill = fleet.start(Config {
        host: "LocalHost".into(),
        ..Config::instant(Role::Prefill)
    });
    let decode = fleet.start(Config::instant(Role::Decode));
    let pair = Pair {
        fleet,
        prefill,
        decode,
    };
    let mut body = pair.in_room(&generate("q", 4), 1);
    body["bootstrap_host"] = "lOcalhost".into();
    let (_, decoded) = tokio::join!(
        post(&pair.prefill, "/generate", &body),
        post(&pair.decode, "/generate", &body)
    );
    assert_eq!(decoded.json()["text"], expected_text("q", 4));
}

#[tokio::test(start_paused = true)]
async fn a_request_in_a_queue_is_aborted_with_an_error() {
    let pair = Pair::instant();
    let mut body = pair.in_room(&generate("q", 4), 9);
    body["rid"] = "abc-1".into();
    for (worker, what) in [
        (&pair.prefill, "Prefill transfer failed"),
        (&pair.decode, "Decode handshake failed"),
    ] {
        let (failed, ()) = tokio::join!(post(worker, "/generate", &body), async {
            settle().await;
            post(worker, "/abort_request", &json!({"rid": "other"})).await;
            assert_eq!(worker.stats().in_flight, 1, "another id is not meant");
            let aborted = post(worker, "/abort_request", &json!({"rid": "abc"})).await;
            assert_eq!(aborted.status, 200);
        });
        assert_eq!(failed.status, 500);
        assert!(failed.body.contains(what), "{}", failed.body);
        assert_eq!(worker.stats().aborted, 1);
        assert_eq!(worker.stats().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_request_is_aborted_quietly() {
    let pair = Pair::timed();
    let body = generate("q", 1000);
    let ((_, decoded), ()) = tokio::join!(pair.post("/generate", &body, 3), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        post(&pair.decode, "/abort_request", &json!({"abort_all": true})).await;
    });
    assert_eq!(decoded.status, 200);
    let meta = &decoded.json()["meta_info"];
    assert_eq!(meta["finish_reason"]["type"], "abort");
    let tokens = meta["completion_tokens"].as_u64().unwrap();
    assert!((100..200).contains(&tokens), "{tokens} in 0.9 s");
}

#[tokio::test(start_paused = true)]
async fn aborting_at_decode_ends_the_prefill_too() {
    let pair = Pair::timed();
    let body = generate("q", 10);
    let ((prefilled, decoded), ()) = tokio::join!(pair.post("/generate", &body, 3), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        post(&pair.decode, "/abort_request", &json!({"abort_all": true})).await;
    });
    assert_eq!(decoded.status, 500);
    assert_eq!(prefilled.status, 500);
    assert!(
        prefilled.body.contains("Prefill transfer failed"),
        "{}",
        prefilled.body
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_frees_every_queue() {
    let pair = Pair::timed();
    let body = pair.in_room(&streamed(&generate("q", 1000)), 3);
    let mut clients = JoinSet::new();
    for worker in [pair.prefill.clone(), pair.decode.clone()] {
        let body = body.clone();
        clients.spawn(async move {
            post(&worker, "/generate", &body).await;
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(pair.prefill.stats().completed, 1);
    assert_eq!(pair.decode.stats().in_flight, 1);
    clients.abort_all();
    while clients.join_next().await.is_some() {}
    let stats = pair.decode.stats();
    assert_eq!((stats.in_flight, stats.disconnected), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_waiting_decode_frees_the_prefill() {
    let pair = Pair::timed();
    let body = pair.in_room(&generate("q", 10), 3);
    let mut clients = JoinSet::new();
    let (decode, decode_body) = (pair.decode.clone(), body.clone());
    clients.spawn(async move {
        post(&decode, "/generate", &decode_body).await;
    });
    let (prefilled, ()) = tokio::join!(post(&pair.prefill, "/generate", &body), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        clients.abort_all();
        while clients.join_next().await.is_some() {}
    });
    assert_eq!(prefilled.status, 500);
    assert_eq!(pair.decode.stats().disconnected, 1);
    assert_eq!(pair.prefill.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_is_noticed_between_two_chunks() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::default());
    let body = streamed(&generate("q", 100_000)).to_string();
    let mut response = crate::support::send(&worker, "POST", "/generate", body).await;
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(worker.stats().in_flight, 1);
    drop(response);
    assert_eq!(worker.stats().in_flight, 0);
    assert_eq!(worker.stats().disconnected, 1);
}

#[tokio::test(start_paused = true)]
async fn queues_show_where_a_request_waits() {
    let pair = Pair::instant();
    let body = pair.in_room(&generate("q", 4), 9);
    let mut clients = JoinSet::new();
    let (prefill, prefill_body) = (pair.prefill.clone(), body.clone());
    clients.spawn(async move { post(&prefill, "/generate", &prefill_body).await });
    settle().await;
    assert_eq!(
        disaggregation(&pair.prefill).await["prefill_bootstrap_queue_reqs"],
        1
    );
    let busy = get(&pair.prefill, "/flush_cache").await;
    assert_eq!(busy.status, 400, "a busy worker doesn't flush");

    let mut elsewhere = body;
    elsewhere["bootstrap_room"] = 10.into();
    let decode = pair.decode.clone();
    clients.spawn(async move { post(&decode, "/generate", &elsewhere).await });
    settle().await;
    assert_eq!(
        disaggregation(&pair.decode).await["decode_transfer_queue_reqs"],
        1
    );
    let load = get(&pair.decode, "/v1/loads?include=core").await.json();
    assert_eq!(load["loads"][0]["num_waiting_reqs"], 1);
    assert!(load["loads"][0].get("disaggregation").is_none());
}

#[tokio::test(start_paused = true)]
async fn cumulative_counters_agree_with_the_work() {
    let pair = Pair::timed();
    let prompt = "x".repeat(400);
    for room in 0..5 {
        pair.post("/generate", &generate(&prompt, 11), room).await;
    }
    let timing = Timing::MEASURED;
    let prefilled = &get(&pair.prefill, "/v1/loads").await.json()["loads"][0];
    assert_eq!(prefilled["total_prefill_uncached_tokens"], 500);
    let busy = timing.prefill(100).as_micros() * 5;
    let reported = prefilled["total_prefill_busy_us"].as_u64().unwrap();
    assert!(
        u128::from(reported).abs_diff(busy) <= 5,
        "{reported} is not {busy}"
    );

    let decoded = &get(&pair.decode, "/v1/loads").await.json()["loads"][0];
    let moments = decoded["decode_moments"].as_array().unwrap();
    assert_eq!(
        moments[0], 50.0,
        "five requests of eleven tokens, the first of each prefilled"
    );
    assert_eq!(moments[5], 50.0);
    let stats = pair.decode.stats();
    assert_eq!((stats.completed, stats.generated_tokens), (5, 55));
    assert_eq!(stats.prompt_tokens, 500);
}

#[tokio::test(start_paused = true)]
async fn the_batch_is_bounded_and_the_rest_waits() {
    let mut timing = Timing::MEASURED;
    timing.model.decode.max_running = 4;
    let config = |role| Config {
        role,
        timing,
        ..Config::default()
    };
    let pair = Pair::of(config(Role::Prefill), config(Role::Decode));
    let requests = (0..12).map(|room| {
        let pair = &pair;
        async move { pair.post("/generate", &generate("q", 200), room).await }
    });
    let watch = async {
        let mut most = 0;
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let load = &get(&pair.decode, "/v1/loads").await.json()["loads"][0];
            most = most.max(load["num_running_reqs"].as_u64().unwrap());
        }
        most
    };
    let (_, most) = tokio::join!(futures_util::future::join_all(requests), watch);
    assert_eq!(most, 4);
    assert_eq!(pair.decode.stats().completed, 12);
}

#[tokio::test(start_paused = true)]
async fn prompts_that_wait_together_are_prefilled_together() {
    let pair = Pair::timed();
    let body = generate("0123", 1);
    let requests = (0..8).map(|room| pair.post("/generate", &body, room));
    let began = Instant::now();
    futures_util::future::join_all(requests).await;
    let three_batches = Timing::MEASURED.prefill(8) * 3;
    assert!(began.elapsed() < three_batches, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn health_takes_its_second_and_ready_does_not() {
    let pair = Pair::timed();
    settle().await;
    for worker in [&pair.prefill, &pair.decode] {
        let began = Instant::now();
        assert_eq!(get(worker, "/ready").await.status, 200);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(get(worker, "/health").await.status, 200);
        assert!(began.elapsed() >= Duration::from_secs(1));
        assert_eq!(worker.stats().requests, 0, "a probe is nobody's request");
    }
}

#[tokio::test(start_paused = true)]
async fn information_is_given_under_both_names() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Prefill));
    for (old, new) in [
        ("/get_server_info", "/server_info"),
        ("/get_model_info", "/model_info"),
    ] {
        assert_eq!(
            get(&worker, old).await.json(),
            get(&worker, new).await.json()
        );
    }
    let models = get(&worker, "/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "simulated");
    assert_eq!(get(&worker, "/v1/models/simulated").await.status, 200);
    assert_eq!(get(&worker, "/v1/models/other").await.status, 404);
    assert_eq!(get(&worker, "/get_load").await.status, 404);
    let metrics = get(&worker, "/metrics").await.body;
    assert!(metrics.contains("sglang:num_running_reqs{"), "{metrics}");
    let loads = get(&worker, "/v1/loads?format=prometheus").await.body;
    assert!(
        loads.contains("sglang_num_running_reqs{dp_rank=\"0\"} 0"),
        "{loads}"
    );
    assert_eq!(get(&worker, "/v1/loads?include=nonsense").await.status, 400);
}
