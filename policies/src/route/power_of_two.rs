//! `power_of_two`: of two random workers the less loaded one.
//!
//! Nearly as even as looking at everybody, at the price of two looks, and without the herd that a stale view of "the"
//! least loaded worker attracts.
//!
//! Requests in flight decide, since the router knows them to the moment. What the workers report of themselves is up to
//! a poll interval old: were it to decide first, every request of that interval would go to the same worker, so with
//! few workers the herd would be back. It breaks ties, where it tells of other routers' work and of longer requests,
//! and only where **both** reported: a worker whose poll failed is never mistaken for an idle one.

use std::cmp::Ordering;

use super::dice::Dice;
use super::select::uniform;
use super::{Candidate, Candidates, Draw, RoutePolicy, RouteRequest};

/// The better of two.
#[derive(Debug, Default)]
pub(super) struct PowerOfTwo;

impl RoutePolicy for PowerOfTwo {
    fn pick(
        &self,
        _request: &RouteRequest<'_>,
        candidates: &dyn Candidates,
        draw: Draw,
    ) -> Option<usize> {
        let mut dice = Dice::new(draw.entropy);
        let (first, a) = uniform(candidates, &mut dice, None)?;
        match uniform(candidates, &mut dice, Some(first)) {
            Some((second, b)) if is_less_loaded(&b, &a) => Some(second),
            Some(_) | None => Some(first),
        }
    }
}

fn is_less_loaded(a: &Candidate, b: &Candidate) -> bool {
    let by_report = || match (a.reported_tokens, b.reported_tokens) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, _) | (_, None) => Ordering::Equal,
    };
    a.in_flight.cmp(&b.in_flight).then_with(by_report).is_lt()
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::super::testing::{draw, fleet, pick, prompt, with_gaps, worker};
    use super::*;

    fn loaded(id: u64, in_flight: u32, reported_tokens: Option<u64>) -> Candidate {
        Candidate {
            reported_tokens,
            ..worker(id, in_flight)
        }
    }

    #[test]
    fn the_less_loaded_of_two_wins() {
        let table = [
            // (in flight, reported) of both, winner
            ((5, None), (1, None), 1),
            ((1, None), (5, None), 0),
            // What is known to the moment comes before what was reported a while ago.
            ((1, Some(900)), (5, Some(100)), 0),
            ((9, Some(0)), (0, Some(1)), 1),
            // Reports break ties.
            ((3, Some(900)), (3, Some(100)), 1),
            ((3, Some(100)), (3, Some(900)), 0),
        ];
        for ((a_flight, a_tokens), (b_flight, b_tokens), winner) in table {
            let candidates = [loaded(0, a_flight, a_tokens), loaded(1, b_flight, b_tokens)];
            for seed in 0..20 {
                let picked = pick(&PowerOfTwo, &prompt(""), &candidates, seed);
                assert_eq!(picked, winner, "{candidates:?}");
            }
        }
    }

    #[test]
    fn a_missing_report_is_no_idle_worker() {
        let candidates = [loaded(0, 3, Some(1_000_000)), loaded(1, 3, None)];
        let ones = (0..1_000)
            .filter(|&seed| pick(&PowerOfTwo, &prompt(""), &candidates, seed) == 1)
            .count();
        assert!((420..=580).contains(&ones), "{ones}");
    }

    #[test]
    fn a_tie_goes_to_the_first_drawn_which_is_either() {
        let candidates = fleet(&[3, 3]);
        let zeros = (0..1_000)
            .filter(|&seed| pick(&PowerOfTwo, &prompt(""), &candidates, seed) == 0)
            .count();
        assert!((420..=580).contains(&zeros), "{zeros}");
    }

    #[test]
    fn one_available_worker_is_taken_without_a_rival() {
        let candidates = with_gaps(4, &[0, 1, 3]);
        let picked = PowerOfTwo.pick(&prompt(""), &candidates.as_slice(), draw(0, 3));
        assert_eq!(picked, Some(2));
    }

    /// Throws 10,000 balls into 100 bins and answers the fullest.
    fn fullest_bin(policy: &impl RoutePolicy) -> u32 {
        let mut candidates = fleet(&[0; 100]);
        for seed in 0..10_000 {
            let index = pick(policy, &prompt(""), &candidates, seed);
            candidates[index].in_flight += 1;
        }
        candidates
            .iter()
            .map(|candidate| candidate.in_flight)
            .max()
            .unwrap()
    }

    #[test]
    fn two_choices_balance_far_better_than_one() {
        // In theory the mean of 100 plus about 26 for one choice, plus about 2 for two.
        let (one, two) = (fullest_bin(&Random), fullest_bin(&PowerOfTwo));
        assert!(two <= 105, "{two}");
        assert!(one >= 115, "{one}");
    }
}
