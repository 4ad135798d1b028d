//! The texts of prompts that are drawn, of a length in tokens.
//!
//! With a tokenizer a text has exactly as many tokens as were asked for, special ones included, as the server counts
//! them. Without one it is made of words of three letters, each with the space before it: nearly every tokenizer of a
//! large model has those as one token, and they are four bytes, as which simulated workers count a token.

mod exact;
mod words;

use self::exact::Exact;
use super::item::Prompt;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What texts are made and counted with.
pub enum Prompts {
    /// Without a tokenizer.
    Approximate,
    Exact(Box<Exact>),
}

/// Why there is no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptError {
    /// No tokenizer.json there.
    NoFile(PathBuf),
    Tokenizer {
        path: PathBuf,
        error: String,
    },
    /// Its vocabulary has too few ordinary words.
    FewWords(PathBuf),
    /// No text was found that has so many tokens.
    NoLength {
        tokens: u32,
        nearest: u32,
    },
    Encode(String),
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile(path) => write!(
                f,
                "--tokenizer: no file {}: download the model's tokenizer.json from where its weights are, and name it \
                 or its folder",
                path.display()
            ),
            Self::Tokenizer { path, error } => write!(
                f,
                "--tokenizer: {} is not a Hugging Face tokenizer.json: {error}",
                path.display()
            ),
            Self::FewWords(path) => write!(
                f,
                "--tokenizer: {} has too few words of small letters to make prompts of; leave --tokenizer away for \
                 approximate lengths",
                path.display()
            ),
            Self::NoLength { tokens, nearest } => write!(
                f,
                "the tokenizer gives no prompt of exactly {tokens} tokens, special ones included; one of {nearest} is \
                 possible"
            ),
            Self::Encode(error) => write!(f, "the tokenizer failed: {error}"),
        }
    }
}

impl std::error::Error for PromptError {}

impl Prompts {
    /// Reads a `tokenizer.json`, or the one in a folder.
    pub fn load(path: &Path) -> Result<Self, PromptError> {
        let file = if path.is_dir() {
            path.join("tokenizer.json")
        } else {
            path.to_owned()
        };
        if !file.is_file() {
            return Err(PromptError::NoFile(file));
        }
        Exact::load(&file).map(|exact| Self::Exact(Box::new(exact)))
    }

    /// The text of a request; another for every seed and number.
    pub fn text(&self, prompt: &Prompt, seed: u64, number: u64) -> Result<String, PromptError> {
        let (shared, fresh) = match prompt {
            Prompt::Given { text, .. } => return Ok(text.as_ref().to_owned()),
            Prompt::Drawn { shared, fresh } => (*shared, *fresh),
        };
        // The beginning that all share comes from the seed alone.
        let mut common = fastrand::Rng::with_seed(seed);
        let mut own = fastrand::Rng::with_seed(mixed(seed, number));
        match self {
            Self::Approximate => {
                let mut text = String::with_capacity(4 * (shared + fresh) as usize);
                words::push(&mut text, shared, &mut common);
                words::push(&mut text, fresh, &mut own);
                Ok(text)
            }
            Self::Exact(exact) => exact.text((shared, fresh), (&mut common, &mut own)),
        }
    }

    /// The tokens of a text that was given.
    pub fn count(&self, text: &str) -> Result<u32, PromptError> {
        match self {
            Self::Approximate => Ok(text.len().div_ceil(words::BYTES_PER_TOKEN).max(1) as u32),
            Self::Exact(exact) => exact.count(text),
        }
    }
}

/// Far apart for neighbours, so that two runs with seeds side by side share no prompt.
const fn mixed(seed: u64, number: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ number.wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[cfg(test)]
mod tests;
