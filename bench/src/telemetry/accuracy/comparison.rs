//! One latency, as both sides measured it, and whether they agree.

use std::time::Duration;

/// The bound: the router may be this far from the client, or that share of it.
const NEAR: Duration = Duration::from_millis(2);
const NEAR_SHARE: f64 = 0.05;

/// A latency in seconds, twice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    pub client: f64,
    pub router: f64,
}

impl Comparison {
    /// How much more the router measured, in seconds.
    pub fn difference(&self) -> f64 {
        self.router - self.client
    }

    /// The difference as a share of what the client measured.
    pub fn share(&self) -> f64 {
        self.difference() / self.client
    }

    /// Within 2 ms or 5 %. A router that measured nothing (NaN) never agrees.
    pub fn agrees(&self) -> bool {
        self.difference().abs() <= NEAR.as_secs_f64() || self.share().abs() <= NEAR_SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_milliseconds_or_five_percent_are_near_enough() {
        let table = [
            (0.010, 0.0119, true),
            (0.010, 0.0081, true),
            (0.010, 0.0121, false),
            (0.100, 0.1049, true),
            (0.100, 0.0951, true),
            (0.100, 0.1051, false),
            (0.100, 0.0949, false),
            (0.0, 0.001, true),
            (0.0, 0.003, false),
            (0.010, f64::NAN, false),
            (0.010, f64::INFINITY, false),
        ];
        for (client, router, agrees) in table {
            let comparison = Comparison { client, router };
            assert_eq!(comparison.agrees(), agrees, "{comparison:?}");
        }
    }
}
