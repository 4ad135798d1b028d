//! How long prompts and outputs are.

use rand::Rng;
use rand_distr::{Distribution, LogNormal};
use serde::Deserialize;

use super::{Job, dice::Dice};

/// A distribution of lengths in tokens. Every draw is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Lengths {
    /// Always this many.
    Fixed(u32),
    /// Anything from `mean` × (1 - `spread`) to `mean` × (1 + `spread`), all equally likely.
    Uniform { mean: u32, spread: f64 },
    /// Long-tailed: half are shorter than `median`, and `sigma` is the standard deviation of the logarithm. None is
    /// longer than `max`.
    #[serde(rename = "lognormal")]
    LogNormal { median: f64, sigma: f64, max: u32 },
    /// A share runs to the cap, the rest stops at `stop` tokens: what a benchmark sees that caps its outputs.
    Bimodal { capped: f64, cap: u32, stop: u32 },
}

/// Why a length distribution makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLengths(&'static str);

impl std::fmt::Display for BadLengths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadLengths {}

impl Lengths {
    pub fn check(&self) -> Result<(), BadLengths> {
        let (holds, expected) = match *self {
            Self::Fixed(tokens) => (tokens >= 1, "fixed: expected at least 1 token"),
            Self::Uniform { mean, spread } => (
                mean >= 1 && (0.0..=1.0).contains(&spread),
                "uniform: expected mean of at least 1 and spread of 0 to 1",
            ),
            Self::LogNormal { median, sigma, max } => (
                median >= 1.0 && median.is_finite() && (0.0..=10.0).contains(&sigma) && max >= 1,
                "lognormal: expected median and max of at least 1 and sigma of 0 to 10",
            ),
            Self::Bimodal { capped, cap, stop } => (
                (0.0..=1.0).contains(&capped) && cap >= 1 && stop >= 1,
                "bimodal: expected capped of 0 to 1, cap and stop of at least 1",
            ),
        };
        if holds {
            Ok(())
        } else {
            Err(BadLengths(expected))
        }
    }

    pub fn draw(&self, dice: &mut Dice) -> u32 {
        let tokens = match *self {
            Self::Fixed(tokens) => tokens,
            Self::Uniform { mean, spread } => {
                let factor = 1.0 + spread * (2.0 * dice.random::<f64>() - 1.0);
                (f64::from(mean) * factor).round() as u32
            }
            Self::LogNormal { median, sigma, max } => {
                let distribution = LogNormal::new(median.ln(), sigma);
                let drawn = distribution.map_or(median, |known| known.sample(dice));
                (drawn.round() as u32).min(max)
            }
            Self::Bimodal { capped, cap, stop } => {
                if dice.random::<f64>() < capped {
                    cap
                } else {
                    stop.min(cap)
                }
            }
        };
        tokens.max(1)
    }
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    pub prompt: Lengths,
    pub output: Lengths,
    /// Share of each prompt that is found in the prefix cache.
    #[serde(default)]
    pub cached: f64,
}

impl Mix {
    pub fn check(&self) -> Result<(), BadLengths> {
        self.prompt.check()?;
        self.output.check()?;
        if (0.0..=1.0).contains(&self.cached) {
            Ok(())
        } else {
            Err(BadLengths("cached: expected a share of 0 to 1"))
        }
    }

    pub fn draw(&self, class: u16, dice: &mut Dice) -> Job {
        let prompt_tokens = self.prompt.draw(dice);
        let cached = (f64::from(prompt_tokens) * self.cached).round() as u32;
        Job {
            prompt_tokens,
            cached_tokens: most_cached(prompt_tokens, cached),
            output_tokens: self.output.draw(dice),
            class,
        }
    }
}

/// A prompt's last token is always computed: the first token of the answer comes out of it.
pub(super) fn most_cached(prompt_tokens: u32, cached_tokens: u32) -> u32 {
    cached_tokens.min(prompt_tokens.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::dice::{Use, dice};

    fn draws(lengths: Lengths) -> Vec<u32> {
        lengths.check().unwrap();
        let mut dice = dice(7, Use::Lengths);
        (0..20_000).map(|_| lengths.draw(&mut dice)).collect()
    }

    fn mean(draws: &[u32]) -> f64 {
        draws.iter().map(|n| f64::from(*n)).sum::<f64>() / draws.len() as f64
    }

    #[test]
    fn uniform_lengths_keep_their_mean_and_their_bounds() {
        let lengths = draws(Lengths::Uniform {
            mean: 1_000,
            spread: 0.5,
        });
        assert!((mean(&lengths) - 1_000.0).abs() < 10.0);
        assert!(lengths.iter().all(|n| (500..=1_500).contains(n)));
        assert!(lengths.iter().any(|n| *n < 520) && lengths.iter().any(|n| *n > 1_480));
    }

    #[test]
    fn half_of_lognormal_lengths_are_below_the_median_and_none_above_the_maximum() {
        let lengths = draws(Lengths::LogNormal {
            median: 400.0,
            sigma: 1.0,
            max: 2_000,
        });
        let below = lengths.iter().filter(|n| **n < 400).count() as f64;
        assert!((below / lengths.len() as f64 - 0.5).abs() < 0.02);
        assert_eq!(lengths.iter().max(), Some(&2_000));
    }

    #[test]
    fn the_share_of_a_bimodal_output_runs_to_the_cap() {
        let lengths = draws(Lengths::Bimodal {
            capped: 0.33,
            cap: 2_048,
            stop: 40,
        });
        let capped = lengths.iter().filter(|n| **n == 2_048).count() as f64;
        assert!((capped / lengths.len() as f64 - 0.33).abs() < 0.02);
        assert!(lengths.iter().all(|n| [40, 2_048].contains(n)));
    }

    #[test]
    fn a_prompt_is_never_found_whole_in_the_cache() {
        let mix = Mix {
            prompt: Lengths::Fixed(100),
            output: Lengths::Fixed(1),
            cached: 1.0,
        };
        let job = mix.draw(3, &mut dice(0, Use::Lengths));
        assert_eq!(
            (job.prompt_tokens, job.cached_tokens, job.class),
            (100, 99, 3)
        );
    }

    #[test]
    fn distributions_that_make_no_sense_are_refused() {
        let table = [
            Lengths::Fixed(0),
            Lengths::Uniform {
                mean: 10,
                spread: 1.5,
            },
            Lengths::LogNormal {
                median: f64::NAN,
                sigma: 1.0,
                max: 10,
            },
            Lengths::Bimodal {
                capped: -0.1,
                cap: 10,
                stop: 1,
            },
        ];
        for lengths in table {
            assert!(lengths.check().is_err(), "{lengths:?}");
        }
    }
}
