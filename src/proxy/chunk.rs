//! What the chunks of an OpenAI stream bring, and how to see that without looking at all of each.
//!
//! Nothing is parsed. A name with its quotes and colon, such as `"content":`, can't occur inside a JSON string, where
//! the quotes would be escaped, so finding the bytes is finding the member.
//!
//! One chunk of a stream differs from the one before in the string that it brings and, once a second, in the time that
//! it was made. So what was found out about one chunk is kept with the bytes around its string, and holds for every
//! chunk with the same bytes there: to compare them costs a tenth of looking for each member anew.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::endpoint::Endpoint;
use super::sse;

macro_rules! finder {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new($text));
    };
}
pub(super) use finder;

finder!(TEXT, "\"text\":");
finder!(CONTENT, "\"content\":");
finder!(REASONING, "\"reasoning_content\":");
finder!(TOOL_CALLS, "\"tool_calls\":");

/// A chunk longer than this is no template for others. SGLang's have some hundred bytes.
const LONGEST_TEMPLATE: usize = 4096;

/// What a chunk brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    kind: Kind,
    /// Where it stands in the chunk, as it stands in JSON; never empty but for a tool call, which is no string.
    string: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    ToolCall,
}

impl Brought {
    /// The answer's text in `event`, which brings this; `None` where that is something else.
    pub fn text<'a>(&self, event: &'a [u8]) -> Option<&'a [u8]> {
        (self.kind == Kind::Text).then(|| &event[self.string.clone()])
    }
}

/// What `event` brings, if anything: not the role chunk in front nor the finish chunk behind. Where it brings several
/// things, text goes before reasoning and that before a tool call.
pub fn brought(endpoint: Endpoint, event: &[u8]) -> Option<Brought> {
    let find = |finder, kind| string_of(event, finder).map(|string| Brought { kind, string });
    match endpoint {
        Endpoint::Chat => find(&*CONTENT, Kind::Text)
            .or_else(|| find(&*REASONING, Kind::Reasoning))
            .or_else(|| tool_call(event)),
        // It has no chunks: each event has all that there is so far.
        Endpoint::Generate => None,
        Endpoint::Completions
        | Endpoint::Rerank
        | Endpoint::Embeddings
        | Endpoint::Classify
        | Endpoint::Score
        | Endpoint::Responses => find(&*TEXT, Kind::Text),
    }
}

fn tool_call(event: &[u8]) -> Option<Brought> {
    let at = TOOL_CALLS.find(event)? + TOOL_CALLS.needle().len();
    let calls = event[at..].trim_ascii_start().strip_prefix(b"[")?;
    let some = !calls.trim_ascii_start().starts_with(b"]");
    some.then_some(Brought {
        kind: Kind::ToolCall,
        string: 0..0,
    })
}

/// Where the first string behind `finder` stands that isn't empty. Log probabilities have a `content` too, a list.
fn string_of(event: &[u8], finder: &Finder<'_>) -> Option<Range<usize>> {
    finder.find_iter(event).find_map(|at| {
        let value = event[at + finder.needle().len()..].trim_ascii_start();
        let string = value.strip_prefix(b"\"")?;
        let length = length_of(string).filter(|length| *length > 0)?;
        let start = event.len() - string.len();
        Some(start..start + length)
    })
}

/// How long the string is whose opening quote stands in front of `bytes`; `None` where it doesn't end.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        // What is escaped may be a quote.
        at += 2;
    }
}

/// The same, where the string ends in its line. In what is no JSON it may not, and a line's end may be an event's.
fn length_of_line(bytes: &[u8]) -> Option<usize> {
    let special = memchr::memchr3(b'"', b'\\', b'\n', bytes)?;
    match bytes[special] {
        b'"' => Some(special),
        b'\\' => {
            length_of(bytes).filter(|&length| memchr::memchr(b'\n', &bytes[..length]).is_none())
        }
        _ => None,
    }
}

/// A chunk by which the next ones are known.
#[derive(Debug, Default)]
pub(super) struct Template {
    chunk: Vec<u8>,
    /// `None` as long as there is no such chunk.
    brought: Option<Brought>,
}

impl Template {
    /// What `event` brings, if it is the same as the template in everything else.
    pub(super) fn brought(&self, event: &[u8]) -> Option<Brought> {
        let length = self.first(event)?;
        self.brought_by(length).filter(|_| length == event.len())
    }

    /// The length of the chunk with which `bytes` begin, if all of it is there and it is the same as the template in
    /// everything else: its end needn't be looked for.
    pub(super) fn first(&self, bytes: &[u8]) -> Option<usize> {
        let string = &self.brought.as_ref()?.string;
        let (before, behind) = (&self.chunk[..string.start], &self.chunk[string.end..]);
        let text = bytes.strip_prefix(before)?;
        let length = length_of_line(text)?;
        // The bytes behind begin with the closing quote.
        let alike = length > 0 && text[length..].starts_with(behind);
        alike.then_some(before.len() + length + behind.len())
    }

    /// What a chunk brings that is the same in everything else and has this length.
    pub(super) fn brought_by(&self, length: usize) -> Option<Brought> {
        let Brought { kind, string } = self.brought.as_ref()?;
        let behind = self.chunk.len() - string.end;
        Some(Brought {
            kind: *kind,
            string: string.start..length - behind,
        })
    }

    /// Takes `event`, which brings `brought`, as the template. Where it can't be one there is none.
    pub(super) fn take(&mut self, event: &[u8], brought: Option<Brought>) {
        self.brought = None;
        let Some(brought) = brought else { return };
        let json = |data: &[u8]| data.starts_with(b"{") && !sse::may_be_error(data);
        let json = sse::payload(event).is_some_and(json);
        // Else what looks like a string might be a name.
        let is_value = matches!(event.get(brought.string.end + 1), Some(b',' | b'}'));
        let is_string = brought.kind != Kind::ToolCall;
        if json && is_string && is_value && event.len() <= LONGEST_TEMPLATE {
            self.chunk.clear();
            self.chunk.extend_from_slice(event);
            self.brought = Some(brought);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(delta: &str) -> String {
        format!(
            r#"data: {{"id":"a","choices":[{{"index":0,"delta":{{{delta}}},"logprobs":null}}],"usage":null}}"#
        )
    }

    #[test]
    fn a_chunk_like_the_template_is_known_by_the_bytes_around_its_string() {
        let mut template = Template::default();
        let first = chat(r#""content":" a","reasoning_content":null"#);
        assert_eq!(template.brought(first.as_bytes()), None);
        let brought = brought(Endpoint::Chat, first.as_bytes()).expect("it brings text");
        assert_eq!(brought.text(first.as_bytes()), Some(&b" a"[..]));
        template.take(first.as_bytes(), Some(brought));
        for (text, known) in [
            ("b", true),
            (r"\n", true),
            (r#"say \"hi\"\\"#, true),
            ("東", true),
            // Two strings, none, and one that goes on.
            (r#"b","role":"c"#, false),
            ("", false),
            (r"b\", false),
        ] {
            let next = chat(&format!(r#""content":"{text}","reasoning_content":null"#));
            let said = template.brought(next.as_bytes());
            let said = said.as_ref().and_then(|said| said.text(next.as_bytes()));
            assert_eq!(said, known.then_some(text.as_bytes()), "{text}");
        }
        let longer = chat(r#""content":"b","reasoning_content":"c""#);
        assert_eq!(template.brought(longer.as_bytes()), None);
    }

    #[test]
    fn what_is_no_text_is_told_from_it() {
        let kind = |delta: &str| brought(Endpoint::Chat, chat(delta).as_bytes()).map(|it| it.kind);
        assert_eq!(
            kind(r#""content":null,"reasoning_content":"hm""#),
            Some(Kind::Reasoning)
        );
        assert_eq!(
            kind(r#""content":null,"tool_calls":[{"index":0}]"#),
            Some(Kind::ToolCall)
        );
        assert_eq!(
            kind(r#""role":"assistant","content":"","tool_calls":[]"#),
            None
        );
    }

    #[test]
    fn a_name_is_no_template() {
        let mut template = Template::default();
        let event = br#"data: {"text":"a":5}"#;
        let brought = brought(Endpoint::Completions, event);
        assert_eq!(
            brought.as_ref().and_then(|it| it.text(event)),
            Some(&b"a"[..])
        );
        template.take(event, brought);
        assert_eq!(template.brought(event), None);
    }
}
