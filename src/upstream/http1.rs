//! What HTTP/1.1 asks of a client that sends GET and POST and waits for one answer at a time.
//!
//! Bytes in, values out: nothing here reads a socket, so that every split of an answer into reads can be tried.

mod chunked;
mod framing;
mod head;

pub(super) use framing::Framing;
pub(super) use head::{Head, write_request};

use std::fmt;

/// Why an answer can't be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Malformed {
    Head(httparse::Error),
    LongHead,
    Upgrade,
    ContentLength,
    ChunkSize,
    ChunkEnd,
    /// More bytes around the chunks than anybody needs.
    Skipped,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => write!(f, "the answer's head is not HTTP: {error}"),
            Self::LongHead => f.write_str("the answer's head is too long"),
            Self::Upgrade => f.write_str("it switches to a protocol that nobody asked for"),
            Self::ContentLength => f.write_str("the answer's length is not a number"),
            Self::ChunkSize => f.write_str("a chunk's size is not a number"),
            Self::ChunkEnd => f.write_str("a chunk doesn't end where its size says"),
            Self::Skipped => f.write_str("chunk extensions or trailers are too long"),
        }
    }
}

#[cfg(test)]
mod tests;
