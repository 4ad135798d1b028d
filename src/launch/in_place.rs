//! `/pd_role_switch`: an idle worker of SGLang changes its role and keeps its weights and its KV pool.
//!
//! Only the mooncake and mori backends can, and only where the worker was launched for it. The worker refuses while
//! anything is in it, so it is asked to look first (`prepare_only`). A switch that went wrong says whether the worker may
//! serve on in its old role or has to be started anew. Nobody may probe its health meanwhile: a probe generates.

use std::time::Duration;

use bytes::Bytes;
use policies::worker::Role;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::upstream::{Upstream, UpstreamRequest};
use crate::workers::Worker;

/// Backends of SGLang 0.5.23 that support it. The others refuse when asked, not when launched.
const BACKENDS: [&str; 2] = ["mooncake", "mori"];

/// Between two questions to a worker that is not idle yet.
const PAUSE: Duration = Duration::from_millis(200);

/// For a question that the worker answers from memory.
const QUESTION: Duration = Duration::from_secs(5);

/// An answer beyond this is none of ours: `/server_info` lists every launch argument, some 20 KB.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// How a switch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// In the new role.
    Switched,
    /// In the old role, and fit to serve in it.
    Kept(String),
    /// In no role: it has to be started anew.
    Broken(String),
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the worker is idle.
    pub idle: Duration,
    /// The switch itself: seconds, and the capture of CUDA graphs where it becomes a decode worker for the first time.
    pub switch: Duration,
}

/// What a decode worker has captured, and what that took of its memory.
#[derive(Debug, Clone, PartialEq)]
struct Graphs {
    batch_sizes: Value,
    gigabytes: f64,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    success: bool,
    message: String,
    #[serde(default)]
    safe_to_restore: bool,
}

/// Whether the worker says that it can change its role in place. `None` where it doesn't answer.
pub async fn is_offered(upstream: &Upstream, worker: &Worker) -> Option<bool> {
    let info = ask(upstream, worker, "/server_info").await?;
    let backend = info["disaggregation_transfer_backend"].as_str();
    // With the prefix cache on, a prefill worker that becomes a decode worker dies at the second request that hits it.
    Some(
        info["enable_pd_role_switch"] == true
            && info["disable_radix_cache"] == true
            && backend.is_some_and(|backend| BACKENDS.contains(&backend)),
    )
}

/// Changes the role of `worker`, which gets no requests any more, to `role`. `peers` are decode workers, of which one is
/// asked what its graphs take.
pub async fn switch(
    upstream: &Upstream,
    worker: &Worker,
    role: Role,
    peers: &[std::sync::Arc<Worker>],
    limits: Limits,
) -> Exit {
    let mut order = json!({ "new_role": role.as_str() });
    if role == Role::Decode
        && let Some(graphs) = missing_graphs(upstream, worker, peers).await
    {
        order["decode_cuda_graph_memory_gb"] = graphs.gigabytes.into();
        if graphs
            .batch_sizes
            .as_array()
            .is_some_and(|sizes| !sizes.is_empty())
        {
            order["decode_cuda_graph_bs"] = graphs.batch_sizes;
        }
    }
    if let Err(reason) = prepared(upstream, worker, &order, limits.idle).await {
        return Exit::Kept(reason);
    }
    match request(upstream, worker, &order, limits.switch).await {
        Some(outcome) if outcome.success => Exit::Switched,
        Some(outcome) if outcome.safe_to_restore => Exit::Kept(outcome.message),
        Some(outcome) => Exit::Broken(outcome.message),
        None => unanswered(upstream, worker, role).await,
    }
}

/// A decode worker captures its graphs at launch, a prefill worker at its first switch, and then has to be told how much
/// memory they may take: what they take on a peer. `None` where it has them.
async fn missing_graphs(
    upstream: &Upstream,
    worker: &Worker,
    peers: &[std::sync::Arc<Worker>],
) -> Option<Graphs> {
    let own = ask(upstream, worker, "/server_info").await;
    if own.as_ref().and_then(graphs).is_some() {
        return None;
    }
    for peer in peers {
        let info = ask(upstream, peer, "/server_info").await;
        if let Some(graphs) = info.as_ref().and_then(graphs) {
            return Some(graphs);
        }
    }
    // Decode workers without graphs: neither will this one have any worth speaking of.
    Some(Graphs {
        batch_sizes: Value::Null,
        gigabytes: 0.0,
    })
}

/// The graphs that a worker says it has.
fn graphs(info: &Value) -> Option<Graphs> {
    let state = &info["internal_states"][0];
    let batch_sizes = state["decode_cuda_graph_bs"].clone();
    if batch_sizes.as_array().is_none_or(Vec::is_empty) {
        return None;
    }
    Some(Graphs {
        batch_sizes,
        gigabytes: state["decode_cuda_graph_memory_gb"].as_f64()?,
    })
}

/// Asks until the worker is ready for the switch. Only "not idle" passes by waiting.
async fn prepared(
    upstream: &Upstream,
    worker: &Worker,
    order: &Value,
    limit: Duration,
) -> Result<(), String> {
    let mut order = order.clone();
    order["prepare_only"] = true.into();
    let begun = Instant::now();
    loop {
        let outcome = request(upstream, worker, &order, QUESTION).await;
        let reason = match outcome {
            Some(outcome) if outcome.success => return Ok(()),
            Some(outcome) if !outcome.message.contains("not idle") => return Err(outcome.message),
            Some(outcome) => outcome.message,
            None => "the worker doesn't answer".to_owned(),
        };
        if begun.elapsed() >= limit {
            return Err(reason);
        }
        sleep(PAUSE).await;
    }
}

/// Nobody knows what became of the order; the worker's live role does.
async fn unanswered(upstream: &Upstream, worker: &Worker, role: Role) -> Exit {
    let reason = "the worker did not answer the switch".to_owned();
    let Some(info) = ask(upstream, worker, "/model_info").await else {
        return Exit::Broken(reason);
    };
    match info["disaggregation_mode"].as_str() {
        Some(live) if live == role.as_str() => Exit::Switched,
        Some(_) => Exit::Kept(reason),
        None => Exit::Broken(reason),
    }
}

async fn request(
    upstream: &Upstream,
    worker: &Worker,
    order: &Value,
    limit: Duration,
) -> Option<Outcome> {
    let url = worker.url.join("/pd_role_switch");
    let request = UpstreamRequest::post_json(url, order.to_string());
    // A refusal is an answer too: 400, with the same fields.
    let body = send(upstream, worker, request, limit).await?;
    match serde_json::from_slice(&body) {
        Ok(outcome) => Some(outcome),
        Err(_) => Some(Outcome {
            success: false,
            message: "the worker has no role switch, or refused the call".to_owned(),
            safe_to_restore: true,
        }),
    }
}

async fn ask(upstream: &Upstream, worker: &Worker, path: &str) -> Option<Value> {
    let request = UpstreamRequest::get(worker.url.join(path));
    let body = send(upstream, worker, request, QUESTION).await?;
    serde_json::from_slice(&body).ok()
}

async fn send(
    upstream: &Upstream,
    worker: &Worker,
    request: UpstreamRequest,
    limit: Duration,
) -> Option<Bytes> {
    let request = request.bearer(worker.api_key.as_deref());
    let answer = async {
        let mut body = upstream.send(request).await.ok()?.into_body();
        body.collect_up_to(ANSWER_LIMIT).await.ok()
    };
    timeout(limit, answer).await.ok()?
}
