//! What is reported of a run.

use std::time::Duration;

use serde::Serialize;

use crate::sim::{Outcome, Slo};

/// The figures of one run, or the means of several.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    pub requests: f64,
    pub requests_per_second: f64,
    /// Good requests a second: within both targets.
    pub goodput: f64,
    /// Share of good requests.
    pub attainment: f64,
    pub ttft_p50_ms: f64,
    pub ttft_p99_ms: f64,
    pub itl_mean_ms: f64,
    pub itl_p99_ms: f64,
    /// Role changes that were made.
    pub moves: f64,
    /// Requests that got no whole answer.
    pub failed: f64,
}

impl Figures {
    pub fn of(outcome: &Outcome, slo: &Slo) -> Self {
        let moves: u32 = outcome.workers.iter().map(|used| used.role_changes).sum();
        let failed = outcome.requests.len() - outcome.completed().count();
        Self {
            requests: outcome.requests.len() as f64,
            requests_per_second: outcome.requests_per_second(),
            goodput: outcome.goodput(slo),
            attainment: outcome.attainment(slo),
            ttft_p50_ms: millis(outcome.ttft_quantile(0.5)),
            ttft_p99_ms: millis(outcome.ttft_quantile(0.99)),
            itl_mean_ms: millis(outcome.mean_itl()),
            itl_p99_ms: millis(outcome.itl_quantile(0.99)),
            moves: f64::from(moves),
            failed: failed as f64,
        }
    }

    /// The mean of each; of nothing, zero.
    pub fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len().max(1) as f64;
        Self {
            requests: mean(|one| one.requests),
            requests_per_second: mean(|one| one.requests_per_second),
            goodput: mean(|one| one.goodput),
            attainment: mean(|one| one.attainment),
            ttft_p50_ms: mean(|one| one.ttft_p50_ms),
            ttft_p99_ms: mean(|one| one.ttft_p99_ms),
            itl_mean_ms: mean(|one| one.itl_mean_ms),
            itl_p99_ms: mean(|one| one.itl_p99_ms),
            moves: mean(|one| one.moves),
            failed: mean(|one| one.failed),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_taken_of_every_figure() {
        let twice = |x: f64| Figures {
            requests: x,
            requests_per_second: x,
            goodput: x,
            attainment: x,
            ttft_p50_ms: x,
            ttft_p99_ms: x,
            itl_mean_ms: x,
            itl_p99_ms: x,
            moves: x,
            failed: x,
        };
        assert_eq!(Figures::mean(&[twice(1.0), twice(3.0)]), twice(2.0));
        assert_eq!(Figures::mean(&[]), twice(0.0));
    }
}
