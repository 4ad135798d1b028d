//! The workers: what the router is told of them, and their processes as the system sees them.

use std::{
    fmt::Write as _,
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

use super::RunError;
use crate::child::free_ports;

pub(super) const WORKERS: usize = 4;

/// In the environment of every process of a run, so that what it left behind is found.
const MARK: &str = "ROLE_CHANGES_RUN";

/// Which process of a worker dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Main,
    /// With which the rest of the worker ends.
    Scheduler,
}

pub(super) struct Fleet {
    folder: PathBuf,
    mark: String,
    ports: [u16; 2 * WORKERS],
}

impl Fleet {
    /// Writes the cluster file: two prefill and two decode workers.
    pub(super) fn new(in_place: bool, stand_in: &Path) -> Result<Self, RunError> {
        let mark = format!("{:016x}", fastrand::u64(..));
        let folder = std::env::temp_dir().join(format!("role-changes-{mark}"));
        fs::create_dir(&folder).map_err(|error| RunError::Io("cannot make a folder", error))?;
        let fleet = Self {
            folder,
            mark,
            ports: free_ports().map_err(|error| RunError::Io("no free ports", error))?,
        };
        let stand_in = stand_in
            .canonicalize()
            .map_err(|error| RunError::Io("cannot find the stand-in for sglang", error))?;
        let pd_bench = std::env::current_exe()
            .map_err(|error| RunError::Io("cannot find this program", error))?;
        let text = fleet.cluster_file(in_place, &stand_in, &pd_bench);
        fs::write(fleet.cluster(), text)
            .map_err(|error| RunError::Io("cannot write the cluster file", error))?;
        Ok(fleet)
    }

    fn cluster_file(&self, in_place: bool, stand_in: &Path, pd_bench: &Path) -> String {
        let (backend, args) = if in_place {
            (
                "mooncake",
                r#""--enable-pd-role-switch", "--disable-radix-cache""#,
            )
        } else {
            ("nixl", "")
        };
        let mut text = format!(
            "[defaults]\nmodel = \"simulated\"\nhost = \"localhost\"\ntransfer_backend = \"{backend}\"\nargs = [{args}]\n\
             command = [\"python3\", \"-m\", \"sglang.launch_server\", \"{{flags}}\"]\n\
             [defaults.env]\nPYTHONPATH = {stand_in:?}\nPD_BENCH = {pd_bench:?}\n\
             STAND_IN_WORKER_ARGS = \"--time-scale 0.02\"\n{MARK} = \"{}\"\n",
            self.mark
        );
        for (place, ports) in self.ports.chunks(2).enumerate() {
            let role = if place < 2 { "prefill" } else { "decode" };
            let _ = writeln!(
                text,
                "[[worker]]\nname = \"w{place}\"\ngpus = [{place}]\nrole = \"{role}\"\nport = {}\nbootstrap_port = {}",
                ports[0], ports[1]
            );
        }
        text
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.folder.join("cluster.toml")
    }

    /// The main processes of the workers, as the router has them written down.
    pub(super) fn mains(&self) -> Result<[Option<i32>; WORKERS], RunError> {
        let path = self.folder.join("cluster.toml.state/workers.json");
        let text = fs::read(path).map_err(|error| RunError::Io("no state file", error))?;
        let state: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let main = |place: usize| {
            let pid = state["workers"][format!("w{place}")]["process"]["pid"].as_i64();
            pid.and_then(|pid| i32::try_from(pid).ok())
        };
        Ok(std::array::from_fn(main))
    }

    /// Kills a process of a worker. `false` where there is none: the worker is being started.
    pub(super) fn kill(&self, worker: usize, victim: Victim) -> Result<bool, RunError> {
        let Some(main) = self.mains()?[worker] else {
            return Ok(false);
        };
        let pid = match victim {
            Victim::Main => Some(main),
            // The scheduler is forked from the main process and runs the same program.
            Victim::Scheduler => self.processes()?.into_iter().find(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                parent(&stat) == Some(main) && stat.contains("(python")
            }),
        };
        let killed = pid
            .and_then(Pid::from_raw)
            .is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok());
        Ok(killed)
    }

    /// The processes of this run, the router aside.
    pub(super) fn processes(&self) -> Result<Vec<i32>, RunError> {
        let mark = format!("{MARK}={}", self.mark);
        let list = |error: io::Error| RunError::Io("cannot list processes", error);
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").map_err(list)? {
            let entry = entry.map_err(list)?;
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // A process that ends meanwhile has none any more.
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment
                .split(|byte| *byte == 0)
                .any(|one| one == mark.as_bytes())
            {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Ports of the workers that somebody still has.
    pub(super) fn bound_ports(&self) -> usize {
        let bound = |port: &&u16| TcpListener::bind(("127.0.0.1", **port)).is_err();
        self.ports.iter().filter(bound).count()
    }
}

/// The parent in a line of `/proc/PID/stat`: the second field after the name, which ends at the last parenthesis.
fn parent(stat: &str) -> Option<i32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for pid in self.processes().unwrap_or_default() {
            if let Some(pid) = Pid::from_raw(pid) {
                // Gone already is as good.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
