//! Which beginnings of prompts a prefill worker still holds the KV of.
//!
//! A prompt is cut into blocks, and each block is named by a hash of everything up to its end, so that two prompts
//! share as many names as their common beginning has blocks. The cache keeps names, the least recently used go first.
//! SGLang keeps a tree of single tokens instead; a block is the price of not storing prompts.

use crate::answer::BYTES_PER_TOKEN;
use std::collections::{BTreeMap, HashMap};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Tokens in a block.
const BLOCK_TOKENS: u64 = 16;

/// Names of the whole blocks of a prompt: of a text, or of token ids of four bytes each.
pub(crate) fn blocks(prompt: &[u8]) -> Vec<u64> {
    prompt
        .chunks_exact(BYTES_PER_TOKEN * BLOCK_TOKENS as usize)
        .scan(0, |before, block| {
            *before = xxh3_64_with_seed(block, *before);
            Some(*before)
        })
        .collect()
}

pub(super) struct PrefixCache {
    most: usize,
    uses: u64,
    last_use: HashMap<u64, u64>,
    by_use: BTreeMap<u64, u64>,
}

impl PrefixCache {
    /// A cache that holds the KV of so many tokens.
    pub(super) fn holding(tokens: u64) -> Self {
        Self {
            most: usize::try_from(tokens / BLOCK_TOKENS).unwrap_or(usize::MAX),
            uses: 0,
            last_use: HashMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    /// How many tokens of a prompt are there, from its beginning on.
    pub(super) fn find(&mut self, blocks: &[u64]) -> u64 {
        let known = blocks
            .iter()
            .take_while(|block| self.last_use.contains_key(block))
            .count();
        self.keep(&blocks[..known]);
        known as u64 * BLOCK_TOKENS
    }

    /// Takes a prompt in, or marks it as used. Its end is the first to go again: without its beginning it would be
    /// of no use.
    pub(super) fn keep(&mut self, blocks: &[u64]) {
        for &block in blocks.iter().rev() {
            self.uses += 1;
            if let Some(before) = self.last_use.insert(block, self.uses) {
                self.by_use.remove(&before);
            }
            self.by_use.insert(self.uses, block);
        }
        while self.last_use.len() > self.most
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.last_use.remove(&oldest);
        }
    }

    pub(super) fn clear(&mut self) {
        self.last_use.clear();
        self.by_use.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(blocks: &[u8]) -> Vec<u64> {
        let bytes: Vec<u8> = blocks.iter().flat_map(|&byte| [byte; 64]).collect();
        super::blocks(&bytes)
    }

    #[test]
    fn prompts_share_the_blocks_of_their_common_beginning() {
        let mut cache = PrefixCache::holding(1_000);
        cache.keep(&prompt(&[1, 2, 3]));
        let table: [(&[u8], u64); 4] = [
            (&[1, 2, 4], 32),
            (&[1, 2, 3, 4], 48),
            (&[2, 3], 0),
            (&[], 0),
        ];
        for (blocks, found) in table {
            assert_eq!(cache.find(&prompt(blocks)), found, "{blocks:?}");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_ends_before_beginnings() {
        let mut cache = PrefixCache::holding(4 * BLOCK_TOKENS);
        cache.keep(&prompt(&[1, 2]));
        cache.keep(&prompt(&[3, 4]));
        cache.find(&prompt(&[1, 2]));
        cache.keep(&prompt(&[5]));
        assert_eq!(
            cache.find(&prompt(&[3, 4])),
            BLOCK_TOKENS,
            "its end is gone"
        );
        assert_eq!(cache.find(&prompt(&[1, 2])), 2 * BLOCK_TOKENS);
    }

    #[test]
    fn the_cache_never_holds_more_than_it_may() {
        let mut cache = PrefixCache::holding(8 * BLOCK_TOKENS);
        for byte in 0..=255 {
            cache.keep(&prompt(&[byte, 1, 2]));
            assert!(cache.last_use.len() <= 8);
            assert_eq!(cache.last_use.len(), cache.by_use.len());
        }
    }
}
