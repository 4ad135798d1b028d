//! Server-sent events: where one ends, and whether it reports an error.
//!
//! SGLang answers `200` to a stream before it has done anything and reports what goes wrong as an event inside, so
//! the router has to look. It looks without changing a byte, and parses JSON only of an event that may be an error.

use std::sync::LazyLock;

use bytes::Bytes;
use http::StatusCode;
use memchr::memchr_iter;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An event longer than this is passed on without being looked at. Token events are kilobytes; prompt log
/// probabilities of a long prompt are megabytes.
pub const LONGEST_EVENT: usize = 8 * 1024 * 1024;

/// Finds the ends of events in a stream that comes in arbitrary pieces.
#[derive(Debug)]
pub struct EventScanner {
    /// An event longer than this is skipped.
    longest: usize,
    /// The event that has begun but not ended; empty while pieces hold whole events, so nothing is copied then.
    partial: Vec<u8>,
    /// The partial event outgrew `longest`: it is skipped up to its end.
    skipping: bool,
    /// The partial event was whole and is given out: it is nothing by the next call.
    given: bool,
}

impl Default for EventScanner {
    fn default() -> Self {
        Self::up_to(LONGEST_EVENT)
    }
}

impl EventScanner {
    /// A scanner that sees events of up to `longest` bytes.
    pub const fn up_to(longest: usize) -> Self {
        Self {
            longest,
            partial: Vec::new(),
            skipping: false,
            given: false,
        }
    }

    /// Feeds a piece; `on_event` gets each event that ends in it, without its blank line. Answers how many bytes of
    /// `piece` belong to ended events: 0 where none ended.
    pub fn feed(&mut self, piece: &[u8], mut on_event: impl FnMut(&[u8])) -> usize {
        let mut at = 0;
        while let Some(event) = self.next(piece, &mut at) {
            on_event(event);
        }
        at
    }

    /// The next event that ends in `piece`, without its blank line; `at`, 0 at first, is moved behind that. `None` where no
    /// more ends: then the rest of the piece is kept, and the next piece is to follow.
    pub fn next<'a>(&'a mut self, piece: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
        if std::mem::take(&mut self.given) {
            self.partial.clear();
        }
        if !self.partial.is_empty() {
            let rest = &piece[*at..];
            let Some(end) = first_end(&self.partial, rest) else {
                self.keep(rest);
                return None;
            };
            *at += end;
            if std::mem::take(&mut self.skipping) {
                self.partial.clear();
            } else {
                self.partial.extend_from_slice(&rest[..end]);
                self.given = true;
                return Some(without_blank_line(&self.partial));
            }
        }
        let rest = &piece[*at..];
        let Some((event, end)) = first_event(rest) else {
            self.keep(rest);
            return None;
        };
        *at += end;
        Some(event)
    }

    /// Whether an event begins with the next byte.
    pub fn is_at_boundary(&self) -> bool {
        self.partial.is_empty() || self.given
    }

    fn keep(&mut self, rest: &[u8]) {
        self.partial.extend_from_slice(rest);
        if self.partial.len() > self.longest {
            self.skipping = true;
            // The last bytes may begin the blank line.
            self.partial.drain(..self.partial.len() - 3);
        }
    }
}

/// The length of what follows a newline to its blank line, if one does.
fn blank_line(behind_newline: &[u8]) -> Option<usize> {
    match behind_newline {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// Where in `piece` the event ends that has begun with `partial`, in which none ends.
fn first_end(partial: &[u8], piece: &[u8]) -> Option<usize> {
    let straddling = match (partial, piece) {
        ([.., b'\n'], _) => blank_line(piece),
        ([.., b'\n', b'\r'], [b'\n', ..]) => Some(1),
        _ => None,
    };
    straddling.or_else(|| {
        let mut newlines = memchr_iter(b'\n', piece);
        newlines.find_map(|at| Some(at + 1 + blank_line(&piece[at + 1..])?))
    })
}

/// An event that ends with its blank line, without it.
fn without_blank_line(event: &[u8]) -> &[u8] {
    let line = |bytes| {
        let bytes = <[u8]>::strip_suffix(bytes, b"\n").unwrap_or(bytes);
        bytes.strip_suffix(b"\r").unwrap_or(bytes)
    };
    line(line(event))
}

/// The first event of `bytes` that ends, and where its blank line does.
fn first_event(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = first_end(&[], bytes)?;
    Some((without_blank_line(&bytes[..end]), end))
}

/// Built once: building it costs more than a search of one event.
static ABORT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"abort\""));

/// An error that a worker reported inside a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamError {
    pub status: StatusCode,
    pub message: String,
    /// Somebody asked the worker to end the request (`/abort_request`): nothing went wrong.
    pub asked_for: bool,
}

/// The error that `event` reports, if it does.
///
/// OpenAI endpoints send `data: {"error":{...}}`; `/generate` sends a token event whose `meta_info.finish_reason` has
/// the type `abort`.
pub fn error_in(event: &[u8]) -> Option<StreamError> {
    let data = payload(event)?;
    if is_openai_error(data) {
        return openai_error(data);
    }
    may_be_abort(data).then(|| generate_abort(data)).flatten()
}

/// Whether `data` of an event has what an error has, be it one or not.
pub fn may_be_error(data: &[u8]) -> bool {
    is_openai_error(data) || may_be_abort(data)
}

fn is_openai_error(data: &[u8]) -> bool {
    data.starts_with(b"{\"error\"") || data.starts_with(b"{ \"error\"")
}

/// Inside generated text the quotes would be escaped, so these bytes can only be a JSON string of their own.
fn may_be_abort(data: &[u8]) -> bool {
    ABORT.find(data).is_some()
}

/// What follows `data:` in an event of one line.
pub fn payload(event: &[u8]) -> Option<&[u8]> {
    Some(event.strip_prefix(b"data:")?.trim_ascii_start())
}

fn openai_error(data: &[u8]) -> Option<StreamError> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        error: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Body {
        message: Option<String>,
        code: Option<u16>,
    }
    let event: Event<'_> = serde_json::from_slice(data).ok()?;
    let body = serde_json::from_str::<Body>(event.error.get()).ok();
    let status = body
        .as_ref()
        .and_then(|body| body.code)
        .and_then(error_status);
    Some(StreamError {
        status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        message: body
            .and_then(|body| body.message)
            .unwrap_or_else(|| event.error.get().to_owned()),
        asked_for: false,
    })
}

fn generate_abort(data: &[u8]) -> Option<StreamError> {
    #[derive(Deserialize)]
    struct Event {
        meta_info: MetaInfo,
    }
    #[derive(Deserialize)]
    struct MetaInfo {
        finish_reason: Option<FinishReason>,
    }
    #[derive(Deserialize)]
    struct FinishReason {
        r#type: String,
        message: Option<String>,
        status_code: Option<u16>,
    }
    let reason = serde_json::from_slice::<Event>(data)
        .ok()?
        .meta_info
        .finish_reason?;
    (reason.r#type == "abort").then(|| StreamError {
        status: reason
            .status_code
            .and_then(error_status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        message: reason
            .message
            .unwrap_or_else(|| "the worker aborted the request".to_owned()),
        asked_for: reason.status_code.is_none(),
    })
}

fn error_status(code: u16) -> Option<StatusCode> {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error())
}

/// The event with which SGLang ends every stream of tokens.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// Whether what stands between two blank lines begins as an event does: with a field or a comment.
pub fn is_event(event: &[u8]) -> bool {
    let begins: [&[u8]; 5] = [b"data:", b":", b"event:", b"id:", b"retry:"];
    // A blank line more than needed is nothing by itself.
    event.is_empty() || begins.iter().any(|begin| event.starts_with(begin))
}

/// Whether `event` says that the stream is whole.
pub fn is_done(event: &[u8]) -> bool {
    payload(event).is_some_and(|data| data.trim_ascii_end() == b"[DONE]")
}

/// One well-formed error event, in the shape that OpenAI clients read.
pub fn error_event(status: StatusCode, code: &str, message: &str) -> Bytes {
    let error = serde_json::json!({
        "error": { "type": status.canonical_reason().unwrap_or("Error"), "code": code, "message": message }
    });
    Bytes::from(format!("data: {error}\n\n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut scanner = EventScanner::default();
        let mut events = Vec::new();
        for piece in pieces {
            scanner.feed(piece, |event| {
                events.push(String::from_utf8_lossy(event).into_owned());
            });
        }
        events
    }

    #[test]
    fn events_end_at_blank_lines_however_the_bytes_arrive() {
        let cases: &[(&[&[u8]], &[&str])] = &[
            (&[b"data: a\n\ndata: b\n\n"], &["data: a", "data: b"]),
            (
                &[b"data: a\n", b"\ndata: b", b"\n\n"],
                &["data: a", "data: b"],
            ),
            (
                &[b"data: a\r\n\r\ndata: b\r\n", b"\r\n"],
                &["data: a", "data: b"],
            ),
            (&[b"data: a\r\n\r", b"\n"], &["data: a"]),
            (&[b"data: a\ndata: b\n\n"], &["data: a\ndata: b"]),
            (&[b"data: open"], &[]),
        ];
        for (pieces, expected) in cases {
            assert_eq!(events(pieces), *expected, "{pieces:?}");
        }
    }

    #[test]
    fn an_oversized_event_is_skipped_and_the_next_one_seen() {
        let mut scanner = EventScanner::default();
        let mut seen = Vec::new();
        let megabyte = vec![b'x'; 1024 * 1024];
        for _ in 0..10 {
            scanner.feed(&megabyte, |event| seen.push(event.len()));
        }
        assert!(scanner.partial.len() < LONGEST_EVENT);
        scanner.feed(b"\n\ndata: next\n\n", |event| seen.push(event.len()));
        assert_eq!(seen, [b"data: next".len()]);
    }

    #[test]
    fn errors_are_told_from_text_about_errors() {
        let error = |event: &str| {
            error_in(event.as_bytes()).map(|error| (error.status.as_u16(), error.message))
        };
        assert_eq!(
            error(
                r#"data: {"error":{"object":"error","message":"lost","type":"INTERNAL_SERVER_ERROR","code":503}}"#
            ),
            Some((503, "lost".to_owned()))
        );
        assert_eq!(
            error(r#"data: {"error":"plain"}"#),
            Some((500, "\"plain\"".to_owned()))
        );
        assert_eq!(
            error(
                r#"data: {"text":"","meta_info":{"finish_reason":{"type":"abort","message":"m","status_code":400}}}"#
            ),
            Some((400, "m".to_owned()))
        );
        for harmless in [
            r#"data: {"text":"{\"error\":1} \"abort\"","meta_info":{"finish_reason":null}}"#,
            r#"data: {"choices":[{"text":"abort"}],"x":"abort"}"#,
            "data: [DONE]",
            ": comment",
        ] {
            assert_eq!(error(harmless), None, "{harmless}");
        }
    }

    proptest! {
        #[test]
        fn any_chunking_finds_the_same_events_and_counts_every_byte(
            stream in proptest::collection::vec(proptest::sample::select(&b"da:\r\n {"[..]), 0..120),
            cuts in proptest::collection::vec(0usize..120, 0..8),
        ) {
            let whole = events(&[&stream]);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            let mut scanner = EventScanner::default();
            let (mut seen, mut ended, mut start) = (Vec::new(), 0, 0);
            for cut in cuts.into_iter().chain([stream.len()]) {
                let piece = &stream[start..cut];
                let n = scanner.feed(piece, |event| seen.push(String::from_utf8_lossy(event).into_owned()));
                prop_assert!(n <= piece.len());
                if n > 0 {
                    ended = start + n;
                }
                start = cut;
            }
            prop_assert_eq!(seen, whole);
            prop_assert_eq!(scanner.is_at_boundary(), ended == stream.len());
        }
    }
}
