//! Probes, information and control.

use super::{
    errors,
    openai::unix_time,
    request::{FAKE_BOOTSTRAP_HOST, random_rid},
};
use crate::{
    SimulatedWorker,
    answer::Answer,
    config::Role,
    engine::{Job, Meeting, Plan, SwitchOrder},
    faults::Rule,
    ticket::Ticket,
};
use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// The release whose wire format this worker speaks.
pub(super) const VERSION: &str = "0.5.23";

/// How long `/health` waits for the engine (SGLang's default for its probe).
const HEALTH_TIMEOUT: Duration = Duration::from_secs(20);

/// What decode graphs are said to take. Any number but 0 does: it tells a router that passes on a peer's number from one
/// that makes up its own.
const GRAPH_MEMORY_GB: f64 = 1.25;

impl SimulatedWorker {
    fn is_ready(&self) -> bool {
        self.engine.is_up() && !self.engine.is_unhealthy() && !self.engine.faults.unready()
    }

    /// The role that the worker reports: its own, unless a fault makes it lie.
    pub(super) fn reported_role(&self) -> Role {
        let claimed = self.engine.faults.claimed_role();
        claimed.unwrap_or_else(|| self.engine.role())
    }
}

/// Cheap: no generation.
pub(super) async fn ready(State(worker): State<SimulatedWorker>) -> StatusCode {
    if worker.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Generates a token, without a partner, and takes its second for it, in which the worker isn't idle.
pub(super) async fn health(State(worker): State<SimulatedWorker>) -> StatusCode {
    if !worker.is_ready() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let _busy = worker.engine.probe();
    let probe = worker.engine.admit(Job {
        rid: format!("HEALTH_CHECK_{}", random_rid()).into(),
        meeting: Meeting::Nobody,
        prompt_tokens: 1,
        blocks: Vec::new(),
        plan: Plan::first_token(Answer::to_text(FAKE_BOOTSTRAP_HOST)),
        ticket: Arc::new(Ticket::default()),
        probe: true,
    });
    let answered = tokio::time::timeout(HEALTH_TIMEOUT, async {
        tokio::join!(
            probe.ended(),
            tokio::time::sleep(worker.config().health_probe)
        )
    });
    match answered.await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The launch arguments, which a role switch doesn't touch, and the live state below `internal_states`.
pub(super) async fn server_info(State(worker): State<SimulatedWorker>) -> Json<Value> {
    let config = worker.config();
    let model = &config.timing.model;
    let graphs = worker.engine.graphs();
    Json(json!({
        "model_path": config.model,
        "served_model_name": config.model,
        "tokenizer_path": config.model,
        "host": config.host,
        "port": config.port,
        "context_length": config.context_length,
        "disaggregation_mode": config.role,
        "disaggregation_bootstrap_port": config.bootstrap_port,
        "disaggregation_transfer_backend": config.transfer_backend,
        "tp_size": 1,
        "dp_size": 1,
        "pp_size": 1,
        "ep_size": 1,
        "page_size": 1,
        "max_running_requests": model.decode.max_running,
        "max_prefill_tokens": model.prefill.max_batch_tokens,
        "chunked_prefill_size": model.prefill.max_batch_tokens,
        "load_balance_method": "follow_bootstrap_room",
        "stream_interval": config.stream_interval,
        "enable_pd_role_switch": config.enable_pd_role_switch,
        "enable_metrics": config.enable_metrics,
        "disable_radix_cache": !config.caches_prompts(),
        "launch_command": "simulated-worker",
        "max_total_num_tokens": model.decode.kv_pool_tokens,
        "max_req_input_len": config.context_length.saturating_sub(6),
        "startup_time": {
            "load_weight": 0.0,
            "kv_cache_allocation": 0.0,
            "scheduler_e2e": 0.0,
            "cuda_graph": {"prefill": 0.0, "decode": 0.0},
            "tokenizer_e2e": 0.0,
        },
        "version": VERSION,
        "kv_events": null,
        "internal_states": [{
            "disaggregation_mode": worker.reported_role(),
            "decode_cuda_graph_memory_gb": if graphs.is_some() { GRAPH_MEMORY_GB } else { 0.0 },
            "decode_cuda_graph_bs": graphs.unwrap_or_default(),
            "memory_usage": {
                "weight": 0.0,
                "kvcache": 0.0,
                "token_capacity": model.decode.kv_pool_tokens,
                "graph": {},
            },
            "effective_max_running_requests_per_dp": model.decode.max_running,
            "last_gen_throughput": worker.engine.counters().1.throughput.rate(),
            "world_size": 1,
        }],
    }))
}

pub(super) async fn model_info(State(worker): State<SimulatedWorker>) -> Json<Value> {
    let model = &worker.config().model;
    Json(json!({
        "model_path": model,
        "served_model_name": model,
        "tokenizer_path": model,
        "is_generation": true,
        "preferred_sampling_params": null,
        "weight_version": "default",
        "load_format": "auto",
        "reasoning_parser": null,
        "tool_call_parser": null,
        "disaggregation_mode": worker.reported_role(),
        "has_image_understanding": false,
        "has_audio_understanding": false,
        "model_type": "simulated",
        "architectures": ["SimulatedForCausalLM"],
    }))
}

pub(super) async fn models(State(worker): State<SimulatedWorker>) -> Json<Value> {
    Json(json!({"object": "list", "data": [card(&worker)]}))
}

pub(super) async fn model(
    State(worker): State<SimulatedWorker>,
    Path(name): Path<String>,
) -> Response {
    if name == worker.config().model {
        return Json(card(&worker)).into_response();
    }
    let error = json!({"error": {
        "message": format!("The model '{name}' does not exist"),
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }});
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}

fn card(worker: &SimulatedWorker) -> Value {
    let config = worker.config();
    json!({
        "id": config.model,
        "object": "model",
        "created": unix_time(),
        "owned_by": "sglang",
        "root": config.model,
        "parent": null,
        "max_model_len": config.context_length,
    })
}

#[derive(Default, Deserialize)]
struct AbortOrder {
    #[serde(default)]
    rid: String,
    #[serde(default)]
    abort_all: bool,
}

pub(super) async fn abort_request(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    let order: AbortOrder = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return errors::malformed(&error.to_string()),
    };
    if order.abort_all {
        worker.engine.abort_matching(None);
    } else if !order.rid.is_empty() {
        worker.engine.abort_matching(Some(&order.rid));
    }
    StatusCode::OK.into_response()
}

pub(super) async fn flush_cache(State(worker): State<SimulatedWorker>) -> Response {
    if worker.engine.flush_cache() {
        "Cache flushed.\n".into_response()
    } else {
        let text = "Flush cache failed: requests are running or waiting.\n";
        (StatusCode::BAD_REQUEST, text).into_response()
    }
}

pub(super) async fn role_switch(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    let order: SwitchOrder = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return errors::malformed(&error.to_string()),
    };
    if !matches!(order.new_role.as_str(), "prefill" | "decode") {
        return errors::malformed("new_role: Input should be 'prefill' or 'decode'");
    }
    let outcome = worker.engine.switch_role(&order).await;
    let status = if outcome.success {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    (status, Json(outcome)).into_response()
}

pub(super) async fn faults(State(worker): State<SimulatedWorker>) -> Json<Vec<Rule>> {
    Json(worker.faults().rules())
}

/// Replaces all faults by a list of rules.
pub(super) async fn set_faults(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    match serde_json::from_slice::<Vec<Rule>>(&body) {
        Ok(rules) => {
            worker.faults().set(rules);
            Json(worker.faults().rules()).into_response()
        }
        Err(error) => errors::malformed(&error.to_string()),
    }
}
