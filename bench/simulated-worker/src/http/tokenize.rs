//! `/v1/tokenize` and `/v1/detokenize`: prompts of text only. What a token is, [`answer`] says.

use crate::answer;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::errors;

/// As SGLang has it for a context of this length; nobody looks at it.
const MAX_MODEL_LEN: u64 = 131_072;

#[derive(Deserialize)]
pub(super) struct Tokenize {
    prompt: Value,
}

#[derive(Deserialize)]
pub(super) struct Detokenize {
    tokens: Vec<u32>,
}

pub(super) async fn tokenize(Json(body): Json<Tokenize>) -> Response {
    let Some(prompt) = body.prompt.as_str() else {
        let message = "Invalid prompt type. Expected str or List[str].";
        return errors::flat(StatusCode::BAD_REQUEST, "BadRequestError", message);
    };
    let tokens = answer::ids_of_text(prompt);
    let count = tokens.len();
    Json(json!({"tokens": tokens, "count": count, "max_model_len": MAX_MODEL_LEN})).into_response()
}

pub(super) async fn detokenize(Json(body): Json<Detokenize>) -> Json<Value> {
    Json(json!({"text": answer::text_of_ids(&body.tokens)}))
}
