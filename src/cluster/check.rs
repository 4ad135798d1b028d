//! What can be wrong with a worker's command line, and with workers that are fine one by one.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use policies::worker::Role;

use super::ClusterWorker;
use super::command::{FLAGS, Launch, has_unknown_placeholder};
use super::error::Problem;

/// Linux gives ports from here on to outgoing connections (`net.ipv4.ip_local_port_range`).
const FIRST_EPHEMERAL_PORT: u16 = 32_768;

/// What the router writes, and the key that it comes from.
const OWN_FLAGS: [(&str, &str); 9] = [
    ("--model-path", "the key model"),
    ("--model", "the key model"),
    ("--disaggregation-mode", "the key role"),
    (
        "--disaggregation-transfer-backend",
        "the key transfer_backend",
    ),
    ("--disaggregation-bootstrap-port", "the key bootstrap_port"),
    ("--host", "the key host"),
    ("--port", "the key port"),
    ("--tp-size", "the key tp_size"),
    ("--base-gpu-id", "the key gpus"),
];

pub(super) fn launch(worker: &str, launch: &Launch) -> Result<(), Problem> {
    let name = || worker.to_owned();
    if launch.command.first().is_none_or(String::is_empty) {
        return Err(Problem::EmptyCommand { worker: name() });
    }
    if let Some(word) = launch
        .command
        .iter()
        .find(|word| has_unknown_placeholder(word))
    {
        return Err(Problem::UnknownPlaceholder {
            worker: name(),
            word: word.clone(),
        });
    }
    let mut words = launch.command.iter();
    if !words.any(|word| word == FLAGS || word.contains("{role}")) {
        return Err(Problem::CommandWithoutRole { worker: name() });
    }
    for arg in launch
        .args_of(Role::Prefill)
        .chain(launch.args_of(Role::Decode))
    {
        let flag = arg.split('=').next().unwrap_or(arg);
        if let Some((flag, key)) = OWN_FLAGS.into_iter().find(|(own, _)| *own == flag) {
            return Err(Problem::OwnFlag {
                worker: name(),
                flag,
                key,
            });
        }
    }
    Ok(())
}

/// Looks at all workers together.
pub(super) fn fleet(workers: &[ClusterWorker], shares_gpus: bool) -> Result<(), Problem> {
    names(workers)?;
    ports(workers)?;
    if !shares_gpus {
        gpus(workers)?;
    }
    for role in [Role::Prefill, Role::Decode] {
        if !workers.iter().any(|worker| worker.role == role) {
            return Err(Problem::NobodyStartsAs(role));
        }
    }
    Ok(())
}

fn names(workers: &[ClusterWorker]) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for ClusterWorker { name, url, .. } in workers {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_good) {
            return Err(Problem::BadName(name.clone()));
        }
        if !seen.insert(name.as_str()) {
            return Err(Problem::NamedTwice(name.clone()));
        }
        if !seen.insert(url.as_str()) {
            return Err(Problem::UrlTwice(url.to_string()));
        }
    }
    Ok(())
}

fn ports(workers: &[ClusterWorker]) -> Result<(), Problem> {
    let mut taken: HashMap<(String, u16), &str> = HashMap::new();
    for worker in workers {
        let name = || worker.name.clone();
        for (key, port) in [
            ("port", worker.launch.port),
            ("bootstrap_port", worker.bootstrap_port),
        ] {
            if port == Some(0) {
                return Err(Problem::PortZero {
                    worker: name(),
                    key,
                });
            }
        }
        if let Some(port) = worker.bootstrap_port
            && port >= FIRST_EPHEMERAL_PORT
        {
            return Err(Problem::EphemeralBootstrapPort {
                worker: name(),
                port,
            });
        }
        for port in worker.ports() {
            let place = (machine(worker), port);
            if let Some(other) = taken.insert(place, &worker.name) {
                return Err(Problem::PortTwice {
                    port,
                    workers: [other.to_owned(), name()],
                });
            }
        }
    }
    Ok(())
}

/// Where the worker runs. What the router starts runs where the router does, whatever its address is.
fn machine(worker: &ClusterWorker) -> String {
    let host = worker.url.host();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if worker.is_launched() || address.is_ok_and(|address| address.is_loopback()) {
        return "localhost".to_owned();
    }
    host.to_ascii_lowercase()
}

/// Workers that run elsewhere have GPUs of their own.
fn gpus(workers: &[ClusterWorker]) -> Result<(), Problem> {
    let mut taken: HashMap<u32, &str> = HashMap::new();
    for worker in workers.iter().filter(|worker| worker.is_launched()) {
        for &gpu in &worker.gpus {
            if let Some(other) = taken.insert(gpu, &worker.name) {
                return Err(Problem::GpuTwice {
                    gpu,
                    workers: [other.to_owned(), worker.name.clone()],
                });
            }
        }
    }
    Ok(())
}
