//! Counting tokens in the events of a stream, by looking for a few byte strings in each.
//!
//! What SGLang 0.5.23 sends: `/generate` events carry `meta_info.completion_tokens`, the tokens so far, and their text
//! so far. OpenAI chunks carry the new text only, and `usage` with the tokens so far where the client asked for
//! `continuous_usage_stats`. A chunk is not a token: a worker may put several into one, or hold text back.
//!
//! Nothing is parsed. A name with its quotes and colon, such as `"content":`, can't occur inside a JSON string, where
//! the quotes would be escaped, so finding the bytes is finding the member.

use std::sync::LazyLock;

use memchr::memmem::{Finder, FinderRev};
use smallvec::SmallVec;

use super::chunk::{Brought, finder};
use super::endpoint::Endpoint;
use crate::telemetry::TokenCount;

/// Sequences of a request (its prompts times its samples) whose tokens are told apart; those beyond are counted
/// together, so that a stream's memory is bounded whatever it asked for.
const SEQUENCES: u64 = 32;

/// Bytes of a prompt for each token, where nobody counted: what English text comes to with large vocabularies.
const BYTES_PER_TOKEN: usize = 4;

finder!(COMPLETION_TOKENS, "\"completion_tokens\":");
finder!(PROMPT_TOKENS, "\"prompt_tokens\":");
finder!(CACHED_TOKENS, "\"cached_tokens\":");
finder!(INDEX, "\"index\":");
finder!(NO_CHOICES, "\"choices\":[]");

/// A `/generate` event ends with its `meta_info`, behind text that grows with the answer.
static LAST_COMPLETION_TOKENS: LazyLock<FinderRev<'static>> =
    LazyLock::new(|| FinderRev::new("\"completion_tokens\":"));
static LAST_PROMPT_TOKENS: LazyLock<FinderRev<'static>> =
    LazyLock::new(|| FinderRev::new("\"prompt_tokens\":"));
static LAST_CACHED_TOKENS: LazyLock<FinderRev<'static>> =
    LazyLock::new(|| FinderRev::new("\"cached_tokens\":"));
static LAST_INDEX: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new("\"index\":"));

/// Tokens that an event brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Which of the request's sequences they belong to.
    pub sequence: usize,
    /// At least 1.
    pub tokens: u32,
    /// Whether they are the sequence's first.
    pub first: bool,
}

/// What a worker says of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt {
    pub tokens: u32,
    /// Of them found in its prefix cache.
    pub cached: Option<u32>,
}

/// The tokens of one stream.
#[derive(Debug)]
pub struct TokenCounter {
    endpoint: Endpoint,
    sequences: SmallVec<[Sequence; 1]>,
    /// The sequence whose tokens came last.
    last: usize,
    /// From the usage at the end, where there is one.
    total: Option<u32>,
    prompt: Option<Prompt>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sequence {
    counted: u32,
    /// The worker's count so far.
    reported: Option<u32>,
    prompt: Option<Prompt>,
}

impl TokenCounter {
    /// For a stream of `sequences` sequences.
    pub fn new(endpoint: Endpoint, sequences: u64) -> Self {
        let sequences = sequences.clamp(1, SEQUENCES) as usize;
        Self {
            endpoint,
            sequences: SmallVec::from_elem(Sequence::default(), sequences),
            last: 0,
            total: None,
            prompt: None,
        }
    }

    /// How many sequences are told apart.
    pub fn sequences(&self) -> usize {
        self.sequences.len()
    }

    /// Looks at one whole event and what it brings ([`chunk::brought`](super::chunk::brought)).
    pub fn count(&mut self, event: &[u8], brought: Option<&Brought>) -> Option<Arrival> {
        match self.endpoint {
            Endpoint::Generate => self.count_generate(event),
            Endpoint::Chat
            | Endpoint::Completions
            | Endpoint::Rerank
            | Endpoint::Embeddings
            | Endpoint::Classify
            | Endpoint::Score
            | Endpoint::Responses => self.count_chunk(event, brought.is_some()),
        }
    }

    /// So many chunks came, at least one, that are like the last one counted, but for their text: each a token more of the
    /// same sequence.
    pub fn count_others(&mut self, chunks: u32) -> Arrival {
        let sequence = &mut self.sequences[self.last];
        let first = sequence.counted == 0;
        sequence.counted = sequence.counted.saturating_add(chunks);
        Arrival {
            sequence: self.last,
            tokens: chunks,
            first,
        }
    }

    fn count_generate(&mut self, event: &[u8]) -> Option<Arrival> {
        let so_far = last_number(event, &LAST_COMPLETION_TOKENS)?;
        let index = if self.sequences.len() > 1 {
            last_number(event, &LAST_INDEX)
        } else {
            None
        };
        let position = self.position(index);
        let sequence = &mut self.sequences[position];
        sequence.reported = Some(so_far);
        if sequence.prompt.is_none() {
            sequence.prompt = last_number(event, &LAST_PROMPT_TOKENS).map(|tokens| Prompt {
                tokens,
                cached: last_number(event, &LAST_CACHED_TOKENS),
            });
        }
        let tokens = so_far.saturating_sub(sequence.counted);
        self.arrived(position, tokens)
    }

    fn count_chunk(&mut self, event: &[u8], brings: bool) -> Option<Arrival> {
        let so_far = number(event, &COMPLETION_TOKENS);
        if so_far.is_some() && NO_CHOICES.find(event).is_some() {
            self.total = so_far;
            self.prompt = prompt_in(event);
            return None;
        }
        let index = if self.sequences.len() > 1 {
            number(event, &INDEX)
        } else {
            None
        };
        let position = self.position(index);
        let sequence = &mut self.sequences[position];
        if so_far.is_some() {
            sequence.reported = so_far;
            if sequence.prompt.is_none() {
                sequence.prompt = prompt_in(event);
            }
        }
        if !brings {
            return None;
        }
        let tokens = so_far.map_or(1, |so_far| so_far.saturating_sub(sequence.counted).max(1));
        self.arrived(position, tokens)
    }

    fn position(&self, index: Option<u32>) -> usize {
        (index.unwrap_or(0) as usize).min(self.sequences.len() - 1)
    }

    fn arrived(&mut self, position: usize, tokens: u32) -> Option<Arrival> {
        self.last = position;
        let sequence = &mut self.sequences[position];
        let first = sequence.counted == 0;
        sequence.counted = sequence.counted.saturating_add(tokens);
        (tokens > 0).then_some(Arrival {
            sequence: position,
            tokens,
            first,
        })
    }

    /// Output tokens so far, by the worker's word where it gave one.
    pub fn output(&self) -> TokenCount {
        let reported = |sequence: &Sequence| sequence.reported.unwrap_or(0).max(sequence.counted);
        let sum = self.sequences.iter().map(reported).sum();
        let all = self.sequences.iter().all(|each| each.reported.is_some());
        TokenCount {
            tokens: self.total.unwrap_or(sum),
            reported: self.total.is_some() || all,
        }
    }

    /// The prompt by the worker's word: the sum over the sequences, where it is not said for all.
    pub fn prompt(&self) -> Option<Prompt> {
        let each = self.sequences.iter().filter_map(|sequence| sequence.prompt);
        self.prompt.or_else(|| each.reduce(Prompt::and))
    }
}

impl Prompt {
    fn and(self, other: Self) -> Self {
        let sum = |one: u32, other: u32| one.saturating_add(other);
        Self {
            tokens: sum(self.tokens, other.tokens),
            cached: self.cached.zip(other.cached).map(|(a, b)| sum(a, b)),
        }
    }
}

/// What an OpenAI usage says of the prompt.
fn prompt_in(event: &[u8]) -> Option<Prompt> {
    Some(Prompt {
        tokens: number(event, &PROMPT_TOKENS)?,
        cached: number(event, &CACHED_TOKENS),
    })
}

/// Output tokens and prompt of an answer that came whole. One with several elements has a count in each.
pub fn in_answer(answer: &[u8]) -> Option<(u32, Prompt)> {
    let sum = |finder: &Finder<'_>| {
        let ends = finder
            .find_iter(answer)
            .map(|at| at + finder.needle().len());
        ends.filter_map(|end| digits(&answer[end..]))
            .reduce(u32::saturating_add)
    };
    let prompt = Prompt {
        tokens: sum(&PROMPT_TOKENS)?,
        cached: sum(&CACHED_TOKENS),
    };
    Some((sum(&COMPLETION_TOKENS)?, prompt))
}

/// The length of a prompt as it stands in JSON: token ids are counted, text is estimated.
pub fn estimate(prompt: &str) -> u32 {
    let bytes = prompt.as_bytes();
    let ids = bytes.first() == Some(&b'[') && bytes.get(1).is_some_and(u8::is_ascii_digit);
    let tokens = if ids {
        memchr::memchr_iter(b',', bytes).count() + 1
    } else {
        bytes.len().div_ceil(BYTES_PER_TOKEN)
    };
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

fn number(event: &[u8], finder: &Finder<'_>) -> Option<u32> {
    let at = finder.find(event)?;
    digits(&event[at + finder.needle().len()..])
}

fn last_number(event: &[u8], finder: &FinderRev<'_>) -> Option<u32> {
    let at = finder.rfind(event)?;
    digits(&event[at + finder.needle().len()..])
}

/// The number at the beginning of `value`; `None` of `null`.
fn digits(value: &[u8]) -> Option<u32> {
    let value = value.trim_ascii_start();
    let mut number: Option<u32> = None;
    for digit in value.iter().take_while(|byte| byte.is_ascii_digit()) {
        let so_far = number.unwrap_or(0).saturating_mul(10);
        number = Some(so_far.saturating_add(u32::from(digit - b'0')));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::chunk;

    fn look(counter: &mut TokenCounter, event: &str) -> Option<Arrival> {
        let event = event.as_bytes();
        counter.count(event, chunk::brought(counter.endpoint, event).as_ref())
    }

    fn arrivals(counter: &mut TokenCounter, events: &[&str]) -> Vec<u32> {
        let arrivals = events.iter().map(|event| look(counter, event));
        arrivals
            .map(|each| each.map_or(0, |each| each.tokens))
            .collect()
    }

    fn prompt(tokens: u32) -> Prompt {
        Prompt {
            tokens,
            cached: None,
        }
    }

    #[test]
    fn what_was_cached_of_a_prompt_is_taken_where_it_is_said() {
        let cached = Some(Prompt {
            tokens: 7,
            cached: Some(4),
        });
        let mut counter = TokenCounter::new(Endpoint::Generate, 1);
        look(
            &mut counter,
            r#"data: {"text":"a","meta_info":{"prompt_tokens":7,"completion_tokens":1,"cached_tokens":4,"cached_tokens_details":null}}"#,
        );
        assert_eq!(counter.prompt(), cached);
        let mut counter = TokenCounter::new(Endpoint::Chat, 1);
        look(
            &mut counter,
            r#"data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}}"#,
        );
        assert_eq!(counter.prompt(), cached);
    }

    #[test]
    fn a_generate_event_brings_what_its_count_rose_by() {
        let mut counter = TokenCounter::new(Endpoint::Generate, 1);
        let events = [
            r#"data: {"text":"a","output_ids":[1],"meta_info":{"id":"x","prompt_tokens":7,"completion_tokens":1}}"#,
            r#"data: {"text":"ab","output_ids":[1,2],"meta_info":{"prompt_tokens": 7, "completion_tokens": 5}}"#,
            r#"data: {"text":"ab","meta_info":{"prompt_tokens":7,"completion_tokens":5,"finish_reason":{"type":"stop"}}}"#,
            "data: [DONE]",
        ];
        assert_eq!(arrivals(&mut counter, &events), [1, 4, 0, 0]);
        assert_eq!(
            counter.output(),
            TokenCount {
                tokens: 5,
                reported: true
            }
        );
        assert_eq!(counter.prompt(), Some(prompt(7)));
    }

    #[test]
    fn text_that_looks_like_a_count_is_text() {
        let mut counter = TokenCounter::new(Endpoint::Generate, 1);
        let event =
            r#"data: {"text":"\"completion_tokens\":99","meta_info":{"completion_tokens":2}}"#;
        assert_eq!(arrivals(&mut counter, &[event]), [2]);
        let mut counter = TokenCounter::new(Endpoint::Completions, 1);
        let event = r#"data: {"choices":[{"index":0,"text":"\"completion_tokens\":99 \"choices\":[]"}],"usage":null}"#;
        assert_eq!(arrivals(&mut counter, &[event]), [1]);
    }

    #[test]
    fn only_chat_chunks_with_something_in_them_are_tokens() {
        let mut counter = TokenCounter::new(Endpoint::Chat, 1);
        let events = [
            r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
            r#"data: {"choices":[{"index":0,"delta":{"content":null,"reasoning_content":"hm"}}],"usage":null}"#,
            r#"data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a"}]}}]}"#,
            r#"data: {"choices":[{"index":0,"delta":{"content": "b"}}]}"#,
            r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"f"}}]}}]}"#,
            r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[]}}]}"#,
            r#"data: {"choices":[{"index":0,"delta":{"reasoning_content":null},"finish_reason":"stop"}]}"#,
            r#"data: {"choices":[],"usage":{"prompt_tokens":11,"total_tokens":20,"completion_tokens":9}}"#,
            "data: [DONE]",
        ];
        assert_eq!(arrivals(&mut counter, &events), [0, 1, 1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(
            counter.output(),
            TokenCount {
                tokens: 9,
                reported: true
            }
        );
        assert_eq!(counter.prompt(), Some(prompt(11)));
    }

    #[test]
    fn chunks_with_usage_bring_what_it_rose_by_and_chunks_without_bring_one() {
        let chunk = |text: &str, usage: &str| {
            format!(r#"data: {{"choices":[{{"index":0,"text":"{text}"}}],"usage":{usage}}}"#)
        };
        let mut counter = TokenCounter::new(Endpoint::Completions, 1);
        let usage = |n| format!(r#"{{"prompt_tokens":3,"completion_tokens":{n}}}"#);
        // Tokens without text yet are counted with the text that they end in.
        let events = [
            chunk("a", &usage(1)),
            chunk("", &usage(2)),
            chunk("b", &usage(4)),
            chunk("", &usage(5)),
        ];
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        assert_eq!(arrivals(&mut counter, &events), [1, 0, 3, 0]);
        assert_eq!(
            counter.output(),
            TokenCount {
                tokens: 5,
                reported: true
            }
        );

        let mut counter = TokenCounter::new(Endpoint::Completions, 1);
        let events = [
            chunk("several tokens", "null"),
            chunk("", "null"),
            chunk("b", "null"),
        ];
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        assert_eq!(arrivals(&mut counter, &events), [1, 0, 1]);
        assert_eq!(
            counter.output(),
            TokenCount {
                tokens: 2,
                reported: false
            }
        );
        assert_eq!(counter.prompt(), None);
    }

    #[test]
    fn sequences_are_told_apart_and_their_number_is_bounded() {
        let mut counter = TokenCounter::new(Endpoint::Generate, 2);
        let event = |index, n| {
            format!(
                r#"data: {{"text":"a","meta_info":{{"prompt_tokens":4,"completion_tokens":{n}}},"index":{index}}}"#
            )
        };
        let count = |counter: &mut TokenCounter, index, n| look(counter, &event(index, n));
        let arrival = |sequence, tokens, first| {
            Some(Arrival {
                sequence,
                tokens,
                first,
            })
        };
        assert_eq!(count(&mut counter, 0, 2), arrival(0, 2, true));
        assert_eq!(count(&mut counter, 1, 1), arrival(1, 1, true));
        assert_eq!(count(&mut counter, 1, 3), arrival(1, 2, false));
        assert_eq!(counter.output().tokens, 5);
        assert_eq!(counter.prompt(), Some(prompt(8)));
        assert_eq!(TokenCounter::new(Endpoint::Chat, u64::MAX).sequences(), 32);
    }

    #[test]
    fn a_whole_answer_has_a_count_in_each_element() {
        let list = br#"[{"meta_info":{"prompt_tokens":3,"completion_tokens":5}},{"meta_info":{"prompt_tokens":4,"completion_tokens":6}}]"#;
        assert_eq!(in_answer(list), Some((11, prompt(7))));
        let openai = br#"{"choices":[{"text":"x"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"prompt_tokens_details":null}}"#;
        assert_eq!(in_answer(openai), Some((5, prompt(3))));
        assert_eq!(in_answer(b"{}"), None);
    }

    #[test]
    fn token_ids_are_counted_and_text_is_estimated() {
        for (prompt, tokens) in [
            ("[1,2,3]", 3),
            ("\"12345678\"", 3),
            ("[\"a\",\"b\"]", 3),
            ("", 0),
        ] {
            assert_eq!(estimate(prompt), tokens, "{prompt}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_harm(
            bytes in proptest::collection::vec(proptest::sample::select(&b"\"completion_tokens\":content0919[]{} "[..]), 0..200),
        ) {
            for endpoint in Endpoint::ALL {
                let mut counter = TokenCounter::new(endpoint, 2);
                counter.count(&bytes, chunk::brought(endpoint, &bytes).as_ref());
                counter.output();
            }
        }
    }
}
