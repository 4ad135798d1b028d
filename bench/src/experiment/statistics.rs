//! Means with their confidence intervals.

use serde::{Deserialize, Deserializer, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean over seeds, and how far off it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: f64,
    /// Half the width of the 95 % confidence interval by Student's t. Not a number where there are fewer than two,
    /// which JSON writes as null.
    #[serde(deserialize_with = "number_or_null")]
    pub half_width: f64,
    pub least: f64,
    pub most: f64,
}

impl Estimate {
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let half_width = if values.len() < 2 {
            f64::NAN
        } else {
            quantile(count - 1.0) * (squares / (count - 1.0) / count).sqrt()
        };
        Self {
            mean,
            half_width,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    /// Of the differences seed by seed, which are far less noisy than the values where both saw the same requests.
    pub fn of_differences(values: &[f64], others: &[f64]) -> Self {
        let pairs = values.iter().zip(others);
        Self::of(
            &pairs
                .map(|(value, other)| value - other)
                .collect::<Vec<_>>(),
        )
    }

    /// Whether chance alone would give a mean so far from 0 in fewer than one of twenty experiments.
    pub fn is_significant(&self) -> bool {
        self.mean.abs() > self.half_width
    }
}

fn number_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// Student's t that 97.5 % stay below.
fn quantile(freedom: f64) -> f64 {
    let student = StudentsT::new(0.0, 1.0, freedom);
    student
        .expect("at least one degree of freedom")
        .inverse_cdf(0.975)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // Tables: t(4, 0.975) = 2.776; the standard error of 1..5 is sqrt(2.5 / 5).
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((estimate.mean - 3.0).abs() < 1e-12);
        assert!((estimate.half_width - 2.776 * 0.5_f64.sqrt()).abs() < 1e-3);
        assert!((estimate.least, estimate.most) == (1.0, 5.0));
    }

    #[test]
    fn paired_differences_see_what_the_means_would_hide() {
        let (one, other) = ([0.5, 0.7, 0.9], [0.4, 0.61, 0.8]);
        let paired = Estimate::of_differences(&one, &other);
        assert!(paired.is_significant() && paired.half_width < 0.02);
        let apart = [Estimate::of(&one), Estimate::of(&other)];
        assert!(apart.iter().all(|estimate| estimate.half_width > 0.4));
    }

    #[test]
    fn an_estimate_is_read_back_as_it_was_written() {
        for values in [&[1.0, 2.0][..], &[1.0]] {
            let estimate = Estimate::of(values);
            let json = serde_json::to_string(&estimate).unwrap();
            let back: Estimate = serde_json::from_str(&json).unwrap();
            assert_eq!(back.half_width.to_bits(), estimate.half_width.to_bits());
            assert!((back.mean, back.most) == (estimate.mean, estimate.most));
        }
    }

    #[test]
    fn one_seed_tells_nothing_of_chance() {
        assert!(!Estimate::of(&[0.3]).is_significant());
    }
}
