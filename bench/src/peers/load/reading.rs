//! Reading an answer and checking it: every token once, in its place, of the right prompt, and a proper end.
//!
//! Nothing is parsed as JSON: the generator has to stay far cheaper than the routers that it measures.

use crate::load::Failure;
use memchr::memmem::Finder;
use simulated_worker::stamp::Stamp;

/// Splits and checks a stream's events.
pub(super) struct Reading {
    name: u64,
    tokens: u32,
    next: u32,
    finished: bool,
    done: bool,
    rest: Vec<u8>,
    stamp: Finder<'static>,
}

/// One event of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Token { written_ns: u64 },
    Other,
}

impl Reading {
    pub(super) fn new(name: u64, tokens: u32) -> Self {
        Self {
            name,
            tokens,
            next: 0,
            finished: false,
            done: false,
            rest: Vec::new(),
            stamp: Finder::new(Stamp::BEFORE),
        }
    }

    /// Reads what came; `each` hears of every whole event.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(Event),
    ) -> Result<(), Failure> {
        let joined;
        let mut bytes = piece;
        if !self.rest.is_empty() {
            self.rest.extend_from_slice(piece);
            joined = std::mem::take(&mut self.rest);
            bytes = &joined;
        }
        while let Some(end) = memchr::memmem::find(bytes, b"\n\n") {
            each(self.event(&bytes[..end])?);
            bytes = &bytes[end + 2..];
        }
        self.rest = bytes.to_vec();
        Ok(())
    }

    fn event(&mut self, event: &[u8]) -> Result<Event, Failure> {
        if event.starts_with(b":") {
            return Ok(Event::Other);
        }
        let data = event.strip_prefix(b"data: ").ok_or(Failure::Garbled)?;
        if self.done {
            return Err(Failure::Garbled);
        }
        if data == b"[DONE]" {
            self.done = true;
            return Ok(Event::Other);
        }
        match self.stamp.find(data) {
            Some(at) => self.token(&data[at + Stamp::BEFORE.len()..]),
            None => self.other(data),
        }
    }

    fn token(&mut self, text: &[u8]) -> Result<Event, Failure> {
        let stamp = Stamp::parse(text).ok_or(Failure::Garbled)?;
        if stamp.name != self.name || stamp.place != self.next {
            return Err(Failure::WrongText);
        }
        self.next += 1;
        Ok(Event::Token {
            written_ns: stamp.written_ns,
        })
    }

    fn other(&mut self, data: &[u8]) -> Result<Event, Failure> {
        let holds = |text: &[u8]| memchr::memmem::find(data, text).is_some();
        if holds(b"\"error\":") {
            return Err(Failure::ErrorEvent);
        }
        self.finished |= holds(b"\"finish_reason\":\"length\"");
        Ok(Event::Other)
    }

    /// Whether all has come.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.next != self.tokens || !self.done || !self.rest.is_empty() {
            return Err(Failure::Incomplete);
        }
        if !self.finished {
            return Err(Failure::WrongFinish);
        }
        Ok(())
    }
}

/// Checks an answer that was not streamed.
pub(super) fn whole(name: u64, tokens: u32, body: &[u8]) -> Result<(), Failure> {
    let find = |text: &str| memchr::memmem::find(body, text.as_bytes());
    let at = find(Stamp::BEFORE).ok_or(Failure::Garbled)?;
    let stamp = Stamp::parse(&body[at + Stamp::BEFORE.len()..]).ok_or(Failure::Garbled)?;
    if stamp.name != name {
        return Err(Failure::WrongText);
    }
    if find(&format!("\"completion_tokens\":{tokens}}}")).is_none() {
        return Err(Failure::WrongUsage);
    }
    if find("\"finish_reason\":\"length\"").is_none() {
        return Err(Failure::WrongFinish);
    }
    let words = memchr::memmem::find_iter(body, b" word").count();
    if words as u64 + 1 != u64::from(tokens) || !body.ends_with(b"}") {
        return Err(Failure::Incomplete);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
