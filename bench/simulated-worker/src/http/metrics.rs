//! `/metrics`: the gauges and counters of the real worker that this one can fill honestly.

use super::{errors, json::put};
use crate::{SimulatedWorker, config::Role};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};

pub(super) async fn metrics(State(worker): State<SimulatedWorker>) -> Response {
    if !worker.config().enable_metrics {
        return errors::failed(StatusCode::NOT_FOUND, "Not Found");
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text(&worker)).into_response()
}

fn text(worker: &SimulatedWorker) -> String {
    let (_, counters, queues) = worker.engine.counters();
    let config = worker.config();
    let most = config.timing.model.decode.kv_pool_tokens;
    let gauges = [
        ("num_running_reqs", queues.running as f64),
        ("num_queue_reqs", queues.waiting as f64),
        ("num_grammar_queue_reqs", 0.0),
        ("num_paused_reqs", 0.0),
        ("num_retracted_reqs", queues.decode_retracted as f64),
        (
            "num_prefill_bootstrap_queue_reqs",
            queues.prefill_bootstrap as f64,
        ),
        (
            "num_prefill_inflight_queue_reqs",
            queues.prefill_inflight as f64,
        ),
        (
            "num_decode_prealloc_queue_reqs",
            queues.decode_prealloc as f64,
        ),
        (
            "num_decode_transfer_queue_reqs",
            queues.decode_transfer as f64,
        ),
        (
            "token_usage",
            queues.used_tokens as f64 / most.max(1) as f64,
        ),
        ("num_used_tokens", queues.used_tokens as f64),
        ("kv_used_tokens", queues.used_tokens as f64),
        (
            "kv_available_tokens",
            most.saturating_sub(queues.used_tokens) as f64,
        ),
        ("max_total_num_tokens", most as f64),
        ("cache_hit_rate", counters.cache_hit_rate),
        ("gen_throughput", counters.throughput.rate()),
    ];
    let totals = [
        ("num_requests_total", counters.requests),
        ("num_aborted_requests_total", counters.aborted),
        ("num_bootstrap_failed_reqs_total", counters.bootstrap_failed),
        ("num_transfer_failed_reqs_total", counters.transfer_failed),
        ("prompt_tokens_total", counters.prompt_tokens),
        ("generation_tokens_total", counters.generated_tokens),
        ("cached_tokens_total", counters.cached_tokens),
    ];
    let labels = format!(
        "model_name=\"{}\",engine_type=\"{}\",tp_rank=\"0\",pp_rank=\"0\",moe_ep_rank=\"0\"",
        config.model,
        engine_type(worker)
    );
    let mut out = String::new();
    for (name, value) in gauges {
        put!(
            &mut out,
            "# TYPE sglang:{name} gauge\nsglang:{name}{{{labels}}} {value}\n"
        );
    }
    for (name, value) in totals {
        put!(
            &mut out,
            "# TYPE sglang:{name} counter\nsglang:{name}{{{labels}}} {value}\n"
        );
    }
    out
}

/// A worker whose role can change doesn't label its series by it.
fn engine_type(worker: &SimulatedWorker) -> &'static str {
    let config = worker.config();
    match config.role {
        _ if config.enable_pd_role_switch => "dynamic",
        Role::Prefill => "prefill",
        Role::Decode => "decode",
        Role::Null => "unified",
    }
}
