//! What a client got.

use serde::{Deserialize, Serialize};
use std::fmt;

/// From best to worst, as far as that can be said: an error that says so is better than a cut that doesn't, a cut is
/// better than what looks whole and isn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The answer to its prompt, whole and with right counts.
    Right,
    /// An error status with a body that can be parsed.
    Status(u16),
    /// A stream that ended with a well-formed error event and no `[DONE]`.
    ErrorEvent,
    /// An error status whose body is neither JSON nor events of JSON, or is cut.
    UnreadableStatus(u16),
    /// The connection closed before a head.
    NoHead,
    /// It ended without a word: no error, no `[DONE]`, or fewer bytes than announced.
    Cut,
    /// An error event and then `[DONE]`: a client that doesn't look for errors takes it for whole.
    ErrorThenDone,
    /// Not the JSON or the events that an answer consists of, although the HTTP is whole.
    Garbled,
    /// Well formed to its end, without an error, and not all of the answer.
    PassesAsWhole,
    /// Another text than the right one.
    WrongText,
    /// Nothing more came within the client's limit.
    Hang,
}

impl Outcome {
    /// Right or an error that any client sees.
    pub const fn is_honest(self) -> bool {
        match self {
            Self::Right | Self::Status(_) | Self::ErrorEvent => true,
            Self::UnreadableStatus(_)
            | Self::NoHead
            | Self::Cut
            | Self::ErrorThenDone
            | Self::Garbled
            | Self::PassesAsWhole
            | Self::WrongText
            | Self::Hang => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right => f.write_str("right"),
            Self::Status(status) => write!(f, "error {status}"),
            Self::ErrorEvent => f.write_str("error event"),
            Self::UnreadableStatus(status) => write!(f, "unreadable error {status}"),
            Self::NoHead => f.write_str("no head"),
            Self::Cut => f.write_str("cut"),
            Self::ErrorThenDone => f.write_str("error, then [DONE]"),
            Self::Garbled => f.write_str("garbled"),
            Self::PassesAsWhole => f.write_str("passes as whole"),
            Self::WrongText => f.write_str("wrong text"),
            Self::Hang => f.write_str("hangs"),
        }
    }
}
