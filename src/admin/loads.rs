//! How loaded the workers are: in tokens, as the load loop last read them, and in full, asked now.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::AdminState;
use super::ask::{self, Asked, ask_all};
use crate::upstream::UpstreamRequest;
use crate::workers::Worker;

/// What a worker is to report, as the load loop asks it too.
const SECTIONS: &str = "include=core,disagg,queues";

/// A worker reads its loads from memory; one that takes longer is reported without.
const LOADS_LIMIT: Duration = Duration::from_secs(2);

/// The load of a worker whose last poll failed or is too old.
const UNKNOWN: i64 = -1;

pub(super) async fn tokens(State(state): State<AdminState>) -> Json<Value> {
    let now = state.clock.now();
    let poll_interval = state.config.health.load_poll_interval;
    let load = |worker: &Worker| {
        worker
            .reported_tokens(now, poll_interval)
            .and_then(|tokens| i64::try_from(tokens).ok())
            .unwrap_or(UNKNOWN)
    };
    let set = state.registry.snapshot();
    let workers: Vec<_> = set
        .members()
        .iter()
        .map(|member| &member.worker)
        .map(|worker| json!({ "worker": worker.url.as_str(), "load": load(worker) }))
        .collect();
    Json(json!({ "workers": workers }))
}

pub(super) async fn loads(State(state): State<AdminState>) -> Json<Value> {
    let set = Arc::clone(&state.registry.snapshot());
    let answers = ask_all(
        &state.upstream,
        set.members().to_vec(),
        LOADS_LIMIT,
        request,
    )
    .await;
    let (mut workers, mut all) = (Vec::new(), Vec::new());
    for asked in &answers {
        let loads = reported(asked);
        workers.push(shown(asked, loads.as_deref()));
        all.extend(loads.into_iter().flatten().map(|load| named(asked, load)));
    }
    Json(json!({ "timestamp": seconds_since_epoch(), "workers": workers, "loads": all }))
}

fn request(worker: &Worker) -> UpstreamRequest {
    let mut request = ask::get(worker, "/v1/loads");
    request.url.set_query(Some(SECTIONS));
    request
}

/// One entry for each data-parallel rank of the worker.
fn reported((_, answer): &Asked) -> Option<Vec<Map<String, Value>>> {
    let mut report: Value = serde_json::from_slice(answer.as_ref().ok()?).ok()?;
    serde_json::from_value(report["loads"].take()).ok()
}

fn shown((member, _): &Asked, loads: Option<&[Map<String, Value>]>) -> Value {
    json!({
        "worker": member.worker.url.as_str(),
        "role": member.role.as_str(),
        "state": member.state.as_str(),
        "in_flight": member.worker.in_flight(),
        "loads": loads,
    })
}

fn named((member, _): &Asked, mut load: Map<String, Value>) -> Value {
    load.insert("worker".to_owned(), member.worker.url.as_str().into());
    Value::Object(load)
}

fn seconds_since_epoch() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::stand_in::{Bench, Reply};
    use crate::workers::LoadReport;
    use policies::worker::Role;

    #[tokio::test]
    async fn an_unknown_load_is_minus_one() {
        let bench = Bench::new([
            ("p:1", Role::Prefill, vec![]),
            ("d:1", Role::Decode, vec![]),
        ]);
        bench.workers[1].record_report(Some(LoadReport {
            used_tokens: 7,
            at: bench.state.clock.now(),
            ..LoadReport::default()
        }));
        let expected = json!({"workers": [
            {"worker": "http://p:1", "load": -1},
            {"worker": "http://d:1", "load": 7},
        ]});
        assert_eq!(bench.get("/get_loads").await.json(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_hangs_is_shown_without_loads() {
        let report = json!({"loads": [{"dp_rank": 0, "num_running_reqs": 3}]});
        let bench = Bench::new([
            ("p:1", Role::Prefill, vec![("/v1/loads", Reply::Hang)]),
            (
                "d:1",
                Role::Decode,
                vec![("/v1/loads", Reply::json(report.clone()))],
            ),
        ]);
        let mut answer = bench.get("/v1/loads").await.json();
        assert!(answer["timestamp"].take().as_f64().unwrap() > 1.7e9);
        let expected = json!({
            "timestamp": null,
            "workers": [
                {"worker": "http://p:1", "role": "prefill", "state": "serving", "in_flight": 0, "loads": null},
                {"worker": "http://d:1", "role": "decode", "state": "serving", "in_flight": 0, "loads": report["loads"]},
            ],
            "loads": [{"dp_rank": 0, "num_running_reqs": 3, "worker": "http://d:1"}],
        });
        assert_eq!(answer, expected);
        assert_eq!(bench.heard()[0].2, "/v1/loads?include=core,disagg,queues");
    }
}
