//! `consistent_hashing`: the same key goes to the same worker, in every router and after every restart.
//!
//! The key is the routing key, else what identifies the client. Workers are ranked by rendezvous hashing over the
//! stable hash of their URL (see `rendezvous`), so routers need not talk to each other to agree, and a worker that
//! comes or goes moves only about one key of n. A client may also insist on a worker by its index; it then gets that
//! one or none.

use xxhash_rust::xxh3::xxh3_64;

use super::dice::Dice;
use super::rendezvous::score;
use super::select::{available, uniform};
use super::{Candidates, Draw, RoutePolicy, RouteRequest};

/// Highest random weight over the workers' stable keys.
#[derive(Debug, Default)]
pub(super) struct ConsistentHashing;

impl RoutePolicy for ConsistentHashing {
    fn pick(
        &self,
        request: &RouteRequest<'_>,
        candidates: &dyn Candidates,
        draw: Draw,
    ) -> Option<usize> {
        if let Some(index) = request.target_index {
            return candidates.get(index).map(|_| index);
        }
        let Some(key) = request.routing_key.or(request.client_key) else {
            let (index, _) = uniform(candidates, &mut Dice::new(draw.entropy), None)?;
            return Some(index);
        };
        let hash = xxh3_64(key.as_bytes());
        let (index, _) = available(candidates).max_by_key(|(_, worker)| score(worker, hash))?;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, fleet, pick, with_gaps};
    use super::*;

    fn keyed(key: &str) -> RouteRequest<'_> {
        RouteRequest {
            routing_key: Some(key),
            ..RouteRequest::default()
        }
    }

    #[test]
    fn the_target_index_is_taken_or_nothing_is() {
        let candidates = with_gaps(3, &[1]);
        for (target, expected) in [(0, Some(0)), (1, None), (2, Some(2)), (3, None)] {
            let request = RouteRequest {
                target_index: Some(target),
                ..keyed("ignored")
            };
            let picked = ConsistentHashing.pick(&request, &candidates.as_slice(), draw(0, 1));
            assert_eq!(picked, expected);
        }
    }

    #[test]
    fn the_routing_key_comes_before_the_client() {
        let candidates = fleet(&[0; 16]);
        let both = RouteRequest {
            client_key: Some("client"),
            ..keyed("session")
        };
        let client = RouteRequest {
            client_key: Some("session"),
            ..RouteRequest::default()
        };
        let by_key = pick(&ConsistentHashing, &keyed("session"), &candidates, 1);
        assert_eq!(pick(&ConsistentHashing, &both, &candidates, 2), by_key);
        assert_eq!(pick(&ConsistentHashing, &client, &candidates, 3), by_key);
    }

    #[test]
    fn a_key_keeps_its_worker_whatever_the_load_and_the_order() {
        let candidates = fleet(&[0; 8]);
        let mut other_order = fleet(&[7, 1, 9, 3, 5, 0, 2, 8]);
        other_order.reverse();
        for key in (0..100).map(|n| format!("key {n}")) {
            let index = pick(&ConsistentHashing, &keyed(&key), &candidates, 1);
            let other = pick(&ConsistentHashing, &keyed(&key), &other_order, 2);
            assert_eq!(candidates[index].id, other_order[other].id);
        }
    }

    #[test]
    fn a_worker_that_leaves_moves_only_its_own_keys() {
        let (all, without) = (with_gaps(10, &[]), with_gaps(10, &[4]));
        let mut moved = 0;
        for key in (0..5_000).map(|n| n.to_string()) {
            let before = ConsistentHashing.pick(&keyed(&key), &all.as_slice(), draw(0, 1));
            let after = ConsistentHashing.pick(&keyed(&key), &without.as_slice(), draw(0, 2));
            if before == Some(4) {
                moved += 1;
                assert_ne!(after, Some(4));
            } else {
                assert_eq!(before, after);
            }
        }
        // 500 expected, standard deviation 21.
        assert!((395..=605).contains(&moved), "{moved}");
    }

    #[test]
    fn without_any_key_the_pick_is_random() {
        let candidates = fleet(&[0; 4]);
        let mut seen = [0; 4];
        for seed in 0..4_000 {
            seen[pick(
                &ConsistentHashing,
                &RouteRequest::default(),
                &candidates,
                seed,
            )] += 1;
        }
        assert!(seen.iter().all(|n| (860..=1_140).contains(n)), "{seen:?}");
    }
}
