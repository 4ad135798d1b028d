//! Conversations in the shape of the ShareGPT dump: the first turn is the prompt, the second gives the answer's length.
//!
//! Which conversations are taken follows vLLM's client: not too short to measure, not too long for a small model.

use super::{Dataset, DatasetError};
use crate::{
    serve::{item::Prompt, prompts::Prompts},
    workload::dice::{Use, dice},
};
use rand::seq::SliceRandom;
use serde::Deserialize;
use std::{fs::File, io::BufReader, path::Path};

/// Shortest prompt and answer, longest prompt, and both together, in tokens.
const SHORTEST: u32 = 4;
const LONGEST_PROMPT: u32 = 1024;
const LONGEST: u32 = 2048;

#[derive(Deserialize)]
struct Conversation {
    #[serde(default)]
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    #[serde(default)]
    value: String,
}

pub(super) fn read(
    asked: &Dataset,
    path: &Path,
    prompts: &Prompts,
) -> Result<Vec<(Prompt, u32)>, DatasetError> {
    let file = File::open(path).map_err(|error| DatasetError::Read {
        path: path.to_owned(),
        error,
    })?;
    // All of it is in memory for a moment, as large as the file.
    let mut all: Vec<Conversation> =
        serde_json::from_reader(BufReader::new(file)).map_err(|error| {
            DatasetError::NotShareGpt {
                path: path.to_owned(),
                error,
            }
        })?;
    all.shuffle(&mut dice(asked.seed, Use::Lengths));
    let count = asked.count();
    let mut taken = Vec::new();
    for conversation in &all {
        if taken.len() == count {
            break;
        }
        if let [question, answer, ..] = conversation.conversations.as_slice() {
            taken.extend(fitting(asked, &question.value, &answer.value, prompts)?);
        }
    }
    if taken.is_empty() {
        return Err(DatasetError::NoneFits(path.to_owned()));
    }
    // A small file is gone through again.
    let known = taken.len();
    for place in known..count {
        taken.push(taken[place % known].clone());
    }
    Ok(taken)
}

fn fitting(
    asked: &Dataset,
    question: &str,
    answer: &str,
    prompts: &Prompts,
) -> Result<Option<(Prompt, u32)>, DatasetError> {
    let count = |text| prompts.count(text).map_err(DatasetError::Prompt);
    let tokens = count(question)?;
    let output = match asked.sharegpt_output_tokens {
        Some(fixed) => fixed,
        None => count(answer)?,
    };
    let long_enough =
        tokens >= SHORTEST && (output >= SHORTEST || asked.sharegpt_output_tokens.is_some());
    let fits = long_enough && tokens <= LONGEST_PROMPT && tokens + output <= LONGEST;
    Ok(fits.then(|| {
        let text = question.into();
        (Prompt::Given { text, tokens }, output)
    }))
}
