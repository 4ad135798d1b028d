//! `round_robin`: every worker in turn.
//!
//! Two things that the plain `counter % len` gets wrong:
//!
//! * **Pairs.** A prefill and a decode instance that count in step lock their choices together: with as many prefill as
//!   decode workers each prefill worker talks to one decode worker for ever. After each `lcm(len, partners)` picks,
//!   when the two sequences would start to repeat, the second one is shifted by one. It then visits all
//!   `len * partners` pairs before any comes a second time, and each worker still gets exactly its share.
//! * **Gaps.** The turn of a worker that is unavailable goes to a different available worker each round, not always to
//!   the next one in line, which would carry twice the load of the others exactly when the fleet is short of one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::select::available;
use super::{Candidates, Draw, RoutePolicy, RouteRequest};

/// One counter; prefill and decode have an instance each.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    turns: AtomicU64,
}

impl RoutePolicy for RoundRobin {
    fn pick(
        &self,
        request: &RouteRequest<'_>,
        candidates: &dyn Candidates,
        _draw: Draw,
    ) -> Option<usize> {
        let len = candidates.len() as u64;
        if len == 0 {
            return None;
        }
        // Relaxed: the count orders nothing else, it only has to be taken once.
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let index = turn.wrapping_add(shift(turn, len, request.partners as u64)) % len;
        match candidates.get(index as usize) {
            Some(_) => Some(index as usize),
            None => stand_in(candidates, turn / len + index),
        }
    }
}

/// By how much the sequence has moved against that of the partners.
fn shift(turn: u64, len: u64, partners: u64) -> u64 {
    if partners <= 1 {
        return 0;
    }
    // lcm = len * (partners / gcd); a product beyond u64 is never reached by a count.
    let period = len.saturating_mul(partners / gcd(len, partners));
    turn / period
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Who takes the turn of a worker that can't: the `turn`-th available one, counted around.
fn stand_in(candidates: &dyn Candidates, turn: u64) -> Option<usize> {
    let count = available(candidates).count() as u64;
    let rank = turn.checked_rem(count)?;
    // One that became unavailable since the count leaves the last rank empty.
    let (index, _) = available(candidates)
        .nth(rank as usize)
        .or_else(|| available(candidates).next())?;
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, fleet, with_gaps};
    use super::*;
    use std::collections::BTreeMap;

    fn with_partners(partners: usize) -> RouteRequest<'static> {
        RouteRequest {
            partners,
            ..RouteRequest::default()
        }
    }

    #[test]
    fn workers_take_turns_in_order() {
        let policy = RoundRobin::default();
        let candidates = fleet(&[0; 3]);
        let picks: Vec<_> = (0..7)
            .map(|_| policy.pick(&with_partners(1), &candidates.as_slice(), draw(0, 0)))
            .collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2, 0].map(Some));
    }

    #[test]
    fn all_pairs_are_visited_before_any_comes_twice() {
        for prefill_count in 1..=6 {
            for decode_count in 1..=6 {
                let (prefill, decode) = (RoundRobin::default(), RoundRobin::default());
                let prefills = fleet(&vec![0; prefill_count]);
                let decodes = fleet(&vec![0; decode_count]);
                let all = prefill_count * decode_count;
                let mut pairs = BTreeMap::new();
                for _ in 0..3 * all {
                    let p = prefill.pick(&with_partners(1), &prefills.as_slice(), draw(0, 0));
                    let request = with_partners(prefill_count);
                    let d = decode.pick(&request, &decodes.as_slice(), draw(0, 0));
                    *pairs.entry((p, d)).or_insert(0) += 1;
                }
                assert_eq!(pairs.len(), all, "{prefill_count}P{decode_count}D");
                assert!(pairs.values().all(|&times| times == 3), "{pairs:?}");
            }
        }
    }

    #[test]
    fn the_turns_of_an_absent_worker_are_shared_by_all_others() {
        for gaps in [&[2][..], &[0, 3], &[1, 2, 4]] {
            let policy = RoundRobin::default();
            let candidates = with_gaps(5, gaps);
            let present = 5 - gaps.len();
            let mut seen = [0_usize; 5];
            for _ in 0..5 * present * 10 {
                let request = with_partners(1);
                seen[policy
                    .pick(&request, &candidates.as_slice(), draw(0, 0))
                    .unwrap()] += 1;
            }
            for (index, &picks) in seen.iter().enumerate() {
                let share = if gaps.contains(&index) { 0 } else { 50 };
                assert_eq!(picks, share, "gaps {gaps:?}: {seen:?}");
            }
        }
    }

    #[test]
    fn nobody_available_is_none() {
        let policy = RoundRobin::default();
        let nobody = with_gaps(2, &[0, 1]);
        assert_eq!(
            policy.pick(&with_partners(3), &nobody.as_slice(), draw(0, 0)),
            None
        );
        let empty = fleet(&[]);
        assert_eq!(
            policy.pick(&with_partners(3), &empty.as_slice(), draw(0, 0)),
            None
        );
    }
}
