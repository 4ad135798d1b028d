//! What an operator can set of the policies. Names and defaults are those of `sglang_router`'s flags, so that a command
//! line carries over; a policy reads only what concerns it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of all policies together.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSettings {
    /// `cache_aware`: the fraction of a prompt that a worker must hold to be preferred for it.
    pub cache_threshold: f32,
    /// `cache_aware` (requests) and `bucket` (bytes): a spread up to this much is balanced ...
    pub balance_abs_threshold: u64,
    /// ... and so is a maximum up to this many times the minimum.
    pub balance_rel_threshold: f32,
    /// `cache_aware`: the unit in which the age of remembered prompts is counted; zero keeps them whatever their age.
    pub eviction_interval: Duration,
    /// `cache_aware`: how much prompt is remembered, in bytes.
    pub max_tree_size: usize,
    /// `manual`: a routing key unused for so long is forgotten.
    pub max_idle: Duration,
    /// `manual`: which worker a new routing key gets.
    pub assignment_mode: AssignmentMode,
    /// `bucket`: how often the ranges of prompt lengths follow the traffic.
    pub bucket_adjust_interval: Duration,
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            cache_threshold: 0.3,
            balance_abs_threshold: 64,
            balance_rel_threshold: 1.5,
            eviction_interval: Duration::from_mins(1),
            max_tree_size: 64 << 20,
            max_idle: Duration::from_hours(4),
            assignment_mode: AssignmentMode::Random,
            bucket_adjust_interval: Duration::from_secs(5),
        }
    }
}

impl RouteSettings {
    pub(super) const fn balance(&self) -> Balance {
        Balance {
            abs: self.balance_abs_threshold as f64,
            rel: self.balance_rel_threshold as f64,
        }
    }
}

/// When a difference in load matters more than affinity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Balance {
    abs: f64,
    rel: f64,
}

impl Balance {
    /// Both limits must be passed: the absolute one alone would fire on a busy fleet, the relative one on an idle one.
    pub(super) fn is_broken(self, min: f64, max: f64) -> bool {
        max - min > self.abs && max > self.rel * min
    }
}

/// Which worker `manual` gives to a new routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentMode {
    Random,
    /// The one with the fewest requests in flight.
    MinLoad,
    /// The one with the fewest routing keys.
    MinGroup,
}

impl AssignmentMode {
    pub const ALL: [Self; 3] = [Self::Random, Self::MinLoad, Self::MinGroup];

    /// The name as the flag spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::MinLoad => "min_load",
            Self::MinGroup => "min_group",
        }
    }
}

impl fmt::Display for AssignmentMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no assignment mode has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownAssignmentMode(pub String);

impl fmt::Display for UnknownAssignmentMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown assignment mode '{}': expected {}",
            self.0,
            AssignmentMode::ALL.map(AssignmentMode::as_str).join(", ")
        )
    }
}

impl std::error::Error for UnknownAssignmentMode {}

impl FromStr for AssignmentMode {
    type Err = UnknownAssignmentMode;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == s)
            .ok_or_else(|| UnknownAssignmentMode(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balance_breaks_only_when_both_limits_are_passed() {
        let balance = RouteSettings::default().balance();
        let table = [
            // min, max, broken
            (0.0, 64.0, false),
            (0.0, 65.0, true),
            (1_000.0, 1_100.0, false),
            (1_000.0, 1_500.0, false),
            (1_000.0, 1_501.0, true),
        ];
        for (min, max, broken) in table {
            assert_eq!(balance.is_broken(min, max), broken, "{min} {max}");
        }
    }

    #[test]
    fn assignment_modes_parse_back_from_their_names() {
        for mode in AssignmentMode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
        }
        let error = "least".parse::<AssignmentMode>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown assignment mode 'least': expected random, min_load, min_group"
        );
    }
}
