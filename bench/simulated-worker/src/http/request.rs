//! What the three inference endpoints have in common: prompts, sampling, and where the other half of the pair is.

use super::errors::Refusal;
use crate::{
    answer::Answer,
    config::Config,
    engine::{self, Meeting, Sampling},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The bootstrap address that means "pretend": probes and warm-up requests name it and need no partner.
pub(crate) const FAKE_BOOTSTRAP_HOST: &str = "2.2.2.2";

/// Samples in one request, all prompts together: more than any client asks for, few enough to hold.
const MOST_CHOICES: usize = 4096;

/// A request as the engine needs it, whatever endpoint it came by.
pub(crate) struct Request {
    pub(crate) prompts: Vec<Prompt>,
    /// Whether the prompts came as a list: the answer is one then, too.
    pub(crate) is_batch: bool,
    /// Samples of each prompt.
    pub(crate) samples: u32,
    /// One for all prompts, or one for each.
    pub(crate) sampling: Vec<Sampling>,
    pub(crate) stream: bool,
    pub(crate) stream_interval: Option<u32>,
    pub(crate) rid: Option<OneOrMany<String>>,
    /// Whether the answer repeats the prompt.
    pub(crate) echo: bool,
    /// The first prompt token whose log probability is wanted, if any is.
    pub(crate) logprob_start: Option<usize>,
    pub(crate) pd: PdFields,
}

/// The fields by which a router makes a pair of two workers. Scalars stand for a whole batch.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PdFields {
    #[serde(default)]
    bootstrap_host: Option<OneOrMany<Option<String>>>,
    #[serde(default)]
    bootstrap_port: Option<OneOrMany<Option<u16>>>,
    #[serde(default)]
    bootstrap_room: Option<OneOrMany<u64>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn get(&self, index: usize) -> Option<&T> {
        match self {
            Self::One(value) => Some(value),
            Self::Many(values) => values.get(index),
        }
    }

    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// Where the other half of one choice is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partner {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) meeting: Option<Meeting>,
}

impl PdFields {
    /// The fields of one prompt: one room stands for as many in a row as there are prompts.
    pub(crate) fn partner(&self, index: usize) -> Partner {
        let host = self
            .bootstrap_host
            .as_ref()
            .and_then(|host| host.get(index));
        let host = host.cloned().flatten();
        let port = self
            .bootstrap_port
            .as_ref()
            .and_then(|port| port.get(index));
        let room = match &self.bootstrap_room {
            None => None,
            Some(OneOrMany::One(first)) => Some(first.wrapping_add(index as u64)),
            Some(OneOrMany::Many(rooms)) => rooms.get(index).copied(),
        };
        let meeting = if host.as_deref() == Some(FAKE_BOOTSTRAP_HOST) {
            Some(Meeting::Nobody)
        } else {
            room.map(Meeting::Room)
        };
        Partner {
            // What the real worker makes of a missing host: a name that resolves to nothing.
            host: host.unwrap_or_else(|| "None".into()),
            port: port.copied().flatten(),
            meeting,
        }
    }
}

/// One prompt.
pub(crate) struct Prompt {
    pub(crate) source: Source,
    pub(crate) answer: Answer,
    pub(crate) tokens: u64,
}

pub(crate) enum Source {
    Text(String),
    Tokens(Vec<u32>),
    /// Embeddings and the like, as they came.
    Opaque,
}

impl Prompt {
    pub(crate) fn text(text: String) -> Self {
        let answer = Answer::to_text(&text);
        Self {
            answer,
            tokens: answer.prompt_tokens(&text),
            source: Source::Text(text),
        }
    }

    pub(crate) fn token_ids(ids: Vec<u32>) -> Self {
        Self {
            answer: Answer::to_tokens(&ids),
            tokens: ids.len() as u64,
            source: Source::Tokens(ids),
        }
    }

    /// Embedded input: a list of vectors, one a token.
    pub(crate) fn opaque(json: &RawValue) -> Self {
        let vectors: Result<Vec<&RawValue>, _> = serde_json::from_str(json.get());
        Self {
            answer: Answer::to_bytes(json.get().as_bytes()),
            tokens: vectors.map_or(1, |vectors| vectors.len().max(1) as u64),
            source: Source::Opaque,
        }
    }

    /// Token ids as a tokenizer could have made them.
    pub(crate) fn ids(&self) -> Vec<u32> {
        match &self.source {
            Source::Tokens(ids) => ids.clone(),
            Source::Text(_) | Source::Opaque => (0..self.tokens as u32).map(|i| i + 2).collect(),
        }
    }

    /// Names of its blocks, for the prefix cache; embeddings have none.
    pub(crate) fn blocks(&self) -> Vec<u64> {
        match &self.source {
            Source::Text(text) => engine::blocks(text.as_bytes()),
            Source::Tokens(ids) => {
                let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
                engine::blocks(&bytes)
            }
            Source::Opaque => Vec::new(),
        }
    }

    pub(crate) fn echo(&self) -> &str {
        match &self.source {
            Source::Text(text) => text,
            Source::Tokens(_) | Source::Opaque => "",
        }
    }
}

/// Reads what a `prompt`, `text` or `input_ids` field may be: a text, token ids, or a list of either.
pub(crate) fn prompts_of(json: &RawValue) -> Result<(Vec<Prompt>, bool), Refusal> {
    let parse_error = |error| Refusal::malformed(&error);
    let mut shape = json.get().chars().filter(|c| !c.is_whitespace());
    match (shape.next(), shape.next()) {
        (Some('"'), _) => {
            let text = serde_json::from_str(json.get()).map_err(parse_error)?;
            Ok((vec![Prompt::text(text)], false))
        }
        (Some('['), Some('"')) => {
            let texts: Vec<String> = serde_json::from_str(json.get()).map_err(parse_error)?;
            Ok((texts.into_iter().map(Prompt::text).collect(), true))
        }
        (Some('['), Some('[')) => {
            let lists: Vec<Vec<u32>> = serde_json::from_str(json.get()).map_err(parse_error)?;
            Ok((lists.into_iter().map(Prompt::token_ids).collect(), true))
        }
        _ => {
            let ids = serde_json::from_str(json.get()).map_err(parse_error)?;
            Ok((vec![Prompt::token_ids(ids)], false))
        }
    }
}

/// Stop strings as the three endpoints spell them.
pub(crate) fn stops(stop: Option<OneOrMany<String>>) -> Vec<Arc<str>> {
    let stops = stop.map_or_else(Vec::new, OneOrMany::into_vec);
    let said = stops.into_iter().filter(|stop| !stop.is_empty());
    said.map(Arc::from).collect()
}

impl Request {
    /// Choices that the request makes: each prompt as many times as samples are asked for.
    pub(crate) fn choices(&self) -> usize {
        self.prompts.len() * self.samples as usize
    }

    pub(crate) fn prompt_of(&self, choice: usize) -> (&Prompt, &Sampling, u32) {
        let prompt = self.prompt_number(choice);
        let sampling = &self.sampling[prompt.min(self.sampling.len() - 1)];
        (
            &self.prompts[prompt],
            sampling,
            (choice % self.samples as usize) as u32,
        )
    }

    /// Which of the prompts a choice answers.
    pub(crate) fn prompt_number(&self, choice: usize) -> usize {
        choice / self.samples as usize
    }

    /// The request id of a choice, or a made-up one.
    pub(crate) fn rid_of(&self, choice: usize) -> Arc<str> {
        match &self.rid {
            Some(OneOrMany::One(rid)) if self.choices() == 1 => rid.as_str().into(),
            Some(OneOrMany::One(rid)) => format!("{rid}_{choice}").into(),
            Some(OneOrMany::Many(rids)) => match rids.get(choice) {
                Some(rid) => rid.as_str().into(),
                None => random_rid(),
            },
            None => random_rid(),
        }
    }

    pub(crate) fn validate(&self, config: &Config) -> Result<(), Refusal> {
        if self.prompts.is_empty() {
            return Err(Refusal::Invalid("Prompt cannot be empty".into()));
        }
        if self.samples == 0 || self.choices() > MOST_CHOICES {
            return Err(Refusal::Invalid(format!(
                "n must make between 1 and {MOST_CHOICES} choices"
            )));
        }
        // What doesn't fit in the KV pool is too long as well.
        let pool = config.timing.model.decode.kv_pool_tokens;
        let most = config.context_length.min(pool);
        for choice in (0..self.choices()).step_by(self.samples as usize) {
            let (prompt, sampling, _) = self.prompt_of(choice);
            let (input, new) = (prompt.tokens, u64::from(sampling.max_tokens));
            if input >= most {
                return Err(Refusal::Invalid(format!(
                    "The input ({input} tokens) is longer than the model's context length ({most} tokens)."
                )));
            }
            if input + new > most {
                return Err(Refusal::Invalid(format!(
                    "Requested token count exceeds the model's maximum context length of {most} tokens. You \
                     requested a total of {} tokens: {input} tokens from the input messages and {new} tokens for \
                     the completion. Please reduce the number of tokens in the input messages or the completion to \
                     fit within the limit.",
                    input + new
                )));
            }
        }
        Ok(())
    }
}

pub(crate) fn random_rid() -> Arc<str> {
    format!("{:032x}", fastrand::u128(..)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partner(json: &str, index: usize) -> Partner {
        serde_json::from_str::<PdFields>(json)
            .unwrap()
            .partner(index)
    }

    #[test]
    fn one_room_stands_for_a_row_of_rooms() {
        let fields = r#"{"bootstrap_host":"h","bootstrap_port":9,"bootstrap_room":40}"#;
        let third = partner(fields, 2);
        assert_eq!(third.meeting, Some(Meeting::Room(42)));
        assert_eq!((third.host.as_str(), third.port), ("h", Some(9)));
    }

    #[test]
    fn lists_name_each_partner() {
        let fields =
            r#"{"bootstrap_host":["a","b"],"bootstrap_port":[1,null],"bootstrap_room":[7,5]}"#;
        let second = partner(fields, 1);
        assert_eq!(second.meeting, Some(Meeting::Room(5)));
        assert_eq!((second.host.as_str(), second.port), ("b", None));
    }

    #[test]
    fn the_fake_host_needs_no_room() {
        let fake = partner(r#"{"bootstrap_host":"2.2.2.2"}"#, 0);
        assert_eq!(fake.meeting, Some(Meeting::Nobody));
        assert_eq!(partner("{}", 0).meeting, None);
    }

    #[test]
    fn every_form_of_prompt_is_read() {
        let table = [
            (r#""a text""#, 1, false),
            (r#"["a", "b"]"#, 2, true),
            ("[1, 2, 3]", 1, false),
            ("[ [1], [2, 3] ]", 2, true),
        ];
        for (json, count, is_batch) in table {
            let raw = RawValue::from_string(json.into()).unwrap();
            let (prompts, batch) = prompts_of(&raw).unwrap();
            assert_eq!((prompts.len(), batch), (count, is_batch), "{json}");
        }
    }
}
