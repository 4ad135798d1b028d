//! Role switches.

use crate::support::{Fleet, Pair, disaggregation, generate, get, post, settle};
use serde_json::json;
use simulated_worker::{Config, Role, answer::expected_text};
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};

fn switchable(role: Role) -> Config {
    Config {
        enable_pd_role_switch: true,
        ..Config::instant(role)
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_switch_is_refused_for_the_reasons_of_sglang() {
    let decode_order = json!({"new_role": "decode", "decode_cuda_graph_memory_gb": 0.0});
    let mut fleet = Fleet::new();
    let plain = fleet.start(Config::instant(Role::Prefill));
    let lone = fleet.start(switchable(Role::Null));
    let prefill = fleet.start(switchable(Role::Prefill));
    let table = [
        (
            &plain,
            decode_order.clone(),
            "--enable-pd-role-switch is not set",
        ),
        (
            &lone,
            decode_order.clone(),
            "not running in PD disaggregation mode",
        ),
        (
            &prefill,
            json!({"new_role": "decode"}),
            "decode_cuda_graph_memory_gb is required",
        ),
    ];
    for (worker, order, reason) in table {
        let refused = post(worker, "/pd_role_switch", &order).await;
        assert_eq!(refused.status, 400);
        let outcome = refused.json();
        assert_eq!(outcome["success"], false);
        assert_eq!(outcome["safe_to_restore"], true);
        assert!(
            outcome["message"].as_str().unwrap().contains(reason),
            "{outcome}"
        );
    }
    let unknown = post(&prefill, "/pd_role_switch", &json!({"new_role": "both"})).await;
    assert_eq!(unknown.status, 400);
    assert_eq!(unknown.json()["object"], "error");
}

#[tokio::test(start_paused = true)]
async fn a_busy_worker_keeps_its_role() {
    let pair = Pair::of(switchable(Role::Prefill), switchable(Role::Decode));
    let body = pair.in_room(&generate("q", 4), 9);
    let mut clients = JoinSet::new();
    let prefill = pair.prefill.clone();
    clients.spawn(async move { post(&prefill, "/generate", &body).await });
    settle().await;
    let order = json!({"new_role": "decode", "decode_cuda_graph_memory_gb": 0.0});
    let refused = post(&pair.prefill, "/pd_role_switch", &order).await.json();
    assert_eq!(
        refused["message"],
        "instance is not idle; drain all requests before switching"
    );
    assert_eq!(pair.prefill.role(), Role::Prefill);
}

#[tokio::test(start_paused = true)]
async fn a_switched_worker_serves_in_its_new_role() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(switchable(Role::Decode));
    let decode = fleet.start(switchable(Role::Decode));
    let prepared = json!({"new_role": "prefill", "prepare_only": true});
    let prepared = post(&worker, "/pd_role_switch", &prepared).await.json();
    assert_eq!(prepared["message"], "ready");
    assert_eq!(worker.role(), Role::Decode);

    let switched = post(&worker, "/pd_role_switch", &json!({"new_role": "prefill"})).await;
    assert_eq!(switched.status, 200);
    assert_eq!(
        switched.json(),
        json!({
            "rid": null, "http_worker_ipc": null, "success": true, "message": "ok",
            "old_role": "decode", "new_role": "prefill", "safe_to_restore": false,
        })
    );
    let again = post(&worker, "/pd_role_switch", &json!({"new_role": "prefill"}))
        .await
        .json();
    assert_eq!(again["message"], "already in target role");

    let info = get(&worker, "/server_info").await.json();
    assert_eq!(
        info["disaggregation_mode"], "decode",
        "the launch argument stays"
    );
    assert_eq!(info["internal_states"][0]["disaggregation_mode"], "prefill");
    let model = get(&worker, "/model_info").await.json();
    assert_eq!(model["disaggregation_mode"], "prefill");
    assert_eq!(disaggregation(&worker).await["mode"], "prefill");

    let pair = Pair {
        fleet,
        prefill: worker,
        decode,
    };
    let (_, decoded) = pair.post("/generate", &generate("q", 4), 1).await;
    assert_eq!(decoded.json()["text"], expected_text("q", 4));
}

/// The trap that a router has to know: a decode remembers a prefill by the text `host:port`.
#[tokio::test(start_paused = true)]
async fn a_decode_that_remembers_an_old_rank_hangs_unless_the_host_is_spelled_anew() {
    let pair = Pair::of(
        Config {
            host: "localhost".into(),
            ..switchable(Role::Prefill)
        },
        switchable(Role::Decode),
    );
    let (_, first) = pair.post("/generate", &generate("q", 4), 1).await;
    assert_eq!(first.status, 200);
    for order in [
        json!({"new_role": "decode", "decode_cuda_graph_memory_gb": 0.0}),
        json!({"new_role": "prefill"}),
    ] {
        let switched = post(&pair.prefill, "/pd_role_switch", &order).await;
        assert_eq!(switched.status, 200);
    }

    let mut respelled = pair.in_room(&generate("q", 4), 2);
    respelled["bootstrap_host"] = "LOCALHOST".into();
    let began = Instant::now();
    let (_, decoded) = tokio::join!(
        post(&pair.prefill, "/generate", &respelled),
        post(&pair.decode, "/generate", &respelled)
    );
    assert_eq!(decoded.status, 200);
    assert!(began.elapsed() < Duration::from_secs(1));

    let (prefilled, decoded) = pair.post("/generate", &generate("q", 4), 3).await;
    assert_eq!(
        (prefilled.status.as_u16(), decoded.status.as_u16()),
        (500, 500)
    );
    assert!(began.elapsed() >= Duration::from_mins(5));
    let (_, afterwards) = pair.post("/generate", &generate("q", 4), 4).await;
    assert_eq!(afterwards.status, 200, "the old rank is forgotten now");
}
