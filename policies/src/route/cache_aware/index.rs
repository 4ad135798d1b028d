//! Which workers have seen which prefix: a table of fixed size, built like a processor's cache.
//!
//! A prefix may stand in one set of eight places, given by its hash. A new one takes the free place of its set, else
//! the one unused for longest. From this follows all that a tree would have to work for:
//!
//! * memory is bounded from the start (32 bytes a place) and nothing ever grows, rehashes or is swept;
//! * eviction is part of the insert and looks at eight places, so no request pays for another's;
//! * a lock is held for the work on one place, some tens of nanoseconds, and there are 64 of them;
//! * the hashes of a set fill one cache line.
//!
//! The price: eviction follows the age only within a set, so a full table may drop a prefix a little before its time.
//! As a prefix lost costs one request's cache hit and the longer prefixes of the same prompt stand elsewhere, that is
//! cheap.
//!
//! Workers are bits in a mask of 128, by their id. Ids are given in sequence, so up to 128 workers that were registered
//! one after another have a bit each; two that share one are taken for one holder, which costs some cache hits and
//! nothing else. Unlike a short list of holders the mask can say that *every* worker holds the common system prompt,
//! and so lets it be served by all of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::prefixes::MIN_BLOCK;
use crate::time::Timestamp;
use crate::worker::WorkerId;

/// Places in a set: a line of eight hashes.
const WAYS: usize = 8;

/// Locks. More than any number of cores that ask at once, so that two rarely want the same.
const SHARDS: usize = 64;

/// The most places whatever is asked for: half a GiB of table for a GiB of prompts, more text than the KV of a large
/// fleet stands for. A slip in a flag then costs memory, not the start.
const MAX_PLACES: usize = 1 << 24;

/// Bits in the mask of holders.
const SLOTS: u64 = 128;

/// A prefix unused for so many eviction intervals counts as gone: half an hour at the default, longer than a user
/// thinks between two turns and longer than a busy worker keeps what nobody asks for.
const MAX_IDLE_INTERVALS: u32 = 30;

/// A set of workers, by slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Holders(u128);

impl Holders {
    pub(super) const NOBODY: Self = Self(0);
    pub(super) const ALL: Self = Self(u128::MAX);

    pub(super) const fn only(worker: WorkerId) -> Self {
        Self(1 << (worker.0 % SLOTS))
    }

    pub(super) const fn with(self, worker: WorkerId) -> Self {
        Self(self.0 | Self::only(worker).0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn contains(self, worker: WorkerId) -> bool {
        let halves = [self.0 as u64, (self.0 >> 64) as u64];
        let slot = worker.0 % SLOTS;
        halves[(slot / 64) as usize] >> (slot % 64) & 1 == 1
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct PrefixIndex {
    shards: Box<[Mutex<Shard>]>,
    sets_per_shard: usize,
    max_idle: Ticks,
    forgotten: Forgotten,
}

impl PrefixIndex {
    /// A table for `max_bytes` of prompts in the shortest blocks; of longer ones, whose blocks are larger, it holds
    /// more. At least one set for each lock.
    pub(super) fn new(max_bytes: usize, eviction_interval: Duration) -> Self {
        let sets_per_shard = (max_bytes / MIN_BLOCK).min(MAX_PLACES) / WAYS / SHARDS;
        let sets_per_shard = sets_per_shard.max(1);
        Self {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(Shard::new(sets_per_shard * WAYS)))
                .collect(),
            sets_per_shard,
            max_idle: max_idle(eviction_interval),
            forgotten: Forgotten::default(),
        }
    }

    /// Who holds the prefix.
    pub(super) fn holders(&self, hash: u64, now: Timestamp) -> Holders {
        let (shard, set) = self.locate(hash);
        let shard = self.shards[shard].lock();
        match shard.find(set, hash) {
            Some(place) if !self.is_too_old(&shard, place, now) => self
                .forgotten
                .remove_from(shard.holders[place], shard.epochs[place]),
            Some(_) | None => Holders::NOBODY,
        }
    }

    /// `worker` holds the prefix from now on.
    pub(super) fn record(&self, hash: u64, worker: WorkerId, now: Timestamp) {
        let epoch = self.forgotten.epoch();
        let (shard, set) = self.locate(hash);
        let mut shard = self.shards[shard].lock();
        let (place, holders) = match shard.find(set, hash) {
            Some(place) if !self.is_too_old(&shard, place, now) => {
                let known = self
                    .forgotten
                    .remove_from(shard.holders[place], shard.epochs[place]);
                (place, known.with(worker))
            }
            Some(place) => (place, Holders::only(worker)),
            None => (shard.victim(set), Holders::only(worker)),
        };
        shard.hashes[place] = hash;
        shard.holders[place] = holders.0;
        shard.epochs[place] = epoch;
        shard.used[place] = Ticks::of(now).0;
    }

    /// Nobody is taken to hold anything because of what `worker` did up to now.
    pub(super) fn forget(&self, worker: WorkerId) {
        self.forgotten.add(worker);
    }

    /// The shard and the first place of the set that belong to a hash.
    fn locate(&self, hash: u64) -> (usize, usize) {
        let shard = hash as usize % SHARDS;
        let set = ((hash >> 32) * self.sets_per_shard as u64) >> 32;
        (shard, set as usize * WAYS)
    }

    fn is_too_old(&self, shard: &Shard, place: usize, now: Timestamp) -> bool {
        let idle = Ticks::of(now).0.saturating_sub(shard.used[place]);
        idle > self.max_idle.0
    }
}

/// How long a prefix lasts without being used.
fn max_idle(eviction_interval: Duration) -> Ticks {
    if eviction_interval.is_zero() {
        return Ticks(u32::MAX);
    }
    let idle = eviction_interval.saturating_mul(MAX_IDLE_INTERVALS);
    Ticks::of(Timestamp::ZERO.after(idle))
}

/// Time in steps of 65.5 ms: fine enough to tell ages apart, and 32 bits of them last for eight years.
#[derive(Debug, Clone, Copy)]
struct Ticks(u32);

impl Ticks {
    fn of(time: Timestamp) -> Self {
        Self(u32::try_from(time.as_micros() >> 16).unwrap_or(u32::MAX))
    }
}

/// Places side by side, a column for each part. Columns of plain zeros come as untouched pages where the allocator gets
/// them from the system, so a table that is hardly used hardly costs memory. A hash of zero marks a free place (one
/// prefix in 2^64 is thus never found).
#[derive(Debug)]
struct Shard {
    hashes: Vec<u64>,
    holders: Vec<u128>,
    used: Vec<u32>,
    epochs: Vec<u32>,
}

impl Shard {
    fn new(places: usize) -> Self {
        Self {
            hashes: vec![0; places],
            holders: vec![0; places],
            used: vec![0; places],
            epochs: vec![0; places],
        }
    }

    fn find(&self, set: usize, hash: u64) -> Option<usize> {
        (set..set + WAYS).find(|&place| self.hashes[place] == hash)
    }

    /// The place to give up: a free one if there is, else the one unused for longest.
    fn victim(&self, set: usize) -> usize {
        (set..set + WAYS)
            .min_by_key(|&place| (self.hashes[place] != 0, self.used[place]))
            .expect("a set has WAYS places, which is more than none")
    }
}

/// Which workers were forgotten when, so that a mention of them from before doesn't count.
///
/// Counting epochs makes forgetting a worker one store, whatever the size of the table: places are cleaned when they
/// are next looked at.
#[derive(Debug)]
struct Forgotten {
    /// How often a worker was forgotten.
    epoch: AtomicU32,
    /// For each slot the epoch that began when it was last forgotten.
    slots: [AtomicU32; SLOTS as usize],
    /// Lets one worker be forgotten at a time.
    adding: Mutex<()>,
}

impl Default for Forgotten {
    fn default() -> Self {
        Self {
            epoch: AtomicU32::new(0),
            slots: [const { AtomicU32::new(0) }; SLOTS as usize],
            adding: Mutex::new(()),
        }
    }
}

impl Forgotten {
    fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    fn add(&self, worker: WorkerId) {
        let _one_at_a_time = self.adding.lock();
        let next = self.epoch.load(Ordering::Relaxed) + 1;
        // The slot first: whoever sees the new epoch must also see whom it is about. Whoever does not may drop a
        // holder too many, never keep one.
        self.slots[(worker.0 % SLOTS) as usize].store(next, Ordering::Relaxed);
        self.epoch.store(next, Ordering::Release);
    }

    /// `holders` as written in `epoch`, without those forgotten since.
    fn remove_from(&self, holders: u128, epoch: u32) -> Holders {
        if epoch == self.epoch() {
            return Holders(holders);
        }
        let mut kept = holders;
        let mut rest = holders;
        while rest != 0 {
            let slot = rest.trailing_zeros();
            if self.slots[slot as usize].load(Ordering::Relaxed) > epoch {
                kept &= !(1 << slot);
            }
            rest &= rest - 1;
        }
        Holders(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::dice::mix;
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const A: WorkerId = WorkerId(3);
    const B: WorkerId = WorkerId(70);

    fn at(minutes: u64) -> Timestamp {
        Timestamp::ZERO.after(MINUTE * minutes as u32)
    }

    #[test]
    fn what_was_recorded_is_found() {
        let index = PrefixIndex::new(1 << 20, MINUTE);
        index.record(11, A, at(0));
        index.record(11, B, at(1));
        index.record(12, B, at(1));
        assert_eq!(index.holders(11, at(1)), Holders::only(A).with(B));
        assert_eq!(index.holders(12, at(1)), Holders::only(B));
        assert_eq!(index.holders(13, at(1)), Holders::NOBODY);
    }

    #[test]
    fn a_prefix_is_gone_when_unused_for_thirty_intervals() {
        let index = PrefixIndex::new(1 << 20, MINUTE);
        index.record(11, A, at(0));
        assert!(index.holders(11, at(30)).contains(A));
        assert!(index.holders(11, at(31)).is_empty());
        // Recorded anew it does not bring back who held it before.
        index.record(11, B, at(31));
        assert_eq!(index.holders(11, at(31)), Holders::only(B));
    }

    #[test]
    fn an_interval_of_zero_keeps_prefixes_whatever_their_age() {
        let index = PrefixIndex::new(1 << 20, Duration::ZERO);
        index.record(11, A, at(0));
        assert!(index.holders(11, at(1_000_000)).contains(A));
    }

    #[test]
    fn a_forgotten_worker_holds_nothing_until_it_is_recorded_again() {
        let index = PrefixIndex::new(1 << 20, MINUTE);
        index.record(11, A, at(0));
        index.record(11, B, at(0));
        index.record(12, A, at(0));
        index.forget(A);
        assert_eq!(index.holders(11, at(0)), Holders::only(B));
        assert_eq!(index.holders(12, at(0)), Holders::NOBODY);
        // A touch by somebody else keeps it forgotten.
        index.record(12, B, at(0));
        assert_eq!(index.holders(12, at(0)), Holders::only(B));
        index.record(12, A, at(0));
        assert!(index.holders(12, at(0)).contains(A));
        assert_eq!(index.holders(11, at(0)), Holders::only(B));
    }

    #[test]
    fn a_full_table_keeps_the_recent_and_never_grows() {
        let places = SHARDS * WAYS * 4;
        let index = PrefixIndex::new(places * MIN_BLOCK, Duration::from_hours(1));
        let hash = |n: usize| mix(n as u64 + 1);
        for n in 0..places * 10 {
            index.record(hash(n), A, at(n as u64 / 100));
        }
        let now = at(places as u64 / 10);
        let found = |range: std::ops::Range<usize>| {
            range
                .filter(|&n| !index.holders(hash(n), now).is_empty())
                .count()
        };
        assert!(found(0..places * 10) <= places);
        assert_eq!(found(0..places * 5), 0, "the oldest half is long gone");
        let recent = found(places * 10 - places / 4..places * 10);
        assert!(
            recent * 100 >= places / 4 * 99,
            "{recent} of the last {}",
            places / 4
        );
    }

    #[test]
    fn the_size_follows_the_bytes_asked_for_within_its_limits() {
        let table = [
            (0, SHARDS * WAYS),
            (64 << 20, 1 << 20),
            (usize::MAX, MAX_PLACES),
        ];
        for (max_bytes, places) in table {
            let index = PrefixIndex::new(max_bytes, MINUTE);
            assert_eq!(index.sets_per_shard * WAYS * SHARDS, places);
        }
    }

    #[test]
    fn the_smallest_table_has_a_set_for_each_lock() {
        let index = PrefixIndex::new(0, MINUTE);
        for n in 1..10_000 {
            index.record(mix(n), A, at(0));
            assert!(index.holders(mix(n), at(0)).contains(A));
        }
    }
}
