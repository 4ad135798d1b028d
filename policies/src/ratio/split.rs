//! Workers by role, and how people write that: `2P2D` is two prefill and two decode workers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::worker::Role;

/// Workers by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Split {
    pub prefill: u32,
    pub decode: u32,
}

impl fmt::Display for Split {
    /// As people write it: `3P1D`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}P{}D", self.prefill, self.decode)
    }
}

impl Split {
    /// All of `workers` with at least one of each role, fewest prefill workers first.
    pub fn all(workers: u32) -> Vec<Self> {
        (1..workers)
            .map(|prefill| Self {
                prefill,
                decode: workers - prefill,
            })
            .collect()
    }

    pub const fn workers(self) -> u32 {
        self.prefill + self.decode
    }

    /// With a worker of `donor` in the other role; `None` where it has none.
    pub fn moved(self, donor: Role) -> Option<Self> {
        let without = self.without(donor)?;
        Some(match donor {
            Role::Prefill | Role::Regular => Self {
                decode: without.decode + 1,
                ..without
            },
            Role::Decode => Self {
                prefill: without.prefill + 1,
                ..without
            },
        })
    }

    /// With a worker of `donor` gone.
    pub fn without(self, donor: Role) -> Option<Self> {
        Some(match donor {
            Role::Prefill | Role::Regular => Self {
                prefill: self.prefill.checked_sub(1)?,
                ..self
            },
            Role::Decode => Self {
                decode: self.decode.checked_sub(1)?,
                ..self
            },
        })
    }

    /// Moves from one to the other.
    pub fn distance(self, other: Self) -> u32 {
        self.prefill.abs_diff(other.prefill)
    }

    pub const fn of(self, role: Role) -> u32 {
        match role {
            Role::Prefill | Role::Regular => self.prefill,
            Role::Decode => self.decode,
        }
    }
}

/// Workers of a fleet that one router may have in front of it.
pub const MOST_WORKERS: u32 = 1_024;

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

impl FromStr for Split {
    type Err = BadSplit;

    fn from_str(text: &str) -> Result<Self, BadSplit> {
        let read = || {
            let (prefill, decode) = text.strip_suffix(['D', 'd'])?.split_once(['P', 'p'])?;
            let split = Self {
                prefill: prefill.parse().ok()?,
                decode: decode.parse().ok()?,
            };
            let whole = split.prefill.checked_add(split.decode)?;
            (split.prefill > 0 && split.decode > 0 && whole <= MOST_WORKERS).then_some(split)
        };
        read().ok_or_else(|| BadSplit(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_read_as_it_is_written() {
        for split in Split::all(12) {
            assert_eq!(split.to_string().parse(), Ok(split));
        }
        assert_eq!(Split::all(12).len(), 11);
    }

    #[test]
    fn what_is_no_split_is_refused() {
        for text in [
            "", "2P", "2D2P", "0P4D", "4P0D", "-1P2D", "2000P1D", "2P2D1",
        ] {
            assert!(text.parse::<Split>().is_err(), "{text}");
        }
    }
}
