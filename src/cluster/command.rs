//! The command line of a worker in a role.
//!
//! A command is a list of words in which placeholders are filled in; the default is SGLang's server with all of its
//! flags. The GPUs go into `CUDA_VISIBLE_DEVICES`, so the worker's own numbering begins with 0.

use std::collections::BTreeMap;
use std::fmt;

use policies::worker::Role;

use super::ClusterWorker;

/// Stands for the flags that the router writes and the arguments of the file.
pub(super) const FLAGS: &str = "{flags}";

pub(super) const DEFAULT_COMMAND: [&str; 4] = ["python", "-m", "sglang.launch_server", FLAGS];

const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// Where SGLang listens when it isn't told otherwise.
pub(super) const DEFAULT_HOST: &str = "127.0.0.1";

pub(super) const SWITCH_FLAG: &str = "--enable-pd-role-switch";
pub(super) const NO_RADIX_FLAG: &str = "--disable-radix-cache";

const API_KEY_FLAG: &str = "--api-key";

/// Flags that take a secret.
const SECRET_FLAGS: [&str; 2] = [API_KEY_FLAG, "--admin-api-key"];

/// What the command line is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) command: Vec<String>,
    pub(super) model: String,
    pub(super) transfer_backend: String,
    pub(super) tp_size: u32,
    pub(super) host: String,
    /// `None` for a worker that is given by its URL.
    pub(super) port: Option<u16>,
    pub(super) args: Vec<String>,
    pub(super) prefill_args: Vec<String>,
    pub(super) decode_args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
}

/// A program with its arguments and what is added to the environment. It is shown as a line for a shell, without
/// secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchCommand {
    pub program: String,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
}

impl Launch {
    pub(super) fn command(&self, worker: &ClusterWorker, role: Role) -> LaunchCommand {
        let mut words = Vec::new();
        for word in &self.command {
            if word == FLAGS {
                words.extend(self.flags(worker, role));
            } else {
                words.push(self.filled_in(word, worker, role));
            }
        }
        let mut env = self.env.clone();
        if !worker.gpus.is_empty() {
            env.entry(VISIBLE_GPUS.to_owned())
                .or_insert_with(|| listed(&worker.gpus));
        }
        LaunchCommand {
            program: words.remove(0),
            args: words,
            env,
        }
    }

    /// Everything behind `sglang.launch_server`.
    fn flags(&self, worker: &ClusterWorker, role: Role) -> Vec<String> {
        let mut flags = vec![
            "--model-path".to_owned(),
            self.model.clone(),
            "--disaggregation-mode".to_owned(),
            mode(role).to_owned(),
            "--disaggregation-transfer-backend".to_owned(),
            self.transfer_backend.clone(),
        ];
        let mut add = |flag: &str, value: String| flags.extend([flag.to_owned(), value]);
        if !worker.gpus.is_empty() {
            add("--base-gpu-id", "0".to_owned());
            add("--tp-size", self.tp_size.to_string());
        }
        if self.host != DEFAULT_HOST {
            add("--host", self.host.clone());
        }
        if let Some(port) = self.port {
            add("--port", port.to_string());
        }
        if let Some(port) = worker.bootstrap_port
            && (role == Role::Prefill || self.has_flag(role, SWITCH_FLAG))
        {
            add("--disaggregation-bootstrap-port", port.to_string());
        }
        flags.extend(self.args_of(role).cloned());
        flags
    }

    /// The arguments that the file adds in `role`.
    pub(super) fn args_of(&self, role: Role) -> impl Iterator<Item = &String> {
        let of_role: &[String] = match role {
            Role::Prefill => &self.prefill_args,
            Role::Decode => &self.decode_args,
            Role::Regular => &[],
        };
        self.args.iter().chain(of_role)
    }

    pub(super) fn has_flag(&self, role: Role, flag: &str) -> bool {
        self.args_of(role).any(|arg| arg == flag)
    }

    /// What the worker wants to be asked with.
    pub(super) fn api_key(&self) -> Option<&str> {
        let mut args = self.args.iter();
        let flag = args.find(|arg| arg.starts_with(API_KEY_FLAG))?;
        match flag.strip_prefix(API_KEY_FLAG)?.strip_prefix('=') {
            Some(key) => Some(key),
            None => args.next().map(String::as_str),
        }
    }

    fn filled_in(&self, word: &str, worker: &ClusterWorker, role: Role) -> String {
        let port = |port: Option<u16>| port.map(|port| port.to_string()).unwrap_or_default();
        PLACEHOLDERS
            .into_iter()
            .fold(word.to_owned(), |word, placeholder| {
                let value = match placeholder {
                    "{role}" => mode(role).to_owned(),
                    "{model}" => self.model.clone(),
                    "{transfer_backend}" => self.transfer_backend.clone(),
                    "{gpus}" => listed(&worker.gpus),
                    "{host}" => self.host.clone(),
                    "{port}" => port(self.port),
                    "{bootstrap_port}" => port(worker.bootstrap_port),
                    _ => unreachable!("every placeholder has its line"),
                };
                word.replace(placeholder, &value)
            })
    }
}

/// What can stand inside a word, beside [`FLAGS`] for a whole one.
const PLACEHOLDERS: [&str; 7] = [
    "{role}",
    "{model}",
    "{transfer_backend}",
    "{gpus}",
    "{host}",
    "{port}",
    "{bootstrap_port}",
];

/// Whether a word has something in braces that isn't a placeholder. Braces around anything but a name (JSON in an
/// argument, for one) are plain text.
pub(super) fn has_unknown_placeholder(word: &str) -> bool {
    if word == FLAGS {
        return false;
    }
    let mut rest = word;
    while let Some(open) = rest.find('{') {
        rest = &rest[open..];
        let Some(close) = rest.find('}') else {
            return false;
        };
        let (inside, whole) = (&rest[1..close], &rest[..=close]);
        let is_name =
            !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if is_name && !PLACEHOLDERS.contains(&whole) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// How SGLang's flag spells the role.
fn mode(role: Role) -> &'static str {
    match role {
        Role::Prefill => "prefill",
        Role::Decode => "decode",
        Role::Regular => "null",
    }
}

fn listed(gpus: &[u32]) -> String {
    let numbers: Vec<_> = gpus.iter().map(u32::to_string).collect();
    numbers.join(",")
}

impl fmt::Display for LaunchCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        let mut before = "";
        for arg in &self.args {
            match arg.split_once('=') {
                _ if SECRET_FLAGS.contains(&before) => f.write_str(" ***")?,
                Some((flag, _)) if SECRET_FLAGS.contains(&flag) => write!(f, " {flag}=***")?,
                Some(_) | None => write!(f, " {}", quoted(arg))?,
            }
            before = arg;
        }
        Ok(())
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
