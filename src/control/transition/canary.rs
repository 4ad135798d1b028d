//! A request of one token through a real pair: the last proof that a worker can serve in its role.
//!
//! Health checks don't see whether the two halves find each other: a prefill worker whose bootstrap server is another
//! worker's, or one that decode workers take for what it was, answers them all.

use std::time::Duration;

use policies::worker::Role;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Fleet;
use crate::upstream::UpstreamRequest;
use crate::workers::{Member, Worker};

/// A first batch compiles kernels and opens connections, which took up to 3 s in the published measurements.
const LIMIT: Duration = Duration::from_secs(30);

/// The answer to a request of one token.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Rooms are non-negative 64-bit signed integers in the engine.
const ROOMS: u64 = 1 << 63;

/// Sends one request through `member` and a serving worker of the other role. Says in words what went wrong.
pub(super) async fn run(fleet: &Fleet, member: &Member) -> Result<(), String> {
    let other = match member.role {
        Role::Prefill => Role::Decode,
        Role::Decode => Role::Prefill,
        Role::Regular => return Ok(()),
    };
    let partner = fleet.registry.snapshot().serving(other).get(0).cloned();
    let Some(partner) = partner else {
        return Err(format!("there is no {other} worker to try it with"));
    };
    let (prefill, decode) = match member.role {
        Role::Prefill => (member, &partner),
        Role::Decode | Role::Regular => (&partner, member),
    };
    let body = json!({
        "text": "1",
        "sampling_params": { "max_new_tokens": 1, "temperature": 0 },
        "rid": format!("{:032x}", fastrand::u128(..)),
        "bootstrap_host": &*prefill.bootstrap.host,
        "bootstrap_port": prefill.bootstrap.port,
        "bootstrap_room": fastrand::u64(..ROOMS),
    });
    let both = async {
        tokio::try_join!(
            generate(fleet, &prefill.worker, &body),
            generate(fleet, &decode.worker, &body)
        )
    };
    match timeout(LIMIT, both).await {
        Ok(result) => result.map(|_| ()),
        Err(_) => Err(format!(
            "a request through it and {} had no answer after {LIMIT:?}",
            partner.worker.url
        )),
    }
}

async fn generate(fleet: &Fleet, worker: &Worker, body: &Value) -> Result<(), String> {
    let failed = |what: &dyn std::fmt::Display| {
        format!("a request through it failed at {}: {what}", worker.url)
    };
    let request = UpstreamRequest::post_json(worker.url.join("/generate"), body.to_string())
        .bearer(worker.api_key.as_deref());
    let (head, mut answer) = fleet
        .upstream
        .send(request)
        .await
        .map_err(|error| failed(&error))?
        .into_parts();
    let answer = answer
        .collect_up_to(ANSWER_LIMIT)
        .await
        .map_err(|error| failed(&error))?;
    if !head.status.is_success() {
        return Err(failed(&format_args!("status {}", head.status)));
    }
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let finish = &answer["meta_info"]["finish_reason"];
    if finish["type"] == "abort" {
        return Err(failed(&format_args!("aborted: {}", finish["message"])));
    }
    Ok(())
}
