//! The performance model under a worker: batches, the prefix cache, the line, the pool.

use crate::support::{
    Fleet, Pair, ask, generate, get, load, number, pair_of, pair_with, post, settle,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use simulated_worker::{
    Config, Role, Timing,
    answer::{Answer, prompt_of},
};
use std::time::Duration;
use tokio::time::Instant;

fn seconds(meta: &Value, name: &str) -> f64 {
    number(&meta["meta_info"][name])
}

/// Timers are a millisecond coarse, and a request passes a few.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 0.004
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_longer_than_a_batch_takes_several_and_shares_the_last() {
    let pair = pair_with(|_| {});
    let timing = pair.prefill.config().timing;
    let began = Instant::now();
    let (long, short) = tokio::join!(ask(&pair, 20_000, 1, 1), ask(&pair, 100, 1, 2));
    let latency = |tokens| timing.transfer(tokens).as_secs_f64();
    let computed = timing.prefill(20_100).as_secs_f64();
    let sent = computed + latency(20_000);
    assert!(close(seconds(&long.json(), "e2e_latency"), sent));
    let sent = sent + timing.sending(100).as_secs_f64();
    assert!(close(seconds(&short.json(), "e2e_latency"), sent));
    assert!(began.elapsed() > timing.prefill(8_192) * 2, "three batches");
    let load = load(&pair.prefill).await;
    assert_eq!(load["total_prefill_uncached_tokens"], 20_100);
    let busy = number(&load["total_prefill_busy_us"]);
    assert!((busy - computed * 1e6).abs() < 3.0, "{busy}");
}

#[tokio::test(start_paused = true)]
async fn a_saturated_prefill_worker_sustains_what_the_model_calls_its_capacity() {
    // Lengths of which no whole number fills a batch.
    for prompt_tokens in [300, 3_000, 5_000, 20_000] {
        let pair = pair_with(|_| {});
        let timing = pair.prefill.config().timing;
        let requests = 200_000 / prompt_tokens;
        let began = Instant::now();
        join_all((0..requests).map(|room| ask(&pair, prompt_tokens, 1, room))).await;
        let computing =
            began.elapsed().as_secs_f64() - timing.transfer(prompt_tokens).as_secs_f64();
        let capacity = timing.model.prefill.capacity(prompt_tokens, 0.0);
        let sustained = requests as f64 / computing;
        assert!(
            (sustained / capacity - 1.0).abs() < 0.02,
            "{sustained} {capacity}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_prompt_can_be_aborted_between_two_of_its_batches() {
    let pair = pair_with(|_| {});
    let body = pair.in_room(&generate(&prompt_of(60_000, 1), 1), 1);
    let one_batch = pair.prefill.config().timing.prefill(8_192);
    let abort = async {
        tokio::time::sleep(one_batch * 3 / 2).await;
        post(&pair.prefill, "/abort_request", &json!({"abort_all": true})).await;
        tokio::time::sleep(one_batch * 2).await;
        pair.prefill.stats()
    };
    let (prefilled, stats) = tokio::join!(post(&pair.prefill, "/generate", &body), async {
        tokio::select! {
            _ = post(&pair.decode, "/generate", &body) => unreachable!("nobody sends its KV"),
            stats = abort => stats,
        }
    });
    assert_eq!(prefilled.status, 500);
    assert_eq!((stats.aborted, stats.in_flight), (1, 0));
    let computed = &load(&pair.prefill).await["total_prefill_uncached_tokens"];
    assert_eq!(
        *computed,
        2 * 8_192,
        "the batch in which it left was its second"
    );
}

#[tokio::test(start_paused = true)]
async fn a_prefill_sends_one_kv_cache_at_a_time() {
    let pair = pair_with(|model| model.prefill.transfer_per_token = 1e-4);
    let timing = pair.prefill.config().timing;
    let answers = join_all((0..4).map(|room| ask(&pair, 1_000, 1, room))).await;
    let computed = timing.prefill(4_000).as_secs_f64();
    for (sent, answer) in answers.iter().enumerate() {
        let line = timing.sending(1_000).as_secs_f64() * sent as f64;
        let whole = computed + line + timing.transfer(1_000).as_secs_f64();
        let measured = seconds(&answer.json(), "e2e_latency");
        assert!(close(measured, whole), "{sent}: {measured} is not {whole}");
    }
    let disaggregation = &load(&pair.prefill).await["disaggregation"];
    let latency = number(&disaggregation["kv_transfer_latency_ms"]);
    let last = 4.0 * timing.sending(1_000).as_secs_f64() + timing.model.prefill.transfer_base;
    assert!(
        (latency - last * 1e3).abs() < 0.01,
        "the last of four: {latency}"
    );
    assert!(number(&disaggregation["kv_transfer_speed_gb_s"]) > 0.1);
}

#[tokio::test(start_paused = true)]
async fn the_first_batch_in_a_role_is_slow_for_each_that_waits() {
    let mut timing = Timing::MEASURED;
    timing.model.prefill.warm_up_per_request = 0.5;
    let config = |role| Config {
        role,
        timing,
        enable_pd_role_switch: true,
        ..Config::default()
    };
    let pair = Pair::of(config(Role::Prefill), config(Role::Decode));
    let one = || async { seconds(&ask(&pair, 8, 1, 9).await.json(), "e2e_latency") };
    let first = join_all((0..3).map(|room| ask(&pair, 8, 1, room))).await;
    let first = seconds(&first[0].json(), "e2e_latency");
    let second = one().await;
    assert!(close(first - second, 1.5), "{first} {second}");
    for order in [
        json!({"new_role": "decode", "decode_cuda_graph_memory_gb": 0.0}),
        json!({"new_role": "prefill"}),
    ] {
        let switched = post(&pair.prefill, "/pd_role_switch", &order).await;
        assert_eq!(switched.status, 200);
    }
    // A host that is spelled anew, since the decode remembers a rank that is gone.
    let mut body = pair.in_room(&generate("anew", 1), 10);
    pair.fleet.switchboard.connect(
        "anew",
        pair.prefill.config().bootstrap_port,
        pair.prefill.bootstrap(),
    );
    body["bootstrap_host"] = "anew".into();
    let (_, switched) = tokio::join!(
        post(&pair.prefill, "/generate", &body),
        post(&pair.decode, "/generate", &body)
    );
    let switched = seconds(&switched.json(), "e2e_latency");
    assert!(close(switched - second, 0.5), "{switched} {second}");
}

#[tokio::test(start_paused = true)]
async fn an_arrival_holds_up_the_next_step() {
    let took = |per_token| async move {
        let pair = pair_with(|model| model.decode.arrival_per_token = per_token);
        let answer = ask(&pair, 1_000, 11, 1).await.json();
        seconds(&answer, "e2e_latency") - seconds(&answer, "first_token_latency")
    };
    let (without, with) = (took(0.0).await, took(1e-4).await);
    assert!(close(with - without, 1_001.0 * 1e-4), "{without} {with}");
}

#[tokio::test(start_paused = true)]
async fn a_prompt_whose_beginning_is_known_costs_only_its_end() {
    let pair = pair_of(|_| {}, true);
    let timing = pair.prefill.config().timing;
    let beginning = prompt_of(1_600, 1);
    let ask = |end: &str, room| {
        let body = generate(&format!("{beginning}{end}"), 2);
        let pair = &pair;
        async move { pair.post("/generate", &body, room).await }
    };
    let (_, cold) = ask("one end of it", 1).await;
    assert_eq!(cold.json()["meta_info"]["cached_tokens"], 0);
    let before = load(&pair.prefill).await;
    assert_eq!(before["cache_hit_rate"], 0.0);
    let (prefilled, warm) = ask("another end!", 2).await;
    for answer in [&prefilled, &warm] {
        assert_eq!(answer.json()["meta_info"]["cached_tokens"], 1_600);
    }
    let after = load(&pair.prefill).await;
    let grew = |name: &str| after[name].as_u64().unwrap() - before[name].as_u64().unwrap();
    assert_eq!(grew("total_prefill_uncached_tokens"), 3);
    let cached = timing.model.prefill.cached_cost * 1_600.0;
    let busy = timing.prefill(3 + cached.round() as u64).as_micros() as u64;
    assert!(grew("total_prefill_busy_us").abs_diff(busy) <= 2);
    assert_eq!(after["cache_hit_rate"], 1_600.0 / 1_603.0);

    assert_eq!(get(&pair.prefill, "/flush_cache").await.status, 200);
    let (_, flushed) = ask("a third end", 3).await;
    assert_eq!(flushed.json()["meta_info"]["cached_tokens"], 0);
}

#[tokio::test(start_paused = true)]
async fn usage_tells_what_the_cache_saved() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config {
        prefix_cache: true,
        ..Config::instant(Role::Null)
    });
    let body = json!({"prompt": prompt_of(64, 1), "stream": true, "stream_options": {"include_usage": true}});
    // The second time all is known, and the last token is computed nevertheless.
    for cached in [0, 63] {
        let last = post(&worker, "/v1/completions", &body).await.chunks().pop();
        let usage = &last.unwrap()["usage"];
        assert_eq!(
            usage["prompt_tokens_details"]["cached_tokens"], cached,
            "{usage}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_nothing_is_remembered() {
    let pair = pair_with(|_| {});
    for room in 0..2 {
        let (_, decoded) = pair
            .post("/generate", &generate(&prompt_of(640, 1), 1), room)
            .await;
        assert_eq!(decoded.json()["meta_info"]["cached_tokens"], 0);
    }
    assert_eq!(
        load(&pair.prefill).await["total_prefill_uncached_tokens"],
        1_280
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_the_pool_has_room_for_its_prompt() {
    let pair = pair_with(|model| model.decode.kv_pool_tokens = 1_000);
    let requests = join_all((0..3).map(|room| ask(&pair, 450, 20, room)));
    let watch = async {
        settle().await;
        let waiting = load(&pair.decode).await;
        let disaggregation = &waiting["disaggregation"];
        assert_eq!(disaggregation["decode_transfer_queue_reqs"], 2);
        assert_eq!(disaggregation["decode_prealloc_queue_reqs"], 1);
        assert_eq!(waiting["num_used_tokens"], 900);
        assert_eq!(waiting["num_total_tokens"], 1_350);
        assert_eq!(waiting["num_active_tokens"], 0, "no KV has come yet");
        assert_eq!(waiting["token_usage"], 0.9);
        let prefill = load(&pair.prefill).await;
        assert_eq!(prefill["disaggregation"]["prefill_bootstrap_queue_reqs"], 1);
    };
    let (answers, ()) = tokio::join!(requests, watch);
    let ttfts: Vec<f64> = answers
        .iter()
        .map(|answer| seconds(&answer.json(), "first_token_latency"))
        .collect();
    assert!(ttfts[2] > ttfts[0] + 0.1, "{ttfts:?}");
    assert_eq!(pair.decode.stats().retractions, 0);
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_put_back_when_the_batch_outgrows_the_pool() {
    let pair = pair_with(|model| model.decode.kv_pool_tokens = 1_000);
    let requests = join_all((0..4).map(|room| ask(&pair, 100, 300, room)));
    let watch = async {
        let mut most = 0;
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let load = load(&pair.decode).await;
            assert!(load["num_used_tokens"].as_u64().unwrap() <= 1_000, "{load}");
            let back = &load["disaggregation"]["decode_retracted_queue_reqs"];
            most = most.max(back.as_u64().unwrap());
        }
        most
    };
    let (answers, most) = tokio::join!(requests, watch);
    assert!(most >= 1);
    let mut retractions = 0;
    for (room, answer) in answers.iter().enumerate() {
        let answer = answer.json();
        assert_eq!(
            answer["text"],
            Answer::to_text(&prompt_of(100, room as u64)).text(300),
            "nothing is lost"
        );
        retractions += answer["meta_info"]["num_retractions"].as_u64().unwrap();
    }
    assert_eq!(retractions, pair.decode.stats().retractions);
    assert_eq!(
        answers[0].json()["meta_info"]["num_retractions"],
        0,
        "the oldest stays"
    );
}
