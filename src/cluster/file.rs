//! The file as it is written. Every table refuses keys that it doesn't know: a setting that is spelt wrong and ignored
//! is a worker that runs otherwise than its operator believes.

use std::collections::BTreeMap;

use policies::worker::Role;
use serde::Deserialize;

use super::error::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) defaults: Defaults,
    /// Several workers may name the same GPU.
    #[serde(default)]
    pub(super) share_gpus: bool,
    #[serde(default, rename = "worker")]
    pub(super) workers: Vec<Worker>,
}

/// What holds for every worker that doesn't say otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    pub(super) launcher: Option<Launcher>,
    pub(super) model: Option<String>,
    pub(super) transfer_backend: Option<String>,
    pub(super) host: Option<String>,
    pub(super) command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) prefill_args: Vec<String>,
    #[serde(default)]
    pub(super) decode_args: Vec<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) role: StartRole,
    #[serde(default)]
    pub(super) gpus: Vec<u32>,
    pub(super) tp_size: Option<u32>,
    pub(super) url: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) bootstrap_port: Option<u16>,
    pub(super) launcher: Option<Launcher>,
    pub(super) model: Option<String>,
    pub(super) transfer_backend: Option<String>,
    pub(super) command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) prefill_args: Vec<String>,
    #[serde(default)]
    pub(super) decode_args: Vec<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
}

/// How the file spells the launcher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Launcher {
    /// In place where the worker can, else by process; none where the worker is given by its URL.
    #[default]
    Auto,
    Process,
    InPlace,
    None,
}

/// The roles of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StartRole {
    Prefill,
    Decode,
}

impl From<StartRole> for Role {
    fn from(role: StartRole) -> Self {
        match role {
            StartRole::Prefill => Self::Prefill,
            StartRole::Decode => Self::Decode,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<File, Problem> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        Problem::NotAClusterFile {
            line: text[..offset].matches('\n').count() + 1,
            message: error.message().replace('\n', ", "),
        }
    })
}
