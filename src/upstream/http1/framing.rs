//! Where an answer's body ends.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};

use super::Malformed;
use super::chunked::Chunked;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
    /// The end of the connection is its end.
    UntilClose,
}

/// What was found in bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct Decoded {
    /// So many of the first are the body's.
    pub data: usize,
    /// So many belong to the answer; fewer than there were only at its end.
    pub taken: usize,
}

impl Framing {
    /// Of an answer to a GET or a POST.
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Result<Self, Malformed> {
        if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return Ok(Self::Length(0));
        }
        if let Some(codings) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
            let last = codings.as_bytes().rsplit(|&byte| byte == b',').next();
            let chunked =
                last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
            return Ok(if chunked {
                Self::Chunked(Chunked::new())
            } else {
                Self::UntilClose
            });
        }
        Ok(content_length(headers)?.map_or(Self::UntilClose, Self::Length))
    }

    /// Moves the body's bytes to the beginning of what was read.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Malformed> {
        let all = bytes.len();
        match self {
            Self::Length(left) => {
                let data = usize::try_from(*left).map_or(all, |left| left.min(all));
                *left -= data as u64;
                Ok(Decoded { data, taken: data })
            }
            Self::Chunked(chunked) => chunked.decode(bytes),
            Self::UntilClose => Ok(Decoded {
                data: all,
                taken: all,
            }),
        }
    }

    /// Whether all of the body has come, as far as it says so itself.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose => false,
        }
    }
}

/// The one length that all the headers name.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for each in value.as_bytes().split(|&byte| byte == b',') {
            let digits = each.trim_ascii();
            let number = std::str::from_utf8(digits)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok())
                .ok_or(Malformed::ContentLength)?;
            if length.is_some_and(|length| length != number) {
                return Err(Malformed::ContentLength);
            }
            length = Some(number);
        }
    }
    Ok(length)
}
