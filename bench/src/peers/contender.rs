//! Who is measured: this router, its peers, and plain relays that show how little a relay can cost.

pub mod certificate;
mod command;
mod programs;
mod relay;

pub use certificate::{Certificate, CertificateError};
pub use command::{Setup, arguments};
pub use programs::{ProgramError, Programs};

use super::fleet::Ports;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Somebody to send a load to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// The workers themselves: what the load generator and they can do.
    Direct,
    AdaptiveRouter,
    SglangRouter,
    Smg,
    Nginx,
    Haproxy,
}

impl Contender {
    pub const ALL: [Self; 6] = [
        Self::Direct,
        Self::AdaptiveRouter,
        Self::SglangRouter,
        Self::Smg,
        Self::Nginx,
        Self::Haproxy,
    ];

    /// Whom the others are compared with.
    pub const REFERENCE: Self = Self::SglangRouter;

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::AdaptiveRouter => "adaptive-router",
            Self::SglangRouter => "sglang-router",
            Self::Smg => "smg",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    pub const fn kind(self) -> Kind {
        match self {
            Self::Direct => Kind::Nobody,
            Self::AdaptiveRouter | Self::SglangRouter | Self::Smg => Kind::Pairs,
            Self::Nginx | Self::Haproxy => Kind::Relay,
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a contender makes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody is in between.
    Nobody,
    /// Two upstream requests, to a prefill and to a decode worker.
    Pairs,
    /// One, to a decode worker.
    Relay,
}

/// How a worker is picked, where a router is asked to pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    RoundRobin,
    CacheAware,
    PowerOfTwo,
}

impl Policy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::CacheAware => "cache_aware",
            Self::PowerOfTwo => "power_of_two",
        }
    }
}
