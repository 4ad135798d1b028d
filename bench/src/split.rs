//! Splits as people write them: `2P2D` is two prefill and two decode workers.

use std::fmt;

use policies::ratio::Split;

/// Not a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSplit(String);

impl fmt::Display for BadSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(found) = self;
        write!(
            f,
            "'{found}' is not a split: expected one such as 2P2D, with at least one worker of each role and at most \
             {MOST_WORKERS} in all"
        )
    }
}

impl std::error::Error for BadSplit {}

/// Workers of a simulated fleet: as many as a router of this kind may have in front of it.
pub const MOST_WORKERS: u32 = 1_024;

pub fn parse(text: &str) -> Result<Split, BadSplit> {
    let read = || {
        let (prefill, decode) = text.strip_suffix(['D', 'd'])?.split_once(['P', 'p'])?;
        let split = Split {
            prefill: prefill.parse().ok()?,
            decode: decode.parse().ok()?,
        };
        let whole = split.prefill.checked_add(split.decode)?;
        (split.prefill > 0 && split.decode > 0 && whole <= MOST_WORKERS).then_some(split)
    };
    read().ok_or_else(|| BadSplit(text.to_owned()))
}

pub fn name(split: Split) -> String {
    format!("{}P{}D", split.prefill, split.decode)
}

/// All splits of `workers` with at least one of each role, fewest prefill workers first.
pub fn all(workers: u32) -> Vec<Split> {
    (1..workers)
        .map(|prefill| Split {
            prefill,
            decode: workers - prefill,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_read_as_it_is_written() {
        for split in all(12) {
            assert_eq!(parse(&name(split)), Ok(split));
        }
        assert_eq!(all(12).len(), 11);
    }

    #[test]
    fn what_is_no_split_is_refused() {
        for text in [
            "", "2P", "2D2P", "0P4D", "4P0D", "-1P2D", "2000P1D", "2P2D1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
