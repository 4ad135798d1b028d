//! What goes wrong around role switches on a real worker.

use crate::support::{
    Answered, Fleet, Pair, generate, get, load, post, read, send, settle, streamed,
};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use simulated_worker::{
    Config, ConnectionReset, Fault, Role, SimulatedWorker, TransferBackend, answer::expected_text,
};
use std::time::Duration;
use tokio::time::Instant;
use tower::ServiceExt;

fn switchable(role: Role) -> Config {
    Config {
        enable_pd_role_switch: true,
        ..Config::instant(role)
    }
}

fn to_decode() -> Value {
    json!({"new_role": "decode", "decode_cuda_graph_memory_gb": 1.5, "decode_cuda_graph_bs": [1, 16]})
}

async fn switch(worker: &SimulatedWorker, order: &Value) -> Value {
    post(worker, "/pd_role_switch", order).await.json()
}

/// Refused as `switched` says.
fn is_refused(switched: &Value, reason: &str, safe_to_restore: bool) -> bool {
    switched["success"] == false
        && switched["safe_to_restore"] == safe_to_restore
        && switched["message"]
            .as_str()
            .is_some_and(|message| message.contains(reason))
}

async fn bootstrap(worker: &SimulatedWorker, path: &str) -> Answered {
    let request = Request::get(path)
        .body(Body::empty())
        .expect("a good request");
    let Ok(response) = worker.bootstrap().oneshot(request).await;
    read(response).await
}

#[tokio::test(start_paused = true)]
async fn only_some_transfer_backends_can_switch_and_the_others_say_so_when_called() {
    for backend in TransferBackend::ALL {
        let mut fleet = Fleet::new();
        let worker = fleet.start(Config {
            transfer_backend: backend,
            ..switchable(Role::Prefill)
        });
        let info = get(&worker, "/server_info").await.json();
        assert_eq!(info["disaggregation_transfer_backend"], backend.as_str());
        assert_eq!(
            info["enable_pd_role_switch"], true,
            "it starts with the flag"
        );
        let switched = switch(&worker, &to_decode()).await;
        match backend {
            TransferBackend::Mooncake | TransferBackend::Mori => {
                assert_eq!(switched["message"], "ok");
            }
            TransferBackend::Nixl | TransferBackend::Ascend | TransferBackend::Fake => {
                assert!(
                    is_refused(&switched, "does not support", true),
                    "{switched}"
                );
                assert_eq!(worker.role(), Role::Prefill);
            }
        }
    }
}

/// A former prefill worker with its cache on, a prefill worker and what both need to be asked as a pair.
async fn former_prefill(prefix_cache: bool) -> Pair {
    let mut fleet = Fleet::new();
    let prefill = fleet.start(switchable(Role::Prefill));
    let decode = fleet.start(Config {
        prefix_cache,
        ..switchable(Role::Prefill)
    });
    assert_eq!(switch(&decode, &to_decode()).await["message"], "ok");
    Pair {
        fleet,
        prefill,
        decode,
    }
}

#[tokio::test(start_paused = true)]
async fn a_former_prefill_with_a_cache_dies_at_the_second_prompt_that_begins_alike() {
    let long = |end: &str| generate(&format!("{}{end}", "the same beginning ".repeat(20)), 400);
    let pair = former_prefill(true).await;
    for (room, text) in [(1, "a".repeat(400)), (2, "b".repeat(400))] {
        let (_, decoded) = pair.post("/generate", &generate(&text, 4), room).await;
        assert_eq!(decoded.status, 200, "nothing alike");
    }
    let (_, decoded) = pair.post("/generate", &long("a"), 3).await;
    assert_eq!(decoded.status, 200, "the first of its kind");

    let doomed = pair.in_room(&streamed(&long("b")), 4);
    let (_, broken) = tokio::join!(
        tokio::time::timeout(
            Duration::from_secs(30),
            post(&pair.prefill, "/generate", &doomed)
        ),
        post(&pair.decode, "/generate", &doomed)
    );
    assert!(broken.broken, "what ran broke off");
    for path in ["/ready", "/health", "/server_info", "/v1/loads"] {
        let request = Request::get(path)
            .body(Body::empty())
            .expect("a good request");
        let Ok(response) = pair.decode.http().oneshot(request).await;
        assert!(
            response.extensions().get::<ConnectionReset>().is_some(),
            "{path}"
        );
    }
    pair.decode.crashed().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_cache_a_former_prefill_decodes_the_same_prompt_for_ever() {
    let pair = former_prefill(false).await;
    let prompt = "the same beginning ".repeat(20);
    for room in 1..5 {
        let (_, decoded) = pair.post("/generate", &generate(&prompt, 4), room).await;
        assert_eq!(decoded.json()["text"], expected_text(&prompt, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_fails_before_it_began_leaves_the_old_role() {
    let pair = Pair::of(switchable(Role::Prefill), switchable(Role::Decode));
    pair.prefill.faults().add(
        Fault::SwitchFails {
            safe_to_restore: true,
        }
        .times(1),
    );
    let prepared =
        json!({"new_role": "decode", "decode_cuda_graph_memory_gb": 0.0, "prepare_only": true});
    assert_eq!(switch(&pair.prefill, &prepared).await["message"], "ready");
    assert!(is_refused(
        &switch(&pair.prefill, &to_decode()).await,
        "simulated fault",
        true
    ));
    let (_, decoded) = pair.post("/generate", &generate("q", 4), 1).await;
    assert_eq!(decoded.status, 200);
    assert_eq!(switch(&pair.prefill, &to_decode()).await["message"], "ok");
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_fails_half_way_leaves_a_worker_that_only_a_restart_helps() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(switchable(Role::Prefill));
    settle().await;
    worker
        .faults()
        .set(["switch_fails".parse().expect("a fault")]);
    assert!(is_refused(
        &switch(&worker, &to_decode()).await,
        "restart required",
        false
    ));
    worker.faults().clear();
    for path in ["/ready", "/health"] {
        assert_eq!(get(&worker, path).await.status, 503, "{path}");
    }
    assert_eq!(
        post(&worker, "/generate", &generate("q", 4)).await.status,
        503
    );
    for order in [to_decode(), json!({"new_role": "prefill"})] {
        assert!(is_refused(
            &switch(&worker, &order).await,
            "unhealthy",
            false
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_probe_keeps_the_worker_busy_and_ready_does_not() {
    for (path, busy) in [
        ("/health", true),
        ("/health_generate", true),
        ("/ready", false),
    ] {
        let mut fleet = Fleet::new();
        let worker = fleet.start(Config {
            health_probe: Duration::from_secs(1),
            ..switchable(Role::Prefill)
        });
        settle().await;
        let during = async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            switch(&worker, &to_decode()).await
        };
        let (probed, switched) = tokio::join!(get(&worker, path), during);
        assert_eq!(probed.status, 200, "{path}");
        assert_eq!(is_refused(&switched, "not idle", true), busy, "{path}");
        if busy {
            assert_eq!(
                switch(&worker, &to_decode()).await["message"],
                "ok",
                "{path}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_former_prefill_is_no_prefill_however_its_bootstrap_server_looks() {
    const RANK: &str =
        "/route?prefill_dp_rank=0&prefill_cp_rank=0&target_tp_rank=0&target_pp_rank=0";
    let mut fleet = Fleet::new();
    let worker = fleet.start(switchable(Role::Prefill));
    let before = bootstrap(&worker, RANK).await.json();
    assert_eq!(switch(&worker, &to_decode()).await["message"], "ok");
    assert_eq!(bootstrap(&worker, "/health").await.status, 200);
    assert_eq!(
        bootstrap(&worker, RANK).await.json(),
        before,
        "the old ranks"
    );
    let info = get(&worker, "/model_info").await.json();
    assert_eq!(info["disaggregation_mode"], "decode");
    assert_eq!(
        switch(&worker, &json!({"new_role": "prefill"})).await["message"],
        "ok"
    );
    assert_ne!(bootstrap(&worker, RANK).await.json(), before, "new ranks");
}

#[tokio::test(start_paused = true)]
async fn decode_graphs_are_reported_once_they_are_captured() {
    let mut fleet = Fleet::new();
    let workers = [Role::Prefill, Role::Decode].map(|role| fleet.start(switchable(role)));
    let graphs = async |worker: &SimulatedWorker| {
        let info = get(worker, "/server_info").await.json();
        let state = &info["internal_states"][0];
        (
            state["decode_cuda_graph_memory_gb"].clone(),
            state["decode_cuda_graph_bs"].clone(),
        )
    };
    assert_eq!(graphs(&workers[0]).await, (json!(0.0), json!([])));
    let (memory, batches) = graphs(&workers[1]).await;
    assert!(memory.as_f64().expect("a number") > 0.0);
    assert!(!batches.as_array().expect("a list").is_empty());
    let began = Instant::now();
    assert_eq!(switch(&workers[0], &to_decode()).await["message"], "ok");
    assert_eq!(began.elapsed(), Duration::ZERO);
    let (memory, batches) = graphs(&workers[0]).await;
    assert!(memory.as_f64().expect("a number") > 0.0);
    assert_eq!(batches, json!([1, 16]), "those that were asked for");
}

/// All samples of a prompt are sent with one room, whatever rooms the request names, and a room's KV is handed over once.
#[tokio::test(start_paused = true)]
async fn a_pair_answers_one_sample_of_a_prompt_and_the_others_never() {
    let pair = Pair::instant();
    let mut body = generate("a", 4);
    body["sampling_params"]["n"] = 3.into();
    let hour = Duration::from_secs(3600);

    let mut rooms = pair.in_room(&body, 0);
    rooms["bootstrap_host"] = json!([
        rooms["bootstrap_host"],
        rooms["bootstrap_host"],
        rooms["bootstrap_host"]
    ]);
    rooms["bootstrap_port"] = json!([
        rooms["bootstrap_port"],
        rooms["bootstrap_port"],
        rooms["bootstrap_port"]
    ]);
    rooms["bootstrap_room"] = json!([7, 8, 9]);
    for body in [pair.in_room(&body, 5), rooms] {
        let whole =
            async { tokio::time::timeout(hour, post(&pair.decode, "/generate", &body)).await };
        let (prefill, decode) = tokio::join!(post(&pair.prefill, "/generate", &body), whole);
        assert_eq!(prefill.json().as_array().unwrap().len(), 3);
        assert!(decode.is_err(), "{decode:?}");
    }

    let streamed = pair.in_room(&streamed(&body), 11);
    let reading = async {
        let body = streamed.to_string();
        let mut frames = send(&pair.decode, "POST", "/generate", body)
            .await
            .into_body();
        let mut told = String::new();
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(hour, frames.frame()).await {
            told += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
        }
        (frames, told)
    };
    let (_, (frames, told)) = tokio::join!(post(&pair.prefill, "/generate", &streamed), reading);
    assert!(
        told.contains(&format!("\"text\":\"{}\"", expected_text("a", 4))),
        "{told}"
    );
    assert!(
        !told.contains("\"index\":1") && !told.contains("[DONE]"),
        "{told}"
    );
    assert_eq!(queued(&pair.decode).await, 2);
    drop(frames);
    settle().await;
    assert_eq!(queued(&pair.decode).await, 0);
}

/// Requests that wait in a decode worker for their KV.
async fn queued(worker: &SimulatedWorker) -> u64 {
    let queues = &load(worker).await["disaggregation"];
    ["decode_prealloc_queue_reqs", "decode_transfer_queue_reqs"]
        .map(|name| queues[name].as_u64().expect("a count"))
        .iter()
        .sum()
}
