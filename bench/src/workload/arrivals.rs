//! When requests come, where nobody recorded it.
//!
//! Each is a renewal process: the gaps between arrivals are drawn one by one. Exponential gaps make a Poisson process,
//! the arrivals of many users who know nothing of each other; gamma gaps with a larger variation make bursts with
//! silence between them, at the same mean rate.

use std::time::Duration;

use policies::time::Timestamp;
use rand::Rng;
use rand_distr::{Distribution, Exp, Gamma};

use super::{
    Job, Mix,
    dice::{Dice, Use, dice},
};

/// How gaps vary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gaps {
    /// Exponential: Poisson arrivals.
    Poisson,
    /// Gamma with this coefficient of variation, which is above 0; 1 is Poisson.
    Bursty { variation: f64 },
}

/// One mix at one rate for some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    pub start: Timestamp,
    pub end: Timestamp,
    /// Requests a second, above 0.
    pub rate: f64,
    pub mix: Mix,
    pub class: u16,
}

/// Arrivals in all `stretches`, which follow one another. At most `limit` of them.
pub fn in_stretches(
    stretches: &[Stretch],
    gaps: Gaps,
    seed: u64,
    limit: usize,
) -> Vec<(Timestamp, Job)> {
    let mut times = dice(seed, Use::Arrivals);
    let mut lengths = dice(seed, Use::Lengths);
    stretches
        .iter()
        .flat_map(|stretch| {
            let arrivals = Arrivals::new(stretch, gaps, &mut times);
            arrivals
                .map(|at| (at, stretch.mix.draw(stretch.class, &mut lengths)))
                .collect::<Vec<_>>()
        })
        .take(limit)
        .collect()
}

/// Stretches that take turns through `mixes` (rate and mix) until `total` is over; each lasts `length` × (1 ± `jitter`),
/// all lengths between equally likely.
pub fn alternating(
    mixes: &[(f64, Mix)],
    length: Duration,
    jitter: f64,
    total: Duration,
    seed: u64,
) -> Vec<Stretch> {
    let mut dice = dice(seed, Use::Phases);
    let over = Timestamp::ZERO.after(total);
    let mut start = Timestamp::ZERO;
    let mut stretches = Vec::new();
    for ((rate, mix), class) in mixes.iter().zip(0..).cycle() {
        if start >= over {
            break;
        }
        let factor = 1.0 + jitter * (2.0 * dice.random::<f64>() - 1.0);
        let end = start.after(length.mul_f64(factor)).min(over);
        stretches.push(Stretch {
            start,
            end,
            rate: *rate,
            mix: *mix,
            class,
        });
        start = end;
    }
    stretches
}

/// The arrival times of one stretch.
struct Arrivals<'a> {
    gap: Gap,
    dice: &'a mut Dice,
    /// Seconds since the start of everything: gaps are added before they are rounded.
    at: f64,
    end: Timestamp,
}

enum Gap {
    Exponential(Exp<f64>),
    Gamma(Gamma<f64>),
}

impl<'a> Arrivals<'a> {
    fn new(stretch: &Stretch, gaps: Gaps, dice: &'a mut Dice) -> Self {
        let gap = match gaps {
            Gaps::Poisson => Gap::Exponential(Exp::new(stretch.rate).expect("rates are checked")),
            Gaps::Bursty { variation } => {
                let shape = 1.0 / (variation * variation);
                let scale = 1.0 / (stretch.rate * shape);
                Gap::Gamma(Gamma::new(shape, scale).expect("rate and variation are checked"))
            }
        };
        Self {
            gap,
            dice,
            at: stretch.start.as_micros() as f64 / 1e6,
            end: stretch.end,
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        self.at += match &self.gap {
            Gap::Exponential(gap) => gap.sample(self.dice),
            Gap::Gamma(gap) => gap.sample(self.dice),
        };
        let at = Timestamp::from_micros((self.at * 1e6) as u64);
        (at < self.end).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Lengths;

    const MIX: Mix = Mix {
        prompt: Lengths::Fixed(100),
        output: Lengths::Uniform {
            mean: 100,
            spread: 0.5,
        },
        cached: 0.0,
    };

    fn hour(rate: f64) -> Stretch {
        Stretch {
            start: Timestamp::ZERO,
            end: Timestamp::from_micros(3_600_000_000),
            rate,
            mix: MIX,
            class: 0,
        }
    }

    fn arrivals(rate: f64, gaps: Gaps, seed: u64) -> Vec<(Timestamp, Job)> {
        in_stretches(&[hour(rate)], gaps, seed, usize::MAX)
    }

    /// Variance over mean of the arrivals in windows of ten seconds; 1 for a Poisson process.
    fn dispersion(arrivals: &[(Timestamp, Job)]) -> f64 {
        let mut counts = [0.0; 360];
        for (at, _) in arrivals {
            counts[(at.as_micros() / 10_000_000) as usize] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / 360.0;
        counts.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 360.0 / mean
    }

    #[test]
    fn all_kinds_keep_the_rate_and_rise() {
        for gaps in [Gaps::Poisson, Gaps::Bursty { variation: 3.0 }] {
            let arrivals = arrivals(10.0, gaps, 1);
            let rate = arrivals.len() as f64 / 3_600.0;
            assert!((rate - 10.0).abs() < 0.6, "{gaps:?}: {rate}");
            assert!(arrivals.is_sorted_by_key(|(at, _)| *at));
        }
    }

    #[test]
    fn bursts_vary_as_the_square_of_their_variation() {
        let poisson = dispersion(&arrivals(10.0, Gaps::Poisson, 1));
        assert!((0.8..1.2).contains(&poisson), "{poisson}");
        let bursty = dispersion(&arrivals(10.0, Gaps::Bursty { variation: 3.0 }, 1));
        assert!((6.5..11.5).contains(&bursty), "{bursty}");
    }

    #[test]
    fn another_rate_leaves_the_lengths_as_they_were() {
        let outputs = |rate| {
            let arrivals = arrivals(rate, Gaps::Poisson, 3);
            let mut outputs: Vec<_> = arrivals.iter().map(|(_, job)| job.output_tokens).collect();
            outputs.truncate(1_000);
            outputs
        };
        assert_eq!(outputs(1.0), outputs(5.0));
    }

    #[test]
    fn phases_take_turns_within_their_jitter_and_fill_the_time() {
        let total = Duration::from_secs(3_600);
        let mixes = [(1.0, MIX), (2.0, MIX)];
        let stretches = alternating(&mixes, Duration::from_secs(300), 0.4, total, 5);
        assert_eq!(stretches.last().unwrap().end, Timestamp::ZERO.after(total));
        let (_, whole) = stretches.split_last().unwrap();
        for (stretch, place) in whole.iter().zip(0..) {
            let length = stretch.end.since(stretch.start).as_secs();
            assert!((180..=420).contains(&length), "{length}");
            assert_eq!(stretch.class, place % 2);
        }
        assert!(stretches.is_sorted_by_key(|stretch| stretch.start));
    }

    #[test]
    fn no_more_than_the_limit_are_drawn() {
        assert_eq!(in_stretches(&[hour(10.0)], Gaps::Poisson, 1, 7).len(), 7);
    }
}
