//! What a client has been told of its answer so far.
//!
//! Kept as it came, because hardly any stream is ever continued: the text of chunks as it stands in their JSON strings,
//! one behind the other, which is a JSON string again; and the last event, which says whether the answer has finished
//! and, at `/generate`, holds all of it.

use crate::proxy::chunk::Brought;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::sse;

/// The first chunk says by which id the client knows the answer. One that is longer than this is not SGLang's.
const LONGEST_FIRST: usize = 4096;

/// The answer so far, as one stream's client has it.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Said {
    endpoint: Endpoint,
    /// Of chunks; `/generate` repeats its text in each event.
    text: Text,
    /// Reasoning or tool calls came, which no prompt can hold.
    more_than_text: bool,
    first: Box<[u8]>,
    /// The last event, or one that says the same but for its text.
    last: Vec<u8>,
}

impl Said {
    pub(in crate::proxy) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            text: Text::default(),
            more_than_text: false,
            first: Box::default(),
            last: Vec::new(),
        }
    }

    /// A whole event goes to the client, which brings `brought`. Comments and `[DONE]` tell nothing.
    pub(in crate::proxy) fn event(&mut self, event: &[u8], brought: Option<&Brought>) {
        if !sse::payload(event).is_some_and(|data| data.starts_with(b"{")) {
            return;
        }
        self.last.clear();
        self.last.extend_from_slice(event);
        if self.first.is_empty()
            && self.endpoint != Endpoint::Generate
            && event.len() <= LONGEST_FIRST
        {
            self.first = event.into();
        }
        if let Some(brought) = brought {
            self.another(event, brought);
        }
    }

    /// The same of a chunk that says nothing else than the last one did, but for what it brings.
    pub(in crate::proxy) fn another(&mut self, event: &[u8], brought: &Brought) {
        match brought.text(event) {
            Some(text) => self.text.push(text),
            None => self.more_than_text = true,
        }
    }

    /// The text of chunks, as it stands in a JSON string.
    pub(in crate::proxy) fn text(&self) -> Vec<u8> {
        self.text.parts.concat()
    }

    pub(in crate::proxy) fn is_more_than_text(&self) -> bool {
        self.more_than_text
    }

    /// The first chunk.
    pub(in crate::proxy) fn first(&self) -> &[u8] {
        &self.first
    }

    /// The last event: of `/generate` with all its text, of chunks with one's that need not be the last.
    pub(in crate::proxy) fn last(&self) -> &[u8] {
        &self.last
    }
}

/// Text that grows to the end of its stream, and is hardly ever read: what has come is not moved for what comes.
#[derive(Debug, Clone, Default)]
struct Text {
    parts: Vec<Vec<u8>>,
    length: usize,
}

/// Bytes of a part, but for a longer text that comes at once: as many as there are, between these.
const PART: std::ops::Range<usize> = 64..16 * 1024;

impl Text {
    fn push(&mut self, text: &[u8]) {
        let here = self.parts.last_mut();
        if let Some(part) = here.filter(|part| part.capacity() - part.len() >= text.len()) {
            part.extend_from_slice(text);
        } else {
            let capacity = self.length.clamp(PART.start, PART.end).max(text.len());
            let mut part = Vec::with_capacity(capacity);
            part.extend_from_slice(text);
            self.parts.push(part);
        }
        self.length += text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::chunk;

    fn said(endpoint: Endpoint, events: &[&'static str]) -> Said {
        let mut said = Said::new(endpoint);
        for event in events {
            let event = event.as_bytes();
            said.event(event, chunk::brought(endpoint, event).as_ref());
        }
        said
    }

    #[test]
    fn the_texts_of_chunks_add_up_to_one_json_string() {
        let events = [
            r#"data: {"id":"a","choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"data: {"id":"a","choices":[{"delta":{"content":"say \"hi\\"}}]}"#,
            r#"data: {"id":"a","choices":[{"delta":{"content":"\n\n東"}}]}"#,
            r#"data: {"id":"a","choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        ];
        let said = said(Endpoint::Chat, &events);
        let json = format!("\"{}\"", String::from_utf8(said.text()).unwrap());
        let text: String = serde_json::from_str(&json).unwrap();
        assert_eq!(text, "say \"hi\\\n\n東");
        assert_eq!(said.first(), events[0].as_bytes());
        assert_eq!(said.last(), events[3].as_bytes());
        assert!(!said.is_more_than_text());
    }

    #[test]
    fn a_text_is_what_was_pushed_however_long_and_takes_at_most_twice_its_memory() {
        let (mut text, mut wanted) = (Text::default(), Vec::new());
        for length in (0..200).chain([40_000, 1, 5]) {
            let piece = vec![length as u8; length];
            text.push(&piece);
            wanted.extend(piece);
        }
        assert_eq!(text.parts.concat(), wanted);
        let taken: usize = text.parts.iter().map(Vec::capacity).sum();
        assert!(taken <= 2 * wanted.len() + PART.end, "{taken}");
    }

    #[test]
    fn reasoning_and_tool_calls_are_more_than_text() {
        for delta in [
            r#"{"reasoning_content":"hm","content":null}"#,
            r#"{"content":null,"tool_calls":[{"index":0}]}"#,
        ] {
            let event = format!(r#"data: {{"choices":[{{"delta":{delta}}}]}}"#).leak();
            assert!(
                said(Endpoint::Chat, &[event]).is_more_than_text(),
                "{event}"
            );
        }
    }
}
