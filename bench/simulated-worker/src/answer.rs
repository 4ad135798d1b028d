//! The simulated model: an answer is a pure function of the prompt.
//!
//! That is what makes a lost, mixed or doubled token visible to any client that knows the function. Three properties
//! are on purpose:
//!
//! * **The answer names its prompt.** The first four tokens spell a hash of the prompt, so an answer that belongs to
//!   another request is recognised by its first chunk.
//! * **The model is autoregressive.** A prompt that ends in the first tokens of an answer is continued where it stops,
//!   as a real model with a greedy sampler would; a stream that is moved to another worker can be checked to the byte.
//! * **The text is hostile.** Some tokens are quotes, backslashes, blank lines, `data: [DONE]` and characters of
//!   several bytes, because a stream that is scanned carelessly breaks on those.

use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of text that count as one prompt token. Real tokenizers average about four.
pub(crate) const BYTES_PER_TOKEN: usize = 4;
/// The tokens that spell the hash of the prompt, 16 bits each.
const NAME_TOKENS: u32 = 4;
/// Marks the first token of an answer; occurs in no other token.
const START: &str = " §";
/// Token ids: ordinary ones, and those of first tokens, which carry the same 16 bits.
const FIRST_ID: u32 = 1 << 17;
const START_ID: u32 = 1 << 18;
/// Ids of a prompt that was a text: the first four carry its hash, as the first tokens of an answer do.
const TEXT_ID: u32 = 1 << 19;
/// And the rest nothing.
const FILLER_ID: u32 = 2;
/// An answer that nobody cuts ends by itself after so many tokens.
const NATURAL_LENGTH: Range<u32> = 64..192;
/// The id that a natural end reports as matched.
pub const END_OF_TEXT: u32 = 1;

/// Texts that a careless scanner of JSON or SSE takes for something else, with their JSON form.
const HOSTILE: [(&str, &str); 8] = [
    (" \"quoted\"", " \\\"quoted\\\""),
    (" back\\slash", " back\\\\slash"),
    ("\n\ndata: [DONE]\n\n", "\\n\\ndata: [DONE]\\n\\n"),
    (" {\"text\":", " {\\\"text\\\":"),
    (" naïve", " naïve"),
    (" 東京", " 東京"),
    (" 🦀", " 🦀"),
    (" finish_reason", " finish_reason"),
];

/// One generated token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    value: u16,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start,
    Name,
    Word,
}

impl Token {
    pub const fn id(self) -> u32 {
        match self.kind {
            Kind::Start => START_ID + self.value as u32,
            Kind::Name | Kind::Word => FIRST_ID + self.value as u32,
        }
    }

    /// A made-up log probability, always the same for the same token.
    pub fn logprob(self) -> f64 {
        logprob(self.id())
    }

    pub fn push_text(self, out: &mut String) {
        self.push(out, |(text, _)| text);
    }

    /// The text as it stands inside a JSON string.
    pub fn push_json(self, out: &mut String) {
        self.push(out, |(_, json)| json);
    }

    fn push(self, out: &mut String, form: fn((&'static str, &'static str)) -> &'static str) {
        match self.hostile() {
            Some(texts) => out.push_str(form(texts)),
            None => self.push_word(out),
        }
    }

    fn hostile(self) -> Option<(&'static str, &'static str)> {
        // One token in 32 on average.
        let index = usize::from(self.value & 0xff);
        (self.kind == Kind::Word)
            .then(|| HOSTILE.get(index).copied())
            .flatten()
    }

    fn push_word(self, out: &mut String) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        out.push_str(if self.kind == Kind::Start { START } else { " " });
        for shift in [12, 8, 4, 0] {
            out.push(char::from(HEX[usize::from(self.value >> shift & 0xf)]));
        }
    }
}

/// What the model says to one prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    name: u64,
    /// Tokens of the answer that the prompt already holds.
    offset: u32,
}

impl Answer {
    pub fn to_text(prompt: &str) -> Self {
        continuation_of_text(prompt).unwrap_or_else(|| Self::new(xxh3_64(prompt.as_bytes())))
    }

    pub fn to_tokens(prompt: &[u32]) -> Self {
        continuation_of_tokens(prompt).unwrap_or_else(|| Self::new(name_for_tokens(prompt)))
    }

    /// To input that is neither: embeddings, images.
    pub(crate) fn to_bytes(prompt: &[u8]) -> Self {
        Self::new(xxh3_64(prompt))
    }

    const fn new(name: u64) -> Self {
        Self { name, offset: 0 }
    }

    /// The answer of one choice where a request asks for several; the first choice is the answer itself.
    #[must_use]
    pub fn choice(self, index: u32) -> Self {
        match index {
            0 => self,
            _ => Self::new(mix(self.name, index)),
        }
    }

    /// The token at a place, counted from the end of the prompt.
    pub fn token(self, index: u32) -> Token {
        let place = self.offset.saturating_add(index);
        let value = match place {
            0..NAME_TOKENS => self.name >> (16 * (NAME_TOKENS - 1 - place)),
            _ => mix(self.name, place),
        } as u16;
        let kind = match place {
            0 => Kind::Start,
            1..NAME_TOKENS => Kind::Name,
            _ => Kind::Word,
        };
        Token { value, kind }
    }

    /// The first so many tokens as text.
    pub fn text(self, tokens: u32) -> String {
        let mut text = String::with_capacity(tokens as usize * 6);
        for index in 0..tokens {
            self.token(index).push_text(&mut text);
        }
        text
    }

    pub fn ids(self, tokens: u32) -> Vec<u32> {
        (0..tokens).map(|index| self.token(index).id()).collect()
    }

    /// Tokens of `prompt`, which this is the answer to: what it holds of the answer counts as it was generated.
    pub(crate) fn prompt_tokens(self, prompt: &str) -> u64 {
        let start = memchr::memmem::rfind(prompt.as_bytes(), START.as_bytes());
        match start.filter(|_| self.offset > 0) {
            Some(start) => prompt_tokens(&prompt[..start]) + u64::from(self.offset),
            None => prompt_tokens(prompt),
        }
    }

    /// After how many tokens the model stops by itself. At least one: a model can't say nothing.
    pub fn natural_length(self) -> u32 {
        let span = u64::from(NATURAL_LENGTH.end - NATURAL_LENGTH.start);
        let length = NATURAL_LENGTH.start + (mix(self.name, u32::MAX) % span) as u32;
        length.saturating_sub(self.offset).max(1)
    }

    /// What travels with the KV cache: enough to go on with this answer.
    pub(crate) const fn key(self) -> (u64, u32) {
        (self.name, self.offset)
    }

    pub(crate) const fn from_key((name, offset): (u64, u32)) -> Self {
        Self { name, offset }
    }
}

/// A whole answer as a client must receive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub text: String,
    pub completion_tokens: u32,
    /// `length` or `stop`.
    pub finish_reason: &'static str,
}

/// What a request must be answered with.
pub fn expected(answer: Answer, max_tokens: u32, ignore_eos: bool) -> Expected {
    let natural = if ignore_eos {
        u32::MAX
    } else {
        answer.natural_length()
    };
    // A real model that ends exactly at the limit has said its end-of-text token last, and reports that.
    let completion_tokens = max_tokens.min(natural);
    Expected {
        text: answer.text(completion_tokens),
        completion_tokens,
        finish_reason: if natural <= max_tokens {
            "stop"
        } else {
            "length"
        },
    }
}

/// The text that a prompt is answered with, cut at `max_tokens`, where `ignore_eos` is not set.
pub fn expected_text(prompt: &str, max_tokens: u32) -> String {
    expected(Answer::to_text(prompt), max_tokens, false).text
}

/// The prompt that chat messages (role, content) become.
pub fn chat_prompt<'a>(messages: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut prompt = String::new();
    for (role, content) in messages {
        push_turn(&mut prompt, role, content);
        prompt.push('\n');
    }
    push_turn(&mut prompt, "assistant", "");
    prompt
}

/// One turn of a conversation. A last turn without its line end is an answer to be continued.
pub(crate) fn push_turn(prompt: &mut String, role: &str, content: &str) {
    prompt.push_str("<|");
    prompt.push_str(role);
    prompt.push_str("|>");
    prompt.push_str(content);
}

/// Tokens of a text prompt.
pub const fn prompt_tokens(prompt: &str) -> u64 {
    let tokens = prompt.len().div_ceil(BYTES_PER_TOKEN);
    if tokens == 0 { 1 } else { tokens as u64 }
}

/// The ids of a text: as many as it has tokens, four at the least. With the ids of an answer behind them they make a
/// prompt that is continued as the text itself would be.
pub(crate) fn ids_of_text(text: &str) -> Vec<u32> {
    let said = memchr::memmem::rfind(text.as_bytes(), START.as_bytes())
        .and_then(|start| Some((start, said_in(&text[start..])?)));
    let (before, said) = match &said {
        Some((start, said)) => (&text[..*start], said.as_slice()),
        None => (text, &[][..]),
    };
    let mut ids = Vec::new();
    if !before.is_empty() {
        let name = xxh3_64(before.as_bytes());
        let piece = |index| TEXT_ID + u32::from((name >> (16 * (NAME_TOKENS - 1 - index))) as u16);
        ids.extend((0..NAME_TOKENS).map(piece));
        ids.resize(ids.len().max(prompt_tokens(before) as usize), FILLER_ID);
    }
    ids.extend(said);
    ids
}

/// The text of ids, as far as they are an answer's.
pub(crate) fn text_of_ids(ids: &[u32]) -> String {
    let start = ids.iter().rposition(|id| (START_ID..TEXT_ID).contains(id));
    let said = start.map_or(&[][..], |start| &ids[start..]);
    let mut text = String::new();
    for (place, &id) in (0..).zip(said) {
        let kind = match place {
            0 => Kind::Start,
            1..NAME_TOKENS => Kind::Name,
            _ => Kind::Word,
        };
        // The low bits are the token's value, whatever stands before them.
        let token = Token {
            value: id as u16,
            kind,
        };
        token.push_text(&mut text);
    }
    text
}

/// The ids of an answer's beginning. Its first four tokens say whose it is, and so how it goes on.
fn said_in(said: &str) -> Option<Vec<u32>> {
    let mut words = said.strip_prefix(START)?.split(' ');
    let mut name = 0;
    for _ in 0..NAME_TOKENS {
        // Of an answer that is cut before its fourth token the missing pieces are of no account.
        let piece = words
            .next()
            .map_or("0", |word| word.get(..4).unwrap_or(word));
        name = name << 16 | u64::from_str_radix(piece, 16).ok()?;
    }
    let mut answer = Answer::new(name);
    let (mut rest, mut token, mut ids) = (said, String::new(), Vec::new());
    while !rest.is_empty() {
        token.clear();
        answer.token(0).push_text(&mut token);
        rest = rest.strip_prefix(token.as_str())?;
        ids.push(answer.token(0).id());
        answer.offset += 1;
    }
    Some(ids)
}

/// A text of exactly so many prompt tokens, for load generators; `seed` makes it unlike any other.
pub fn prompt_of(tokens: u64, seed: u64) -> String {
    let mut dice = fastrand::Rng::with_seed(seed);
    let bytes = usize::try_from(tokens).unwrap_or(usize::MAX) * BYTES_PER_TOKEN;
    let mut prompt = format!("{seed:x} ");
    while prompt.len() < bytes {
        let letter = if dice.u8(..8) == 0 {
            ' '
        } else {
            dice.lowercase()
        };
        prompt.push(letter);
    }
    prompt.truncate(bytes.max(1));
    prompt
}

pub(crate) fn logprob(id: u32) -> f64 {
    // Three decimals between -4 and 0: enough to tell tokens apart.
    -((mix(0, id) % 4000) as f64) / 1000.0
}

fn hash_of_tokens(tokens: &[u32]) -> u64 {
    tokens
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15, |hash, &id| mix(hash, id))
}

/// A finaliser in the manner of splitmix64: every bit of the result depends on every bit of both arguments.
const fn mix(seed: u64, index: u32) -> u64 {
    let mut z = seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn continuation_of_text(prompt: &str) -> Option<Answer> {
    let start = memchr::memmem::rfind(prompt.as_bytes(), START.as_bytes())?;
    let (before, mut said) = prompt.split_at(start);
    let mut answer = Answer::new(xxh3_64(before.as_bytes()));
    let mut token = String::new();
    while !said.is_empty() {
        token.clear();
        answer.token(0).push_text(&mut token);
        said = said.strip_prefix(token.as_str())?;
        answer.offset += 1;
    }
    Some(answer)
}

/// What the answer to a prompt of ids is called: by its text where the ids are those of one ([`ids_of_text`]).
fn name_for_tokens(prompt: &[u32]) -> u64 {
    let pieces: Option<Vec<u64>> = prompt
        .iter()
        .take(NAME_TOKENS as usize)
        .map(|id| id.checked_sub(TEXT_ID).map(u64::from))
        .collect();
    match pieces.as_deref() {
        Some(pieces @ [_, _, _, _]) => pieces.iter().fold(0, |name, piece| name << 16 | piece),
        Some(_) | None => hash_of_tokens(prompt),
    }
}

fn continuation_of_tokens(prompt: &[u32]) -> Option<Answer> {
    let start = prompt
        .iter()
        .rposition(|id| (START_ID..TEXT_ID).contains(id))?;
    let (before, said) = prompt.split_at(start);
    let answer = Answer::new(name_for_tokens(before));
    let offset = u32::try_from(said.len()).ok()?;
    (answer.ids(offset) == said).then_some(Answer { offset, ..answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_prompts_differ_in_the_first_four_tokens() {
        let first = Answer::to_text("a").text(4);
        assert_ne!(first, Answer::to_text("b").text(4));
        assert_ne!(
            Answer::to_tokens(&[1, 2]).text(4),
            Answer::to_tokens(&[2, 1]).text(4)
        );
    }

    #[test]
    fn an_answer_cut_anywhere_is_continued_to_the_same_whole() {
        let prompt = "Tell me about routers.";
        let whole = Answer::to_text(prompt).text(300);
        for cut in [1, 3, 4, 5, 77, 299] {
            let said = Answer::to_text(prompt).text(cut);
            let rest = Answer::to_text(&format!("{prompt}{said}")).text(300 - cut);
            assert_eq!(format!("{said}{rest}"), whole, "cut at {cut}");
        }
    }

    #[test]
    fn token_ids_are_continued_as_text_is() {
        let prompt = [5, 6, 7];
        let whole = Answer::to_tokens(&prompt).ids(40);
        let with_twelve = [&prompt[..], &whole[..12]].concat();
        assert_eq!(Answer::to_tokens(&with_twelve).ids(28), whole[12..]);
    }

    #[test]
    fn the_ids_of_a_text_are_answered_and_continued_as_the_text_is() {
        let whole = Answer::to_text("text").ids(60);
        let prompt = ids_of_text("text");
        assert_eq!(Answer::to_tokens(&prompt).ids(60), whole);
        for cut in [1, 3, 4, 5, 40] {
            let said = Answer::to_text("text").text(cut);
            let ids = ids_of_text(&said);
            assert_eq!(ids, whole[..cut as usize], "{cut}");
            assert_eq!(text_of_ids(&ids), said, "{cut}");
            let together = [&prompt[..], &ids].concat();
            assert_eq!(ids_of_text(&format!("text{said}")), together);
            let rest = Answer::to_tokens(&together).ids(60 - cut);
            assert_eq!(rest, whole[cut as usize..], "{cut}");
        }
    }

    #[test]
    fn a_continued_answer_ends_where_the_whole_would_have() {
        let answer = Answer::to_text("x");
        let rest = Answer::to_text(&format!("x{}", answer.text(10)));
        assert_eq!(rest.natural_length() + 10, answer.natural_length());
    }

    #[test]
    fn a_text_that_only_looks_like_an_answer_is_a_new_prompt() {
        let copied = format!("other prompt{}", Answer::to_text("x").text(8));
        assert_eq!(Answer::to_text(&copied).offset, 0);
    }

    #[test]
    fn the_json_form_of_every_token_parses_to_its_text() {
        let answer = Answer::to_text("json");
        let mut json = String::from("\"");
        for index in 0..4096 {
            answer.token(index).push_json(&mut json);
        }
        json.push('"');
        let text: String = serde_json::from_str(&json).unwrap();
        assert_eq!(text, answer.text(4096));
        assert!(text.contains("data: [DONE]"), "hostile tokens do occur");
    }

    #[test]
    fn choices_of_one_prompt_differ() {
        let answer = Answer::to_text("x");
        assert_eq!(answer.choice(0), answer);
        assert_ne!(answer.choice(1).text(4), answer.choice(2).text(4));
    }

    #[test]
    fn an_expected_answer_stops_by_itself_or_at_the_limit() {
        let answer = Answer::to_text("x");
        let natural = answer.natural_length();
        assert_eq!(expected(answer, natural - 1, false).finish_reason, "length");
        assert_eq!(expected(answer, natural + 1, false).finish_reason, "stop");
        assert_eq!(
            expected(answer, natural + 1, true).completion_tokens,
            natural + 1
        );
    }

    #[test]
    fn a_made_prompt_has_the_tokens_asked_for() {
        for tokens in [1, 7, 128] {
            assert_eq!(prompt_tokens(&prompt_of(tokens, 3)), tokens);
        }
    }
}
