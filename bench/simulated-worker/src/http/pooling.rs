//! Embeddings, classification, scores and ranks, for workers without a pair.
//!
//! They take no engine time: what a router needs from them is the shape of the answer and that it belongs to the
//! input, so numbers are drawn from the same function as text.

use super::{
    errors,
    openai::{self, DEFAULT_MODEL, unix_time},
    request::{OneOrMany, prompts_of, random_rid},
};
use crate::{SimulatedWorker, answer::Answer};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

/// Numbers in an embedding: enough to tell two apart.
const DIMENSIONS: u32 = 8;

fn default_model() -> String {
    DEFAULT_MODEL.into()
}

/// Reads the body, lets `answer` work on it, and refuses in the shape of the OpenAI endpoints.
fn respond<T: DeserializeOwned>(
    worker: &SimulatedWorker,
    body: &Bytes,
    answer: impl FnOnce(T) -> Result<Value, super::errors::Refusal>,
) -> Response {
    let parsed = serde_json::from_slice(body);
    let answered = parsed
        .map_err(|error| errors::Refusal::malformed(&error))
        .and_then(answer);
    match answered {
        Ok(value) => Json(value).into_response(),
        Err(refusal) => {
            worker.engine.refuse();
            openai::refuse(&refusal)
        }
    }
}

fn number(answer: Answer, index: u32) -> f64 {
    answer.token(index).logprob() + 2.0
}

fn usage(prompt_tokens: u64) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": null,
        "reasoning_tokens": 0,
        "completion_tokens_details": null,
    })
}

#[derive(Deserialize)]
struct Inputs {
    input: Box<RawValue>,
    #[serde(default = "default_model")]
    model: String,
}

pub(super) async fn embeddings(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    respond(&worker, &body, |inputs: Inputs| {
        let (prompts, _) = prompts_of(&inputs.input)?;
        let tokens = prompts.iter().map(|prompt| prompt.tokens).sum();
        let data: Vec<Value> = prompts
            .iter()
            .enumerate()
            .map(|(index, prompt)| {
                let embedding: Vec<f64> = (0..DIMENSIONS)
                    .map(|place| number(prompt.answer, place))
                    .collect();
                json!({"embedding": embedding, "index": index, "object": "embedding"})
            })
            .collect();
        Ok(json!({"data": data, "model": inputs.model, "object": "list", "usage": usage(tokens)}))
    })
}

pub(super) async fn classify(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    respond(&worker, &body, |inputs: Inputs| {
        let (prompts, _) = prompts_of(&inputs.input)?;
        let tokens = prompts.iter().map(|prompt| prompt.tokens).sum();
        let data: Vec<Value> = prompts
            .iter()
            .enumerate()
            .map(|(index, prompt)| {
                let first = f64::from(prompt.answer.token(0).id() % 1000) / 1000.0;
                let label = if first >= 0.5 { "LABEL_0" } else { "LABEL_1" };
                json!({"index": index, "label": label, "probs": [first, 1.0 - first], "num_classes": 2})
            })
            .collect();
        Ok(json!({
            "id": format!("classify-{}", random_rid()),
            "object": "list",
            "created": unix_time(),
            "model": inputs.model,
            "data": data,
            "usage": usage(tokens),
        }))
    })
}

#[derive(Deserialize)]
struct Ranking {
    query: String,
    documents: Vec<String>,
    #[serde(default)]
    top_n: Option<usize>,
    #[serde(default = "documents_by_default")]
    return_documents: bool,
}

const fn documents_by_default() -> bool {
    true
}

pub(super) async fn rerank(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    respond(&worker, &body, |ranking: Ranking| {
        let score = |text: &str| number(Answer::to_text(&format!("{}\n{text}", ranking.query)), 0);
        let mut ranked: Vec<(usize, f64)> = ranking
            .documents
            .iter()
            .map(|text| score(text))
            .enumerate()
            .collect();
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        ranked.truncate(ranking.top_n.unwrap_or(usize::MAX));
        let results = ranked.into_iter().map(|(index, score)| {
            let mut result = json!({"score": score, "index": index, "meta_info": null});
            if ranking.return_documents {
                result["document"] = ranking.documents[index].as_str().into();
            }
            result
        });
        Ok(results.collect())
    })
}

#[derive(Deserialize)]
struct Scoring {
    query: String,
    items: OneOrMany<String>,
    label_token_ids: Vec<u32>,
    #[serde(default = "default_model")]
    model: String,
}

pub(super) async fn score(State(worker): State<SimulatedWorker>, body: Bytes) -> Response {
    respond(&worker, &body, |scoring: Scoring| {
        let scores: Vec<Vec<f64>> = scoring
            .items
            .into_vec()
            .iter()
            .map(|item| {
                let answer = Answer::to_text(&format!("{}{item}", scoring.query));
                let labels = scoring.label_token_ids.iter();
                labels.map(|&label| number(answer, label)).collect()
            })
            .collect();
        Ok(json!({
            "scores": scores,
            "model": scoring.model,
            "usage": null,
            "object": "scoring",
        }))
    })
}
