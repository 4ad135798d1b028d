//! What each event of an instant answer says: which prompt it answers, its place, and when it was written.
//!
//! A load generator that reads it knows without parsing JSON that nothing was lost, doubled or mixed up, and how long
//! the event was on its way. The time is the wall clock's, which all processes of a machine share.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};
use xxhash_rust::xxh3::xxh3_64;

/// One event's text: `" <name> <place> <written>"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The prompt's hash.
    pub name: u64,
    pub place: u32,
    /// Nanoseconds since 1970.
    pub written_ns: u64,
}

impl Stamp {
    /// What stands before a stamp in an event, and nowhere else in it.
    pub const BEFORE: &str = "\"content\":\" ";

    /// A stamp of this moment.
    pub fn now(name: u64, place: u32) -> Self {
        Self {
            name,
            place,
            written_ns: now_ns(),
        }
    }

    pub fn push(self, out: &mut String) {
        let Self {
            name,
            place,
            written_ns,
        } = self;
        write!(out, " {name:016x} {place} {written_ns}").expect("a String takes every text");
    }

    /// Reads the stamp that stands at the beginning of `text`, after its first blank.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (name, rest) = text.split_first_chunk::<16>()?;
        let name = u64::from_str_radix(std::str::from_utf8(name).ok()?, 16).ok()?;
        let (place, rest) = number(rest.strip_prefix(b" ")?)?;
        let (written_ns, _) = number(rest.strip_prefix(b" ")?)?;
        Some(Self {
            name,
            place: u32::try_from(place).ok()?,
            written_ns,
        })
    }
}

/// The name that a prompt's answer carries.
pub fn name_of(prompt: &str) -> u64 {
    xxh3_64(prompt.as_bytes())
}

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 gives delays that no one believes, which is right.
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// A decimal number and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digits);
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp::now(name_of("a prompt"), 2047);
        let mut text = String::new();
        stamp.push(&mut text);
        text.push_str(" and more");
        assert_eq!(Stamp::parse(&text.as_bytes()[1..]), Some(stamp));
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "0123",
            "0123456789abcdef",
            "0123456789abcdef 7",
            "zzzzzzzzzzzzzzzz 1 2",
        ] {
            assert_eq!(Stamp::parse(text.as_bytes()), None, "{text}");
        }
    }
}
