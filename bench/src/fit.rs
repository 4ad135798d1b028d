//! The model's parameters, estimated from what was measured.
//!
//! Two sources: a table of benchmark runs ([`table`]), whose figures are compared with those of simulated runs, and
//! recorded `/v1/loads` answers ([`loads`]), whose counters give prefill and decode lines directly. A fit from counters
//! is the better one where there are any; the published study has none.

pub mod cli;
pub mod loads;
mod report;
mod search;
pub mod table;

use policies::model::{Parameter, WorkerModel};

/// Digits that a fit is good for: fewer than it computes, more than it knows.
const DIGITS: i32 = 4;

/// The model with every parameter rounded to the digits that a fit is good for.
fn rounded(mut model: WorkerModel) -> WorkerModel {
    for parameter in Parameter::ALL {
        let value = parameter.get(&model);
        parameter.set(&mut model, to_digits(value));
    }
    model
}

fn to_digits(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() || value.abs() >= 10_f64.powi(DIGITS) {
        return value;
    }
    let text = format!("{value:.*e}", DIGITS as usize - 1);
    text.parse().expect("a number that was just written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_four_digits_and_counts_all() {
        for (value, expected) in [
            (0.046_123_4, 0.046_12),
            (1.414_567e-5, 1.415e-5),
            (0.0, 0.0),
            (2_000_000.0, 2_000_000.0),
            (8_192.0, 8_192.0),
        ] {
            assert!((to_digits(value) - expected).abs() < 1e-12, "{value}");
        }
    }
}
