//! Many random numbers out of the one that a decision is given.
//!
//! A policy draws no entropy of its own: it gets 64 random bits with each decision and stretches them with splitmix64,
//! whose finaliser spreads every input bit over all output bits. The same bits give the same throws, so a recorded
//! decision replays.

/// A deterministic stream of throws.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) const fn new(entropy: u64) -> Self {
        Self { state: entropy }
    }

    fn throw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in `0..sides`; 0 where there are no sides.
    ///
    /// Scaling by multiplication instead of a remainder: no division, and a bias of at most `sides` in 2^64.
    pub(super) fn below(&mut self, sides: usize) -> usize {
        ((u128::from(self.throw()) * sides as u128) >> 64) as usize
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn fraction(&mut self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.throw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The finaliser of splitmix64: a bijection under which every input bit moves about half of the output bits.
pub(super) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_entropy_throws_the_same_numbers() {
        let (mut a, mut b) = (Dice::new(7), Dice::new(7));
        for _ in 0..100 {
            assert_eq!(a.throw(), b.throw());
        }
        assert_ne!(Dice::new(7).throw(), Dice::new(8).throw());
    }

    #[test]
    fn every_side_comes_up_equally_often() {
        let mut dice = Dice::new(1);
        let mut seen = [0_u32; 6];
        for _ in 0..6_000 {
            seen[dice.below(6)] += 1;
        }
        // 1,000 expected, standard deviation 29: five of them either way.
        assert!(seen.iter().all(|n| (855..=1_145).contains(n)), "{seen:?}");
    }

    #[test]
    fn no_sides_give_zero_and_fractions_stay_below_one() {
        let mut dice = Dice::new(u64::MAX);
        assert_eq!(dice.below(0), 0);
        assert!((0..1_000).all(|_| (0.0..1.0).contains(&dice.fraction())));
    }
}
