//! Texts whose tokens a tokenizer has counted.

use super::PromptError;
use std::path::Path;
use tokenizers::Tokenizer;

/// Words that prompts are made of, at most: as different as prompts have to be, and found in a moment.
const MOST_WORDS: usize = 2048;
/// With fewer, prompts would repeat themselves.
const FEWEST_WORDS: usize = 16;
/// How often a text is made longer or shorter before its length is given up. One correction is the rule.
const MOST_CORRECTIONS: usize = 8;

pub struct Exact {
    tokenizer: Tokenizer,
    /// Each adds one token to a text, with a space before it.
    words: Vec<String>,
}

impl Exact {
    pub(super) fn load(path: &Path) -> Result<Self, PromptError> {
        let broken = |error: tokenizers::Error| PromptError::Tokenizer {
            path: path.to_owned(),
            error: error.to_string(),
        };
        let mut tokenizer = Tokenizer::from_file(path).map_err(broken)?;
        // A file may ask for texts to be cut or filled up, which a server does not do.
        tokenizer.with_truncation(None).map_err(broken)?;
        tokenizer.with_padding(None);
        let mut exact = Self {
            tokenizer,
            words: Vec::new(),
        };
        exact.words = exact.find_words()?;
        if exact.words.len() < FEWEST_WORDS {
            return Err(PromptError::FewWords(path.to_owned()));
        }
        Ok(exact)
    }

    /// The words of the vocabulary, in the order of their numbers, that are one token wherever they stand.
    fn find_words(&self) -> Result<Vec<String>, PromptError> {
        let mut known: Vec<(u32, String)> = self
            .tokenizer
            .get_vocab(false)
            .into_iter()
            .filter_map(|(token, id)| Some((id, word(&token)?)))
            .collect();
        known.sort_unstable();
        let mut words = Vec::new();
        for (_, word) in known {
            if words.len() < MOST_WORDS && self.adds_one(&word)? {
                words.push(word);
            }
        }
        Ok(words)
    }

    fn adds_one(&self, word: &str) -> Result<bool, PromptError> {
        let (two, four) = (format!(" {word}").repeat(2), format!(" {word}").repeat(4));
        Ok(self.count(&four)? == self.count(&two)? + 2)
    }

    pub(super) fn count(&self, text: &str) -> Result<u32, PromptError> {
        // With what the tokenizer itself adds, as a server does to a completion's prompt.
        let encoded = self.tokenizer.encode_fast(text, true);
        let encoded = encoded.map_err(|error| PromptError::Encode(error.to_string()))?;
        Ok(encoded.len() as u32)
    }

    pub(super) fn text(
        &self,
        (shared, fresh): (u32, u32),
        (common, own): (&mut fastrand::Rng, &mut fastrand::Rng),
    ) -> Result<String, PromptError> {
        let tokens = shared + fresh;
        let mut text = String::new();
        self.push(&mut text, shared, common);
        let beginning = text.len();
        self.push(&mut text, fresh, own);
        let mut found = self.count(&text)?;
        for _ in 0..MOST_CORRECTIONS {
            if found == tokens {
                return Ok(text);
            }
            if found < tokens {
                self.push(&mut text, tokens - found, own);
            } else {
                drop_words(&mut text, found - tokens, beginning);
            }
            found = self.count(&text)?;
        }
        if found == tokens {
            return Ok(text);
        }
        Err(PromptError::NoLength {
            tokens,
            nearest: found,
        })
    }

    fn push(&self, text: &mut String, count: u32, dice: &mut fastrand::Rng) {
        for _ in 0..count {
            text.push(' ');
            text.push_str(&self.words[dice.usize(..self.words.len())]);
        }
    }
}

/// The last words go, as far as they are not of the beginning.
fn drop_words(text: &mut String, count: u32, beginning: usize) {
    for _ in 0..count {
        let last = text.rfind(' ').unwrap_or(0);
        text.truncate(last.max(beginning));
    }
}

/// A token as a word, if it is one: byte-level tokenizers mark the space before it by one sign, SentencePiece by another.
fn word(token: &str) -> Option<String> {
    let bare = token.trim_start_matches(['Ġ', '▁', ' ']);
    let fits = (2..=10).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_lowercase());
    fits.then(|| bare.to_owned())
}
