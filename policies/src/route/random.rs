//! `random`: every available worker equally often, by chance.
//!
//! No state, so no two routers in front of the same workers can fall into step.

use super::dice::Dice;
use super::select::uniform;
use super::{Candidates, Draw, RoutePolicy, RouteRequest};

/// Uniformly random.
#[derive(Debug, Default)]
pub(super) struct Random;

impl RoutePolicy for Random {
    fn pick(
        &self,
        _request: &RouteRequest<'_>,
        candidates: &dyn Candidates,
        draw: Draw,
    ) -> Option<usize> {
        let (index, _) = uniform(candidates, &mut Dice::new(draw.entropy), None)?;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, fleet, pick, prompt, with_gaps};
    use super::*;

    #[test]
    fn shares_pass_a_chi_square_test() {
        let candidates = fleet(&[0; 8]);
        let mut seen = [0_f64; 8];
        for seed in 0..8_000 {
            seen[pick(&Random, &prompt(""), &candidates, seed)] += 1.0;
        }
        let chi_square: f64 = seen.iter().map(|n| (n - 1_000.0).powi(2) / 1_000.0).sum();
        // 7 degrees of freedom: 24.3 is exceeded once in a thousand.
        assert!(chi_square < 24.3, "{seen:?}");
    }

    #[test]
    fn load_does_not_matter() {
        let candidates = fleet(&[u32::MAX, 0]);
        let busy = (0..1_000)
            .filter(|&seed| pick(&Random, &prompt(""), &candidates, seed) == 0)
            .count();
        assert!((420..=580).contains(&busy), "{busy}");
    }

    #[test]
    fn the_only_available_worker_is_found_among_many() {
        let gaps: Vec<usize> = (0..100).filter(|&index| index != 42).collect();
        let candidates = with_gaps(100, &gaps);
        for seed in 0..100 {
            let picked = Random.pick(&prompt(""), &candidates.as_slice(), draw(0, seed));
            assert_eq!(picked, Some(42));
        }
    }
}
