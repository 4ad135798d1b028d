//! Rendezvous hashing: which workers a key prefers.
//!
//! Every worker draws a score from its own key and the request's, and the highest score wins. Compared with a ring of
//! virtual nodes there is no state to build or to keep in step with the worker set, shares are even without tuning,
//! and a worker that leaves moves exactly its own keys, evenly, to the others. The price is one multiplication chain
//! per candidate, some nanoseconds for each.

use super::Candidate;
use super::dice::mix;

/// How much `candidate` wants the request with this hash. A bijection of either argument, so two candidates with
/// different keys never tie.
pub(super) const fn score(candidate: &Candidate, hash: u64) -> u64 {
    // Mixed twice so that the score also depends evenly on keys that are small or regular numbers.
    mix(hash ^ mix(candidate.key))
}

#[cfg(test)]
mod tests {
    use super::super::testing::worker;
    use super::*;

    #[test]
    fn the_order_of_preference_differs_from_key_to_key() {
        let workers = [0, 1, 2].map(|id| worker(id, 0));
        let mut orders = std::collections::BTreeSet::new();
        for hash in 0..1_000 {
            let mut order = [0, 1, 2];
            order.sort_by_key(|&index: &usize| score(&workers[index], hash));
            orders.insert(order);
        }
        assert_eq!(orders.len(), 6, "all permutations of three workers occur");
    }
}
