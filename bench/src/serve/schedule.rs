//! When the requests of a rate are sent, as `vllm bench serve` draws it.

use crate::workload::dice::{Use, dice};
use rand_distr::{Distribution, Gamma};
use std::time::Duration;

/// The moments of `count` requests at `rate` a second, both above 0.
///
/// Gaps are gamma-distributed with shape `burstiness`: 1 is a Poisson process, less is burstier, and an infinite one
/// sends at even gaps. They are then stretched so that the last request comes at `count / rate`, so that two seeds offer
/// the same load.
pub(super) fn moments(count: usize, rate: f64, burstiness: f64, seed: u64) -> Vec<Duration> {
    let mut dice = dice(seed, Use::Arrivals);
    let gamma = Gamma::new(burstiness, 1.0 / (rate * burstiness)).ok();
    let mut at = 0.0;
    let raw: Vec<f64> = (0..count)
        .map(|_| {
            // An infinite shape is no gamma distribution: its limit is a constant.
            at += gamma.map_or(1.0 / rate, |gamma| gamma.sample(&mut dice));
            at
        })
        .collect();
    let stretch = if at > 0.0 {
        count as f64 / rate / at
    } else {
        1.0
    };
    raw.into_iter()
        .map(|at| Duration::from_secs_f64(at * stretch))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Standard deviation of the gaps over their mean.
    fn variation(moments: &[Duration]) -> f64 {
        let gaps: Vec<f64> = moments
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let square = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>();
        (square / gaps.len() as f64).sqrt() / mean
    }

    #[test]
    fn gaps_vary_as_burstiness_says_and_fill_the_same_time() {
        // The coefficient of variation of a gamma distribution is one over the root of its shape.
        for (burstiness, expected) in [(1.0, 1.0), (0.25, 2.0), (4.0, 0.5), (f64::INFINITY, 0.0)] {
            let moments = moments(20_000, 50.0, burstiness, 1);
            let found = variation(&moments);
            assert!((found - expected).abs() < 0.05, "{burstiness}: {found}");
            assert!(moments.is_sorted());
            let last = moments[19_999].as_secs_f64();
            assert!((last - 400.0).abs() < 1e-6, "{burstiness}: {last}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_moments_and_another_others() {
        assert_eq!(moments(50, 1.0, 1.0, 3), moments(50, 1.0, 1.0, 3));
        assert_ne!(moments(50, 1.0, 1.0, 3), moments(50, 1.0, 1.0, 4));
    }
}
