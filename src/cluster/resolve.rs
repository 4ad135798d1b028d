//! From what the file says to whole workers: defaults filled in, launcher chosen.

use policies::worker::Role;

use super::command::{DEFAULT_COMMAND, DEFAULT_HOST, Launch, NO_RADIX_FLAG, SWITCH_FLAG};
use super::error::Problem;
use super::file::{Defaults, File, Launcher, Worker};
use super::{ClusterWorker, LauncherKind, check};
use crate::workers::{WorkerUrl, spellings};

/// The transfer backend of a file that names none: the study's. It works with and without RDMA.
const DEFAULT_BACKEND: &str = "nixl";

/// The backends over which SGLang changes a role in place.
const SWITCHABLE_BACKENDS: [&str; 2] = ["mooncake", "mori"];

pub(super) fn workers(file: File) -> Result<Vec<ClusterWorker>, Problem> {
    let defaults = file.defaults;
    file.workers
        .into_iter()
        .map(|worker| resolve(worker, &defaults))
        .collect()
}

fn resolve(worker: Worker, defaults: &Defaults) -> Result<ClusterWorker, Problem> {
    let wanted = worker.launcher.or(defaults.launcher).unwrap_or_default();
    refuse_two_addresses(&worker, wanted)?;
    let is_elsewhere = worker.url.is_some() || wanted == Launcher::None;
    let url = address(&worker, defaults)?;
    let launch = launch(&worker, defaults, is_elsewhere)?;
    check::launch(&worker.name, &launch)?;
    if !is_elsewhere && worker.bootstrap_port.is_none() {
        return Err(missing(&worker.name, "bootstrap_port"));
    }
    let obstacle = in_place_obstacle(&worker.name, &launch, &url);
    let switches_in_place = obstacle.is_none();
    let launcher = match wanted {
        Launcher::None => LauncherKind::None,
        Launcher::Auto if is_elsewhere => LauncherKind::None,
        Launcher::Auto if switches_in_place => LauncherKind::InPlace,
        Launcher::Auto | Launcher::Process => LauncherKind::Process,
        Launcher::InPlace => match obstacle {
            Some(problem) => return Err(problem),
            None => LauncherKind::InPlace,
        },
    };
    Ok(ClusterWorker {
        name: worker.name,
        gpus: worker.gpus,
        url,
        bootstrap_port: worker.bootstrap_port,
        role: worker.role.into(),
        launcher,
        switches_in_place,
        launch,
    })
}

fn refuse_two_addresses(worker: &Worker, wanted: Launcher) -> Result<(), Problem> {
    if worker.url.is_none() {
        return Ok(());
    }
    let name = || worker.name.clone();
    for (key, given) in [
        ("host", worker.host.is_some()),
        ("port", worker.port.is_some()),
    ] {
        if given {
            return Err(Problem::UrlBeside {
                worker: name(),
                key,
            });
        }
    }
    match wanted {
        Launcher::Auto | Launcher::None => Ok(()),
        Launcher::Process | Launcher::InPlace => Err(Problem::UrlIsNotLaunched { worker: name() }),
    }
}

fn address(worker: &Worker, defaults: &Defaults) -> Result<WorkerUrl, Problem> {
    let given = match (&worker.url, worker.port) {
        (Some(url), _) => url.clone(),
        (None, Some(port)) => {
            let host = host(worker, defaults);
            let is_ipv6 = host.parse::<std::net::Ipv6Addr>().is_ok();
            if is_ipv6 {
                format!("http://[{host}]:{port}")
            } else {
                format!("http://{host}:{port}")
            }
        }
        (None, None) => return Err(missing(&worker.name, "port")),
    };
    WorkerUrl::parse(&given).map_err(|error| Problem::BadUrl {
        worker: worker.name.clone(),
        reason: error.to_string(),
    })
}

fn host(worker: &Worker, defaults: &Defaults) -> String {
    let given = worker.host.as_ref().or(defaults.host.as_ref());
    given.cloned().unwrap_or_else(|| DEFAULT_HOST.to_owned())
}

fn launch(worker: &Worker, defaults: &Defaults, is_elsewhere: bool) -> Result<Launch, Problem> {
    let model = worker.model.as_ref().or(defaults.model.as_ref());
    let model = match model {
        Some(model) => model.clone(),
        None if is_elsewhere => String::new(),
        None => return Err(missing(&worker.name, "model")),
    };
    let backend = worker.transfer_backend.as_ref();
    let backend = backend.or(defaults.transfer_backend.as_ref());
    let command = worker.command.as_ref().or(defaults.command.as_ref());
    let mut env = defaults.env.clone();
    env.extend(worker.env.clone());
    Ok(Launch {
        command: command
            .cloned()
            .unwrap_or_else(|| DEFAULT_COMMAND.map(str::to_owned).to_vec()),
        model,
        transfer_backend: backend.map_or(DEFAULT_BACKEND, String::as_str).to_owned(),
        tp_size: worker
            .tp_size
            .unwrap_or_else(|| u32::try_from(worker.gpus.len()).unwrap_or(u32::MAX)),
        host: host(worker, defaults),
        port: worker.port,
        args: joined(&defaults.args, &worker.args),
        prefill_args: joined(&defaults.prefill_args, &worker.prefill_args),
        decode_args: joined(&defaults.decode_args, &worker.decode_args),
        env,
    })
}

fn joined(defaults: &[String], own: &[String]) -> Vec<String> {
    [defaults, own].concat()
}

fn missing(worker: &str, key: &'static str) -> Problem {
    Problem::Missing {
        worker: worker.to_owned(),
        key,
    }
}

/// Why the worker can't change its role in place.
fn in_place_obstacle(name: &str, launch: &Launch, url: &WorkerUrl) -> Option<Problem> {
    let worker = || name.to_owned();
    let backend = &launch.transfer_backend;
    if !SWITCHABLE_BACKENDS.contains(&backend.as_str()) {
        return Some(Problem::InPlaceBackend {
            worker: worker(),
            backend: backend.clone(),
        });
    }
    for flag in [SWITCH_FLAG, NO_RADIX_FLAG] {
        let in_both = [Role::Prefill, Role::Decode]
            .into_iter()
            .all(|role| launch.has_flag(role, flag));
        if !in_both {
            return Some(Problem::InPlaceFlag {
                worker: worker(),
                flag,
            });
        }
    }
    // A loopback address has a name, and is called by it.
    let host = url.host();
    (spellings(host) < 2).then(|| Problem::InPlaceBareIp {
        worker: worker(),
        host: host.to_owned(),
    })
}
