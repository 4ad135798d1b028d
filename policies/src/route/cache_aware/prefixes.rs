//! The prefixes of a prompt that are worth remembering, each as one hash.
//!
//! A prompt is cut into blocks and each prefix that ends at a block is named by a chained hash: the hash of its last
//! block, seeded with the hash of the prefix before it. Two prompts share such a hash where they share everything up
//! to there, so comparing prompts never needs their text again and none is kept.
//!
//! Blocks grow with their position: each doubling of the length is cut in eight, none shorter than 64 bytes. What a
//! comparison can miss is therefore at most an eighth of what it finds (or 64 bytes), whether the prompt is a 100-byte
//! question or a book, and the number of blocks grows with the logarithm of the length: 2 for 100 bytes, 16 for 1 KiB,
//! 72 for 128 KiB. Blocks of one size would be too coarse for the former or cost thousands of look-ups for the latter.
//!
//! The rest behind the last full block counts as a block of its own: it matches only a prompt that ends there too, and
//! makes repeats of short prompts match in full.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The shortest block. About 16 tokens, the order of a page of the worker's own cache.
pub(super) const MIN_BLOCK: usize = 64;

/// Blocks in each doubling of the length.
const BLOCKS_PER_OCTAVE: usize = 8;

/// How much of a prompt is looked at: a quarter of a million tokens, and some 60 us of hashing. A prompt that is
/// longer is compared as if it ended here.
const MAX_BYTES: usize = 1 << 20;

/// Blocks of a prompt of `MAX_BYTES`: 8 up to 512 bytes and 8 for each of the 11 doublings after that. The rest never
/// adds one, since a cut prompt has none.
const MAX_PREFIXES: usize = BLOCKS_PER_OCTAVE * (1 + 11);

/// One remembered prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    /// Names the prefix.
    pub(super) hash: u64,
    /// Its length in bytes.
    pub(super) end: u32,
}

/// The prefixes of one prompt, shortest first. Lives on the stack: a decision allocates nothing.
#[derive(Debug)]
pub(super) struct Prefixes {
    all: [Prefix; MAX_PREFIXES],
    count: usize,
}

impl Prefixes {
    pub(super) fn of(prompt: &str) -> Self {
        let mut prefixes = Self {
            all: [Prefix::default(); MAX_PREFIXES],
            count: 0,
        };
        let mut rest = &prompt.as_bytes()[..prompt.len().min(MAX_BYTES)];
        let mut last = Prefix::default();
        while !rest.is_empty() {
            let (block, behind) = rest.split_at(rest.len().min(block_at(last.end)));
            last = Prefix {
                hash: xxh3_64_with_seed(block, last.hash),
                end: last.end + block.len() as u32,
            };
            prefixes.all[prefixes.count] = last;
            prefixes.count += 1;
            rest = behind;
        }
        prefixes
    }

    pub(super) fn as_slice(&self) -> &[Prefix] {
        &self.all[..self.count]
    }

    /// The length of the whole prompt as far as it is looked at.
    pub(super) fn total(&self) -> u32 {
        self.as_slice().last().map_or(0, |prefix| prefix.end)
    }
}

/// The length of the block that begins at `start`.
fn block_at(start: u32) -> usize {
    let octave = start.checked_ilog2().map_or(0, |bits| 1_usize << bits);
    (octave / BLOCKS_PER_OCTAVE).max(MIN_BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(len: usize) -> Vec<u32> {
        let prompt = "x".repeat(len);
        Prefixes::of(&prompt)
            .as_slice()
            .iter()
            .map(|prefix| prefix.end)
            .collect()
    }

    #[test]
    fn blocks_grow_with_the_prompt() {
        assert!(ends(0).is_empty());
        assert_eq!(ends(10), [10]);
        assert_eq!(ends(100), [64, 100]);
        assert_eq!(ends(128), [64, 128]);
        assert_eq!(&ends(2_000)[14..18], [960, 1_024, 1_152, 1_280]);
        let table = [
            (1 << 10, 16),
            (8 << 10, 40),
            (128 << 10, 72),
            (1 << 20, 96),
            (5 << 20, 96),
        ];
        for (len, count) in table {
            assert_eq!(ends(len).len(), count, "{len}");
        }
    }

    #[test]
    fn only_what_two_prompts_share_has_the_same_hashes() {
        let (a, b) = ("a".repeat(5_000), format!("{}b", "a".repeat(3_000)));
        let (a, b) = (Prefixes::of(&a), Prefixes::of(&b));
        for (x, y) in a.as_slice().iter().zip(b.as_slice()) {
            assert_eq!(x == y, y.end <= 3_000, "{x:?} {y:?}");
        }
    }

    proptest! {
        #[test]
        fn a_common_prefix_is_found_up_to_an_eighth(common in 0_usize..20_000, a in 1_usize..5_000, b in 1_usize..5_000) {
            let first = format!("{}{}", "c".repeat(common), "a".repeat(a));
            let second = format!("{}{}", "c".repeat(common), "b".repeat(b));
            let (first, second) = (Prefixes::of(&first), Prefixes::of(&second));
            let found = first.as_slice().iter().zip(second.as_slice())
                .take_while(|(x, y)| x.hash == y.hash)
                .last()
                .map_or(0, |(x, _)| x.end as usize);
            prop_assert!(found <= common);
            prop_assert!(common - found <= MIN_BLOCK.max(found / 8));
        }

        #[test]
        fn prefixes_end_with_the_prompt(prompt in ".{0,300}") {
            let prefixes = Prefixes::of(&prompt);
            prop_assert_eq!(prefixes.total() as usize, prompt.len());
            prop_assert!(prefixes.as_slice().is_sorted_by(|a, b| a.end < b.end));
        }
    }
}
