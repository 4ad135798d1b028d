//! How far simulated runs are from measured ones.

use serde::Serialize;

use super::{Cell, Figures};

/// Relative errors of one figure: simulated over measured, less one, without the sign.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Errors {
    pub mean: f64,
    pub median: f64,
    pub worst: f64,
}

impl Errors {
    /// Of nothing, zero.
    fn of(pairs: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut errors: Vec<_> = pairs
            .map(|(simulated, measured)| (simulated / measured - 1.0).abs())
            .collect();
        errors.sort_by(f64::total_cmp);
        Self {
            mean: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
            median: errors.get(errors.len() / 2).copied().unwrap_or(0.0),
            worst: errors.last().copied().unwrap_or(0.0),
        }
    }
}

/// The errors over some cells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accuracy {
    pub cells: usize,
    pub throughput: Errors,
    pub mean_itl: Errors,
    pub median_ttft: Errors,
    pub mean_ttft: Errors,
}

impl Accuracy {
    pub fn of<'a>(cells: &(impl Iterator<Item = (&'a Cell, Figures)> + Clone)) -> Self {
        let errors = |figure: fn(&Figures) -> f64| {
            let pairs = cells
                .clone()
                .map(|(cell, simulated)| (figure(&simulated), figure(&Figures::measured(cell))));
            Errors::of(pairs)
        };
        Self {
            cells: cells.clone().count(),
            throughput: errors(|figures| figures.requests_per_second),
            mean_itl: errors(|figures| figures.mean_itl_ms),
            median_ttft: errors(|figures| figures.median_ttft_ms),
            mean_ttft: errors(|figures| figures.mean_ttft_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_to_what_was_measured_and_without_sign() {
        let errors = Errors::of([(11.0, 10.0), (8.0, 10.0), (10.0, 10.0)].into_iter());
        assert!((errors.mean - 0.1).abs() < 1e-9);
        assert!((errors.median - 0.1).abs() < 1e-9);
        assert!((errors.worst - 0.2).abs() < 1e-9);
        assert!(Errors::of(std::iter::empty()).worst <= 0.0);
    }
}
