//! `/v1/responses`, not streamed and without stored conversations: the part that a router forwards unchanged.

use super::{
    errors,
    openai::{DEFAULT_MODEL, unix_time},
    request::random_rid,
};
use crate::{
    SimulatedWorker, answer,
    answer::Answer,
    engine::{Finish, Job, Meeting, Plan, Sampling},
    ticket::{End, Ticket},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
struct Body {
    input: Value,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    max_output_tokens: Option<u32>,
    #[serde(default)]
    stream: bool,
}

pub(super) async fn handle(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    let body: Body = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return refuse(&worker, StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if body.stream {
        let message = "streaming responses are not simulated";
        return refuse(&worker, StatusCode::NOT_IMPLEMENTED, message);
    }
    let prompt = answer::chat_prompt([("user", input_text(&body.input).as_str())]);
    let sampling = Sampling {
        max_tokens: body.max_output_tokens.unwrap_or(u32::MAX),
        ..Sampling::default()
    };
    let plan = Plan::new(Answer::to_text(&prompt), &sampling);
    let rid = random_rid();
    let hold = worker.engine.admit(Job {
        rid: Arc::clone(&rid),
        meeting: Meeting::Nobody,
        prompt_tokens: answer::prompt_tokens(&prompt),
        blocks: Vec::new(),
        plan: plan.clone(),
        ticket: Arc::new(Ticket::default()),
        probe: false,
    });
    let (tokens, end) = hold.ended().await;
    let status = match (&end, &plan.finish) {
        (End::Aborted(_), _) => "cancelled",
        (End::Finished, Finish::Length(_)) => "incomplete",
        (End::Finished, Finish::EndOfText(_) | Finish::StopText(_)) => "completed",
    };
    let prompt_tokens = answer::prompt_tokens(&prompt);
    Json(json!({
        "id": format!("resp_{rid}"),
        "object": "response",
        "created_at": unix_time(),
        "model": body.model.as_deref().unwrap_or(DEFAULT_MODEL),
        "output": [{
            "id": format!("msg_{rid}"),
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{
                "type": "output_text",
                "text": plan.answer.text(tokens),
                "annotations": [],
            }],
        }],
        "status": status,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens + u64::from(tokens),
            "completion_tokens": tokens,
            "reasoning_tokens": 0,
        },
        "parallel_tool_calls": true,
        "tool_choice": "auto",
        "tools": [],
        "error": null,
    }))
    .into_response()
}

/// A text; messages count as the text that their JSON is.
fn input_text(input: &Value) -> String {
    match input {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn refuse(worker: &SimulatedWorker, status: StatusCode, message: &str) -> Response {
    worker.engine.refuse();
    let error = json!({"error": {
        "message": message,
        "type": status.canonical_reason(),
        "param": null,
        "code": status.as_u16(),
    }});
    errors::json_response(status, error.to_string())
}
