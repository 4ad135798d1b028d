//! Where randomness comes from: a seed, and a stream for each use.
//!
//! ChaCha gives the same numbers on every machine and in every release of its crate, so a golden result stays one.
//! With separate streams a change to one thing that is drawn leaves the others as they were: the same prompts come
//! also at another rate.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub type Dice = ChaCha8Rng;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Arrivals,
    Lengths,
    Phases,
}

pub fn dice(seed: u64, of: Use) -> Dice {
    let mut dice = Dice::seed_from_u64(seed);
    dice.set_stream(match of {
        Use::Arrivals => 0,
        Use::Lengths => 1,
        Use::Phases => 2,
    });
    dice
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn a_stream_depends_on_the_seed_and_on_its_use() {
        let first = |seed, of| dice(seed, of).random::<u64>();
        assert_eq!(first(1, Use::Lengths), first(1, Use::Lengths));
        assert_ne!(first(1, Use::Lengths), first(2, Use::Lengths));
        assert_ne!(first(1, Use::Lengths), first(1, Use::Arrivals));
    }
}
