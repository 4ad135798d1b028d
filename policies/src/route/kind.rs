//! The policies by name, and how one is made.
//!
//! A new policy is one file, one variant here and one arm in `build`; the property tests run over `ALL` and pick it up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::cache_aware::CacheAware;
use super::consistent_hashing::ConsistentHashing;
use super::manual::Manual;
use super::power_of_two::PowerOfTwo;
use super::prefix_hash::PrefixHash;
use super::random::Random;
use super::round_robin::RoundRobin;
use super::{RoutePolicy, RouteSettings};

/// Which policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyKind {
    Random,
    RoundRobin,
    PowerOfTwo,
    CacheAware,
    /// By prompt length; for prefill.
    Bucket,
    Manual,
    ConsistentHashing,
    PrefixHash,
}

impl PolicyKind {
    pub const ALL: [Self; 8] = [
        Self::Random,
        Self::RoundRobin,
        Self::PowerOfTwo,
        Self::CacheAware,
        Self::Bucket,
        Self::Manual,
        Self::ConsistentHashing,
        Self::PrefixHash,
    ];

    /// The name as flags, the API and metric labels spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::PowerOfTwo => "power_of_two",
            Self::CacheAware => "cache_aware",
            Self::Bucket => "bucket",
            Self::Manual => "manual",
            Self::ConsistentHashing => "consistent_hashing",
            Self::PrefixHash => "prefix_hash",
        }
    }
}

/// A policy of this kind with nothing remembered yet. Each role gets an instance of its own.
pub fn build(kind: PolicyKind, settings: &RouteSettings) -> Box<dyn RoutePolicy> {
    match kind {
        PolicyKind::Random => Box::new(Random),
        PolicyKind::RoundRobin => Box::new(RoundRobin::default()),
        PolicyKind::PowerOfTwo => Box::new(PowerOfTwo),
        PolicyKind::CacheAware => Box::new(CacheAware::new(settings)),
        PolicyKind::Bucket => Box::new(Bucket::new(settings)),
        PolicyKind::Manual => Box::new(Manual::new(settings)),
        PolicyKind::ConsistentHashing => Box::new(ConsistentHashing),
        PolicyKind::PrefixHash => Box::new(PrefixHash),
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no policy has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPolicy(pub String);

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown policy '{}': expected {}",
            self.0,
            PolicyKind::ALL.map(PolicyKind::as_str).join(", ")
        )
    }
}

impl std::error::Error for UnknownPolicy {}

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == s)
            .ok_or_else(|| UnknownPolicy(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_are_the_serialised_form() {
        for kind in PolicyKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn an_unknown_name_is_told_what_exists() {
        let error = "cache-aware".parse::<PolicyKind>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown policy 'cache-aware': expected random, round_robin, power_of_two, cache_aware, bucket, manual, \
             consistent_hashing, prefix_hash"
        );
    }
}
