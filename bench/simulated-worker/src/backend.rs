//! What carries the KV from prefill to decode on a real worker. Here it is a word, with what follows from it.

use serde::Serialize;
use std::{fmt, str::FromStr};

/// SGLang's `--disaggregation-transfer-backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferBackend {
    #[default]
    Mooncake,
    Mori,
    Nixl,
    Ascend,
    Fake,
}

impl TransferBackend {
    pub const ALL: [Self; 5] = [
        Self::Mooncake,
        Self::Mori,
        Self::Nixl,
        Self::Ascend,
        Self::Fake,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mooncake => "mooncake",
            Self::Mori => "mori",
            Self::Nixl => "nixl",
            Self::Ascend => "ascend",
            Self::Fake => "fake",
        }
    }

    /// Whether a worker with it can change its role in place. One that can't starts with the flag all the same, and
    /// refuses when it is called.
    pub(crate) const fn switches_roles(self) -> bool {
        match self {
            Self::Mooncake | Self::Mori => true,
            Self::Nixl | Self::Ascend | Self::Fake => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownBackend;

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transfer backend is one of: mooncake, mori, nixl, ascend, fake")
    }
}

impl std::error::Error for UnknownBackend {}

impl FromStr for TransferBackend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        let mut all = Self::ALL.into_iter();
        all.find(|backend| backend.as_str() == text)
            .ok_or(UnknownBackend)
    }
}
