//! Moves that would undo the last one.
//!
//! Where two splits are about as good, chance makes now one and now the other look better. A move is undone at once where
//! the mix has become another since; in the same mix only what seems better for long is, and each time for longer.

use crate::time::Timestamp;
use crate::worker::Role;

use super::{Observation, Split};

/// Looks in a row that have to agree before the first move is undone: four times as long as the rate is averaged over.
const FIRST: u32 = 120;

/// By how much more looks it takes each time.
const GROWTH: u32 = 4;

/// An hour of looks a second: more need not agree.
const MOST: u32 = 3_600;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reversals {
    /// When no worker was on its way.
    split: Option<Split>,
    /// When the worker on its way left.
    left: Option<Timestamp>,
    last: Option<Moved>,
}

#[derive(Debug, Clone, Copy)]
struct Moved {
    left: Timestamp,
    donor: Role,
    /// Looks that undoing it takes in the same mix.
    looks: u32,
}

impl Reversals {
    /// `since` is when the present mix began.
    pub(super) fn observe(&mut self, now: Timestamp, seen: &Observation, since: Timestamp) {
        if seen.moving {
            self.left.get_or_insert(now);
            return;
        }
        let left = self.left.take().unwrap_or(now);
        let before = self.split.replace(seen.split);
        if let Some(donor) = before.and_then(|before| moved(before, seen.split)) {
            let last = self.last.filter(|last| last.left >= since);
            let looks = last.map_or(FIRST, |last| {
                if last.donor == donor {
                    last.looks
                } else {
                    (last.looks * GROWTH).min(MOST)
                }
            });
            self.last = Some(Moved { left, donor, looks });
        }
    }

    /// Looks that have to agree on a move of `donor`; 0 where it undoes nothing.
    pub(super) fn looks(&self, donor: Role, since: Timestamp) -> u32 {
        self.last
            .filter(|last| last.left >= since && last.donor != donor)
            .map_or(0, |last| last.looks)
    }
}

/// Whose worker was moved between two splits, if one was.
fn moved(before: Split, after: Split) -> Option<Role> {
    [Role::Prefill, Role::Decode]
        .into_iter()
        .find(|donor| before.moved(*donor) == Some(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn seen(prefill: u32, decode: u32, moving: bool) -> Observation {
        Observation {
            split: Split { prefill, decode },
            moving,
            ..Observation::default()
        }
    }

    #[test]
    fn undoing_takes_longer_each_time_until_the_mix_changes() {
        let mut reversals = Reversals::default();
        let start = at(0);
        reversals.observe(at(1), &seen(2, 2, false), start);
        assert_eq!(reversals.looks(Role::Decode, start), 0);
        reversals.observe(at(2), &seen(2, 1, true), start);
        reversals.observe(at(30), &seen(3, 1, false), start);
        let looks = [Role::Prefill, Role::Decode].map(|donor| reversals.looks(donor, start));
        assert_eq!(looks, [FIRST, 0]);
        reversals.observe(at(200), &seen(2, 1, true), start);
        reversals.observe(at(230), &seen(2, 2, false), start);
        assert_eq!(reversals.looks(Role::Decode, start), FIRST * GROWTH);
        // Another mix began while the worker was away.
        assert_eq!(reversals.looks(Role::Decode, at(210)), 0);
    }

    #[test]
    fn a_worker_that_dies_was_not_moved() {
        let mut reversals = Reversals::default();
        reversals.observe(at(1), &seen(2, 2, false), at(0));
        reversals.observe(at(2), &seen(2, 1, false), at(0));
        assert_eq!(reversals.looks(Role::Prefill, at(0)), 0);
    }
}
