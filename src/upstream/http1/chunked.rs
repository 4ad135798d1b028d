//! `Transfer-Encoding: chunked`, taken apart in place.
//!
//! In place, because then what came in one read lies together, however many chunks it came in.

use super::Malformed;
use super::framing::Decoded;

/// Bytes of extensions and trailers that are skipped in one answer. Workers send none.
const LONGEST_SKIPPED: u16 = 16 * 1024;

/// Where in the coding the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a size's first digit.
    SizeBegins,
    Size,
    Extension,
    /// Behind the carriage return of a size.
    SizeEnds,
    Data,
    /// Behind a chunk's last byte, and behind the carriage return that follows.
    DataEnds,
    DataEnded,
    /// At the beginning of a line behind the last chunk.
    Trailers,
    Trailer,
    TrailerEnds,
    /// Behind the carriage return of the blank line.
    Ends,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct Chunked {
    state: State,
    /// Bytes of the chunk that are still to come.
    left: u64,
    skipped: u16,
}

impl Chunked {
    pub const fn new() -> Self {
        Self {
            state: State::SizeBegins,
            left: 0,
            skipped: 0,
        }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Moves the data in `bytes` to their beginning.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Malformed> {
        let (mut data, mut taken) = (0, 0);
        while taken < bytes.len() && self.state != State::Done {
            if self.state != State::Data {
                taken += self.step(&bytes[taken..])?;
                continue;
            }
            let here = usize::try_from(self.left)
                .unwrap_or(usize::MAX)
                .min(bytes.len() - taken);
            bytes.copy_within(taken..taken + here, data);
            data += here;
            taken += here;
            self.left -= here as u64;
            if self.left > 0 {
                break;
            }
            self.state = State::DataEnds;
            // Nearly all that stands between chunks lies whole in what was read.
            if let Some((size, length)) = between(&bytes[taken..]) {
                self.left = size;
                self.state = State::Data;
                taken += length;
            }
        }
        Ok(Decoded { data, taken })
    }

    /// Goes on by what stands in front of data, at least a byte; answers how many bytes that was.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self.state {
            State::DataEnds if bytes.starts_with(b"\r\n") => {
                self.state = State::SizeBegins;
                return Ok(2);
            }
            State::SizeBegins => {
                if let Some((size, length)) = plain_size(bytes) {
                    self.left = size;
                    self.state = State::Data;
                    return Ok(length);
                }
            }
            _ => {}
        }
        self.state = self.after(bytes[0])?;
        Ok(1)
    }

    /// The state behind a byte that is no data.
    fn after(&mut self, byte: u8) -> Result<State, Malformed> {
        match (self.state, byte) {
            (State::Size | State::Extension, b'\r') => Ok(State::SizeEnds),
            (State::Size, b';' | b' ' | b'\t') => Ok(State::Extension),
            (State::SizeBegins | State::Size, digit) => {
                let digit = char::from(digit).to_digit(16).map(u64::from);
                let longer = |digit| self.left.checked_mul(16).map(|left| left | digit);
                self.left = digit.and_then(longer).ok_or(Malformed::ChunkSize)?;
                Ok(State::Size)
            }
            (State::SizeEnds, b'\n') if self.left == 0 => Ok(State::Trailers),
            (State::SizeEnds, b'\n') => Ok(State::Data),
            (State::DataEnds, b'\r') => Ok(State::DataEnded),
            (State::DataEnded, b'\n') => Ok(State::SizeBegins),
            (State::Trailers, b'\r') => Ok(State::Ends),
            (State::Trailer, b'\r') => Ok(State::TrailerEnds),
            (State::TrailerEnds, b'\n') => Ok(State::Trailers),
            (State::Ends, b'\n') => Ok(State::Done),
            (State::Extension, other) if other != b'\n' => self.skip(State::Extension),
            (State::Trailers | State::Trailer, other) if other != b'\n' => {
                self.skip(State::Trailer)
            }
            (
                State::Extension
                | State::SizeEnds
                | State::DataEnds
                | State::DataEnded
                | State::Trailers
                | State::Trailer
                | State::TrailerEnds
                | State::Ends
                | State::Data
                | State::Done,
                _,
            ) => Err(Malformed::ChunkEnd),
        }
    }

    fn skip(&mut self, next: State) -> Result<State, Malformed> {
        self.skipped += 1;
        if self.skipped > LONGEST_SKIPPED {
            return Err(Malformed::Skipped);
        }
        Ok(next)
    }
}

/// Digits of a size that is read at once: below four gigabytes.
const DIGITS: usize = 8;

/// What a byte is as a digit of a size; [`NO_DIGIT`] where it is none.
static DIGIT: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digits[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};
const NO_DIGIT: u8 = 16;

/// The size of the next chunk and how long all is that stands in front of its data, where `bytes` begin with the end of
/// one.
fn between(bytes: &[u8]) -> Option<(u64, usize)> {
    let (size, length) = plain_size(bytes.strip_prefix(b"\r\n")?)?;
    Some((size, length + 2))
}

/// The size with which `bytes` begin and the length of its line, if there is nothing else in that. Not the last chunk's.
fn plain_size(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut size = 0;
    for (digits, &byte) in bytes.iter().take(DIGITS + 1).enumerate() {
        let digit = DIGIT[usize::from(byte)];
        if digit == NO_DIGIT {
            let ends = size > 0 && bytes[digits..].starts_with(b"\r\n");
            return ends.then_some((size, digits + 2));
        }
        size = size << 4 | u64::from(digit);
    }
    None
}
