//! The cluster file: who the workers are, and the same file with other roles.
//!
//! The router reads it and checks it. Here it is a table in which roles are written.

use std::{
    fmt, io,
    net::TcpListener,
    path::{Path, PathBuf},
};

use policies::{ratio::Split, worker::Role};
use serde_json::Value as Json;
use toml::{Table, Value};

use crate::get::{GetError, Getter};

/// Fewer workers have one split, and nothing to compare.
const FEWEST_WORKERS: usize = 3;

/// The flag of simulated workers.
const TIME_SCALE: &str = "--time-scale";

/// A cluster file.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    path: PathBuf,
    table: Table,
}

/// Why the workers can't be had.
#[derive(Debug)]
pub enum ClusterError {
    Read {
        path: PathBuf,
        error: io::Error,
    },
    NotToml {
        path: PathBuf,
        error: toml::de::Error,
    },
    FewWorkers {
        path: PathBuf,
        found: usize,
    },
    PortTaken {
        worker: String,
        port: u16,
    },
    TimeScale {
        found: String,
        asked: f64,
    },
    NoRole {
        url: String,
        error: GetError,
    },
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => {
                write!(f, "--cluster: cannot read {}: {error}", path.display())
            }
            Self::NotToml { path, error } => {
                write!(f, "--cluster: {} is not TOML: {error}", path.display())
            }
            Self::FewWorkers { path, found } => write!(
                f,
                "--cluster: {} has {found} workers; with fewer than {FEWEST_WORKERS} there is one split and nothing to \
                 compare",
                path.display()
            ),
            Self::PortTaken { worker, port } => write!(
                f,
                "port {port} of worker {worker} is taken: end what listens there, or give the worker another one"
            ),
            Self::TimeScale { found, asked } => write!(
                f,
                "--cluster: workers are started with {TIME_SCALE} {found}, and the experiment with {asked}: give both the \
                 same"
            ),
            Self::NoRole { url, error } => write!(
                f,
                "the worker at {url} does not say which role it has: {error}; start it first, or leave its url away and \
                 have it started"
            ),
        }
    }
}

impl std::error::Error for ClusterError {}

impl Cluster {
    pub(super) fn load(path: &Path) -> Result<Self, ClusterError> {
        let text = std::fs::read_to_string(path).map_err(|error| ClusterError::Read {
            path: path.to_owned(),
            error,
        })?;
        let table = text.parse().map_err(|error| ClusterError::NotToml {
            path: path.to_owned(),
            error,
        })?;
        let path = path.to_owned();
        let cluster = Self { path, table };
        match cluster.workers().count() {
            found @ ..FEWEST_WORKERS => Err(ClusterError::FewWorkers {
                path: cluster.path,
                found,
            }),
            _ => Ok(cluster),
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Table> {
        let workers = self.table.get("worker").and_then(Value::as_array);
        workers.into_iter().flatten().filter_map(Value::as_table)
    }

    pub(super) fn len(&self) -> u32 {
        self.workers().count() as u32
    }

    /// The name of the model that requests ask for.
    pub(super) fn model(&self) -> &str {
        let defaults = self.table.get("defaults").and_then(Value::as_table);
        let tables = defaults.into_iter().chain(self.workers());
        let mut names = tables.filter_map(|table| table.get("model")?.as_str());
        names.next().unwrap_or("default")
    }

    /// What runs depend on: everything but the ports.
    pub(super) fn identity(&self) -> String {
        let mut table = self.table.clone();
        for worker in workers_of(&mut table) {
            worker.remove("port");
            worker.remove("bootstrap_port");
        }
        table.to_string()
    }

    /// Whether workers that are told a time scale in the file are told this one.
    pub(super) fn check_time_scale(&self, asked: f64) -> Result<(), ClusterError> {
        let defaults = self.table.get("defaults").and_then(Value::as_table);
        let tables = defaults.into_iter().chain(self.workers());
        for words in tables.filter_map(|table| table.get("command")?.as_array()) {
            let told = words
                .windows(2)
                .filter(|pair| pair[0].as_str() == Some(TIME_SCALE));
            for found in told.filter_map(|pair| pair[1].as_str()) {
                let is_asked = |scale: f64| scale.total_cmp(&asked).is_eq();
                if !found.parse().is_ok_and(is_asked) {
                    let found = found.to_owned();
                    return Err(ClusterError::TimeScale { found, asked });
                }
            }
        }
        Ok(())
    }

    /// Whether the ports are free of the workers that are to be started.
    pub(super) fn check_ports(&self) -> Result<(), ClusterError> {
        for worker in self.workers().filter(|worker| is_started(worker)) {
            for key in ["port", "bootstrap_port"] {
                // What is no port is refused by the router, with the name of the key.
                let port = worker.get(key).and_then(Value::as_integer);
                let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else {
                    continue;
                };
                if TcpListener::bind(("127.0.0.1", port)).is_err() {
                    let worker = name(worker).to_owned();
                    return Err(ClusterError::PortTaken { worker, port });
                }
            }
        }
        Ok(())
    }

    /// The file for a router that is to begin with `split`. Workers that are started get its roles, in their order; those
    /// that run already keep theirs, and the router has to be asked for the rest of the way.
    pub(super) async fn beginning_with(&self, split: Split) -> Result<String, ClusterError> {
        let getter = Getter::new();
        let mut live = Vec::new();
        for worker in self.workers() {
            live.push(match worker.get("url").and_then(Value::as_str) {
                Some(url) => Some(live_role(&getter, url).await?),
                None => None,
            });
        }
        let prefill = |role: &&Option<Role>| **role == Some(Role::Prefill);
        let running = live.iter().filter(prefill).count() as u32;
        let mut to_start = split.prefill.saturating_sub(running);
        let mut table = self.table.clone();
        for (worker, live) in workers_of(&mut table).zip(live) {
            let role = live.unwrap_or(if to_start > 0 {
                to_start -= 1;
                Role::Prefill
            } else {
                Role::Decode
            });
            worker.insert("role".to_owned(), role.as_str().into());
        }
        Ok(table.to_string())
    }
}

fn workers_of(table: &mut Table) -> impl Iterator<Item = &mut Table> {
    let workers = table.get_mut("worker").and_then(Value::as_array_mut);
    workers
        .into_iter()
        .flatten()
        .filter_map(Value::as_table_mut)
}

fn is_started(worker: &Table) -> bool {
    !worker.contains_key("url")
}

fn name(worker: &Table) -> &str {
    worker.get("name").and_then(Value::as_str).unwrap_or("?")
}

async fn live_role(getter: &Getter, url: &str) -> Result<Role, ClusterError> {
    let info = format!("{}/model_info", url.trim_end_matches('/'));
    let text = getter.get(&info).await;
    let text = text.map_err(|error| ClusterError::NoRole {
        url: url.to_owned(),
        error,
    })?;
    let info: Json = serde_json::from_str(&text).unwrap_or_default();
    // The router finds out about a worker that is neither.
    Ok(if info["disaggregation_mode"] == "prefill" {
        Role::Prefill
    } else {
        Role::Decode
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[defaults]\nmodel = \"m\"\n\
        [[worker]]\nname = \"a\"\nrole = \"decode\"\nport = 1\nbootstrap_port = 2\n\
        [[worker]]\nname = \"b\"\nrole = \"decode\"\nport = 3\nbootstrap_port = 4\n\
        [[worker]]\nname = \"c\"\nrole = \"prefill\"\nport = 5\nbootstrap_port = 6\n";

    fn cluster(text: &str) -> Cluster {
        Cluster {
            path: PathBuf::new(),
            table: text.parse().unwrap(),
        }
    }

    #[tokio::test]
    async fn workers_that_are_started_get_the_roles_of_the_split_in_their_order() {
        for (split, expected) in [
            ("1P2D", ["prefill", "decode", "decode"]),
            ("2P1D", ["prefill", "prefill", "decode"]),
        ] {
            let text = cluster(FILE)
                .beginning_with(split.parse().unwrap())
                .await
                .unwrap();
            let written = cluster(&text);
            let roles: Vec<_> = written
                .workers()
                .map(|worker| worker["role"].as_str().unwrap())
                .collect();
            assert_eq!(roles, expected, "{split}");
        }
    }

    #[test]
    fn a_file_on_other_ports_is_the_same_cluster() {
        let moved = FILE.replace("port = 3", "port = 7");
        assert_eq!(cluster(FILE).identity(), cluster(&moved).identity());
        let another = FILE.replace("\"m\"", "\"n\"");
        assert_ne!(cluster(FILE).identity(), cluster(&another).identity());
    }

    #[test]
    fn workers_of_another_time_scale_are_refused() {
        let command = "[defaults]\ncommand = [\"w\", \"--time-scale\", \"0.50\"]\n";
        let told = cluster(&FILE.replace("[defaults]\n", command));
        assert!(told.check_time_scale(0.5).is_ok());
        assert!(told.check_time_scale(1.0).is_err());
        assert!(cluster(FILE).check_time_scale(1.0).is_ok());
    }

    #[test]
    fn a_port_that_somebody_has_is_named_with_its_worker() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = FILE.replace("bootstrap_port = 4", &format!("bootstrap_port = {port}"));
        let error = cluster(&taken).check_ports().unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {port} of worker b is taken")),
            "{error}"
        );
    }
}
