//! What a simulated worker is told at launch, and the handful of launch flags of the real one that matter to a router.

use crate::{backend::TransferBackend, faults::Rule, timing::Timing};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// The half of the serving that a worker does. `Null` is SGLang's word for a worker that does both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Prefill,
    Decode,
    Null,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Null => "null",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "prefill" => Ok(Self::Prefill),
            "decode" => Ok(Self::Decode),
            "null" => Ok(Self::Null),
            _ => Err(UnknownRole),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownRole;

impl fmt::Display for UnknownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a role is one of: prefill, decode, null")
    }
}

impl std::error::Error for UnknownRole {}

/// Everything that is fixed for the life of a worker.
#[derive(Debug, Clone)]
pub struct Config {
    /// The role at launch; a role switch changes the live one.
    pub role: Role,
    /// Address that `/server_info` reports; whoever serves the routers binds it.
    pub host: String,
    pub port: u16,
    /// Reported, and what a role switch depends on.
    pub transfer_backend: TransferBackend,
    /// Port of the bootstrap server, which decode workers fall back to when a request names none.
    pub bootstrap_port: u16,
    /// Served model name. Requests may name any model, as with the real worker.
    pub model: String,
    /// How long things take, and how much fits: the largest batches and the KV pool are the model's.
    pub timing: Timing,
    /// A prefill request whose decode never comes fails after this (SGLang: 300 s).
    pub bootstrap_timeout: Duration,
    /// A decode request whose KV never comes fails after this (SGLang: 300 s).
    pub waiting_timeout: Duration,
    /// Attempts to reach a bootstrap server, and the pause between two (SGLang: 15 times, 1 s).
    pub handshake_tries: u32,
    pub handshake_pause: Duration,
    /// How long a decode takes to notice that a prefill died while it waited for KV (SGLang: two missed heartbeats
    /// of 5 s).
    pub lost_prefill_after: Duration,
    /// Duration of a role switch (measured on one GPU: 0.3 to 1.9 s).
    pub role_switch: Duration,
    /// Duration of `/health`, which generates a token (SGLang: one second).
    pub health_probe: Duration,
    pub context_length: u64,
    /// Tokens a streamed chunk, unless the request says otherwise.
    pub stream_interval: u32,
    /// Keep the beginnings of prompts, and compute them once; a worker that is launched as decode never does. Off, as on
    /// a worker with `--disable-radix-cache`, which SGLang 0.5.23 needs for role switches: a prefill worker that
    /// becomes a decode worker with its cache dies at the first prompt that it finds there. Usage then reports cached
    /// tokens, too, as with `--enable-cache-report`.
    pub prefix_cache: bool,
    pub enable_pd_role_switch: bool,
    pub enable_metrics: bool,
    /// Faults that are on from the start, and the seed of their dice.
    pub faults: Vec<Rule>,
    pub seed: u64,
    /// Answer chat without an engine, as a router's cost is measured with.
    pub instant: Option<Pace>,
}

/// When the tokens of a stream come that no engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// Zero: as fast as they are taken.
    pub between_tokens: Duration,
    /// So many tokens, and then nothing more until the client leaves.
    pub silent_after: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::Null,
            host: "127.0.0.1".into(),
            port: 30000,
            transfer_backend: TransferBackend::Mooncake,
            bootstrap_port: 8998,
            model: "simulated".into(),
            timing: Timing::MEASURED,
            bootstrap_timeout: Duration::from_mins(5),
            waiting_timeout: Duration::from_mins(5),
            handshake_tries: 15,
            handshake_pause: Duration::from_secs(1),
            lost_prefill_after: Duration::from_secs(10),
            role_switch: Duration::from_millis(500),
            health_probe: Duration::from_secs(1),
            context_length: 131_072,
            stream_interval: 1,
            prefix_cache: false,
            enable_pd_role_switch: false,
            enable_metrics: true,
            faults: Vec::new(),
            seed: 0,
            instant: None,
        }
    }
}

impl Config {
    /// Whether beginnings of prompts are kept.
    pub(crate) fn caches_prompts(&self) -> bool {
        self.prefix_cache && self.role != Role::Decode
    }

    /// A worker that answers at once, for tests and benches of everything but time.
    pub fn instant(role: Role) -> Self {
        Self {
            role,
            timing: Timing::zero(),
            role_switch: Duration::ZERO,
            health_probe: Duration::ZERO,
            ..Self::default()
        }
    }
}
