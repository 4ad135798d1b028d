//! What a prefix cache would have found, for traces that name the blocks of their prompts.
//!
//! One cache stands for all prefill workers together, as if each request went to the worker that has seen its prompt's
//! beginning: what a fleet with cache-aware routing comes close to, and more than one with round robin finds. The
//! least recently used block goes first, as in SGLang.

use std::num::NonZeroUsize;

use lru::LruCache;

/// Tokens of a block in Mooncake's traces.
const BLOCK_TOKENS: u64 = 512;

#[derive(Debug)]
pub struct PrefixCache {
    /// `None` where nothing is cached.
    blocks: Option<LruCache<u64, ()>>,
}

impl PrefixCache {
    pub fn new(blocks: usize) -> Self {
        Self {
            blocks: NonZeroUsize::new(blocks).map(LruCache::new),
        }
    }

    /// Tokens of a prompt of these blocks that are there already; all its blocks are there afterwards.
    pub fn take(&mut self, blocks: &[u64]) -> u64 {
        let Some(cache) = &mut self.blocks else {
            return 0;
        };
        let found = blocks
            .iter()
            .take_while(|block| cache.contains(block))
            .count();
        // From the last to the first: a beginning is worth more than what follows it, which is of no use without.
        for block in blocks.iter().rev() {
            cache.put(*block, ());
        }
        found as u64 * BLOCK_TOKENS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unbroken_beginning_counts() {
        let mut cache = PrefixCache::new(100);
        assert_eq!(cache.take(&[1, 2, 3]), 0);
        assert_eq!(cache.take(&[1, 2, 3]), 3 * 512);
        assert_eq!(cache.take(&[1, 9, 3]), 512);
        assert_eq!(cache.take(&[8, 2, 3]), 0);
    }

    #[test]
    fn a_full_cache_forgets_what_was_not_used_for_longest_and_ends_before_beginnings() {
        let mut cache = PrefixCache::new(3);
        cache.take(&[1, 2]);
        cache.take(&[5, 6]);
        // Of four blocks, that with the oldest use had to go: the end of the first prompt.
        assert_eq!(cache.take(&[1, 2]), 512);
    }

    #[test]
    fn without_blocks_nothing_is_cached() {
        let mut cache = PrefixCache::new(0);
        cache.take(&[1]);
        assert_eq!(cache.take(&[1]), 0);
    }
}
