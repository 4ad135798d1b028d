//! The answer so far, read from what the client has been told.

use serde_json::value::RawValue;

use super::obstacle::Obstacle;
use super::said::Said;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::object::Object;
use crate::proxy::sse;
use crate::proxy::tokens::Prompt;
use crate::telemetry::TokenCount;

/// How far an answer got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxy) struct Answer {
    /// As it stands in a JSON string.
    pub(super) text: String,
    /// Its token ids, where the endpoint shows them.
    pub(super) ids: Vec<u32>,
    pub(super) tokens: u32,
    /// Whether the worker counted them.
    pub(super) counted: bool,
    pub(super) prompt_tokens: Option<u32>,
    /// The values by which the client knows the answer, as they stand in JSON.
    pub(super) id: String,
    pub(super) created: Option<String>,
    /// The answer has its last token and says why it ended; only what follows it is missing.
    pub(super) finished: bool,
}

impl Answer {
    /// `output` and `prompt` are what the stream's meter counted.
    pub(super) fn read(
        endpoint: Endpoint,
        said: &Said,
        output: TokenCount,
        prompt: Option<Prompt>,
    ) -> Result<Self, Obstacle> {
        if said.is_more_than_text() {
            return Err(Obstacle::Reasoning);
        }
        let answer = match endpoint {
            Endpoint::Generate => Self::of_generate(said),
            Endpoint::Completions | Endpoint::Chat => Self::of_chunks(said, output, prompt),
            Endpoint::Rerank
            | Endpoint::Embeddings
            | Endpoint::Classify
            | Endpoint::Score
            | Endpoint::Responses => None,
        };
        answer.ok_or(Obstacle::Unreadable)
    }

    fn of_generate(said: &Said) -> Option<Self> {
        let event = Object::parse(sse::payload(said.last())?)?;
        let meta = event.object("meta_info")?;
        let ids: Vec<u32> = event.read("output_ids")?;
        let tokens: u32 = meta.read("completion_tokens")?;
        // With --incremental-streaming-output an event holds what is new in it, not all.
        (ids.len() == tokens as usize).then_some(())?;
        Some(Self {
            text: string_in(event.get("text")?)?.to_owned(),
            ids,
            tokens,
            counted: true,
            prompt_tokens: Some(meta.read("prompt_tokens")?),
            id: meta.get("id")?.get().to_owned(),
            created: None,
            finished: meta.get("finish_reason").is_some(),
        })
    }

    fn of_chunks(said: &Said, output: TokenCount, prompt: Option<Prompt>) -> Option<Self> {
        let first = Object::parse(sse::payload(said.first())?)?;
        Some(Self {
            text: String::from_utf8(said.text()).ok()?,
            ids: Vec::new(),
            tokens: output.tokens,
            counted: output.reported,
            prompt_tokens: prompt.map(|prompt| prompt.tokens),
            id: first.get("id")?.get().to_owned(),
            created: first.get("created").map(|raw| raw.get().to_owned()),
            finished: has_finished(&Object::parse(sse::payload(said.last())?)?)?,
        })
    }

    /// The text as it is.
    pub(super) fn decoded(&self) -> Option<String> {
        serde_json::from_str(&format!("\"{}\"", self.text)).ok()
    }
}

/// Whether a chunk says why the answer ended, or comes behind one that did: the usage at the end has no choices.
fn has_finished(chunk: &Object<'_>) -> Option<bool> {
    let choices: Vec<&RawValue> = serde_json::from_str(chunk.get("choices")?.get()).ok()?;
    let Some(choice) = choices.first() else {
        return Some(true);
    };
    let choice = Object::parse(choice.get().as_bytes())?;
    Some(choice.get("finish_reason").is_some())
}

/// What stands between the quotes of a JSON string.
pub(super) fn string_in(raw: &RawValue) -> Option<&str> {
    raw.get().strip_prefix('"')?.strip_suffix('"')
}
