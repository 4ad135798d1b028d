//! `/v1/loads`: what a router balances by.

use super::{admin::VERSION, errors, json::put};
use crate::{
    SimulatedWorker,
    config::Config,
    counters::{Counters, Queues},
};
use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The sections that can be asked for, by the name in the query and the name in the answer.
const SECTIONS: [(&str, &str); 3] = [
    ("memory", "memory"),
    ("disagg", "disaggregation"),
    ("queues", "queues"),
];
/// Sections of the real worker that this one has nothing to say about.
const EMPTY_SECTIONS: [&str; 4] = ["core", "spec", "lora", "all"];

#[derive(Deserialize)]
pub(super) struct Wanted {
    include: Option<String>,
    format: Option<String>,
}

pub(super) async fn loads(
    State(worker): State<SimulatedWorker>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let load = match load(&worker, wanted.include.as_deref()) {
        Ok(load) => load,
        Err(message) => return errors::failed(StatusCode::BAD_REQUEST, &message),
    };
    if wanted.format.as_deref() == Some("prometheus") {
        return prometheus(&load).into_response();
    }
    Json(json!({
        "timestamp": seconds(),
        "version": VERSION,
        "accelerator": "simulated",
        "num_accelerators": 1,
        "loads": [load],
    }))
    .into_response()
}

fn load(worker: &SimulatedWorker, include: Option<&str>) -> Result<Map<String, Value>, String> {
    let include: Vec<&str> = include.map_or_else(
        || vec!["all"],
        |include| include.split(',').map(str::trim).collect(),
    );
    let known = |name: &&str| {
        EMPTY_SECTIONS.contains(name) || SECTIONS.iter().any(|(query, _)| query == name)
    };
    if let Some(unknown) = include.iter().find(|name| !known(name)) {
        return Err(format!("Invalid include sections: {{'{unknown}'}}."));
    }
    let (_, counters, queues) = worker.engine.counters();
    let mode = worker.reported_role().as_str();
    let mut load = core(worker.config(), &counters, &queues);
    for (query, name) in SECTIONS {
        if include.contains(&"all") || include.contains(&query) {
            load.insert(
                name.into(),
                section(name, worker.config(), &counters, &queues, mode),
            );
        }
    }
    Ok(load)
}

fn core(config: &Config, counters: &Counters, queues: &Queues) -> Map<String, Value> {
    let pool = config.timing.model.decode.kv_pool_tokens;
    let most = config.timing.model.decode.max_running;
    let usage = queues.used_tokens as f64 / pool.max(1) as f64;
    let total = queues.used_tokens + queues.pending_tokens;
    let fields = json!({
        "timestamp": seconds(),
        "dp_rank": 0,
        "num_running_reqs": queues.running,
        "num_waiting_reqs": queues.not_running(),
        "num_waiting_uncached_tokens": queues.waiting_uncached_tokens,
        "num_used_tokens": queues.used_tokens,
        "num_total_tokens": total,
        "num_active_tokens": total.saturating_sub(queues.awaiting_kv_tokens),
        "num_prealloc_ready_tokens": 0,
        "max_total_num_tokens": pool,
        "max_running_requests": most,
        "token_usage": usage,
        "gen_throughput": counters.throughput.rate(),
        "cache_hit_rate": counters.cache_hit_rate,
        "utilization": queues.running as f64 / f64::from(most.max(1)),
        "total_prefill_uncached_tokens": counters.prefill_tokens,
        "total_prefill_busy_us": counters.prefill_busy.as_micros() as u64,
        "decode_moments": counters.decode.sums(),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn section(name: &str, config: &Config, counters: &Counters, queues: &Queues, mode: &str) -> Value {
    match name {
        "memory" => json!({
            "weight_gb": 0.0,
            "kv_cache_gb": 0.0,
            "graph_gb": 0.0,
            "token_capacity": config.timing.model.decode.kv_pool_tokens,
        }),
        "disaggregation" => json!({
            "mode": mode,
            "prefill_bootstrap_queue_reqs": queues.prefill_bootstrap,
            "prefill_inflight_queue_reqs": queues.prefill_inflight,
            "decode_prealloc_queue_reqs": queues.decode_prealloc,
            "decode_transfer_queue_reqs": queues.decode_transfer,
            "decode_retracted_queue_reqs": queues.decode_retracted,
            "kv_transfer_speed_gb_s": counters.transfer.speed(),
            "kv_transfer_latency_ms": counters.transfer.latency_ms(),
        }),
        _ => json!({
            "waiting": queues.waiting,
            "grammar": 0,
            "paused": 0,
            "retracted": queues.decode_retracted,
            "prealloc_ready": 0,
        }),
    }
}

/// The same numbers as text, named as the sections are.
fn prometheus(load: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (key, value) in load {
        match value {
            Value::Number(number) => sample(&mut text, key, number),
            Value::Object(section) => {
                let prefix = if key == "disaggregation" {
                    "disagg"
                } else {
                    key
                };
                for (name, value) in section {
                    if let Value::Number(number) = value {
                        sample(&mut text, &format!("{prefix}_{name}"), number);
                    }
                }
            }
            _ => {}
        }
    }
    text
}

fn sample(text: &mut String, name: &str, value: &serde_json::Number) {
    if name != "dp_rank" {
        put!(
            text,
            "# TYPE sglang_{name} gauge\nsglang_{name}{{dp_rank=\"0\"}} {value}\n"
        );
    }
}

fn seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
