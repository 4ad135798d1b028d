//! A supervisor over scripts, with everything it leaves in a folder of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adaptive_router::cluster::Cluster;
use adaptive_router::config::Config;
use adaptive_router::launch::process::{
    Patience, ProcessLauncher, ProcessSettings, StartError, Supervisor, Surroundings,
};
use adaptive_router::telemetry::Metrics;
use adaptive_router::upstream::Upstream;
use adaptive_router::workers::{Member, WorkerRegistry};
use policies::lifecycle::{WorkerEvent, WorkerState};
use policies::time::Timestamp;
use policies::worker::WorkerId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// A main process with a child. It writes down who they are and in which role, then does what the folder's `mode` says.
const SCRIPT: &str = r#"
mode=$(cat "$DIR/mode")
case $mode in stubborn) trap '' TERM ;; *) trap 'exit 0' TERM ;; esac
sleep 600 & child=$!
echo "$$ $child $1" > "$DIR/$2.new" && mv "$DIR/$2.new" "$DIR/$2"
case $mode in
    crash) exit 3 ;;
    chatty) while :; do echo 0123456789; done ;;
esac
wait $child
exit 4
"#;

/// What a test has on the disk: it is still there when the router isn't.
pub(crate) struct Folder {
    path: PathBuf,
    /// A port and a bootstrap port for each worker that there may be.
    ports: Vec<u16>,
}

const WORKERS: [&str; 3] = ["a", "b", "c"];

impl Folder {
    pub(crate) fn new(mode: &str) -> Self {
        let name = format!("launch-{}", uuid::Uuid::new_v4());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir(&path).expect("the name is new");
        fs::write(path.join("script"), SCRIPT).expect("the folder was just made");
        let ports = free_ports(2 * WORKERS.len());
        let folder = Self { path, ports };
        folder.behave(mode);
        folder.list(&["a", "b"], "");
        folder
    }

    pub(crate) fn behave(&self, mode: &str) {
        fs::write(self.path.join("mode"), mode).expect("the folder is ours");
    }

    /// From now on other ports are listed.
    pub(crate) fn move_ports(&mut self) {
        self.ports = free_ports(2 * WORKERS.len());
    }

    /// Writes the cluster file with these workers; `a` is the prefill.
    pub(crate) fn list(&self, workers: &[&str], argument: &str) {
        let dir = self.path.display();
        let mut text = format!("[defaults]\nmodel = \"m\"\nenv = {{ DIR = \"{dir}\" }}\n");
        let all = WORKERS.iter().zip(self.ports.chunks(2));
        for (name, ports) in all.filter(|(name, _)| workers.contains(name)) {
            let role = if *name == "a" { "prefill" } else { "decode" };
            let _ = writeln!(
                text,
                "[[worker]]\nname = \"{name}\"\nrole = \"{role}\"\nport = {}\nbootstrap_port = {}\n\
                 command = [\"/bin/sh\", \"{dir}/script\", \"{{role}}\", \"{name}\", \"{argument}\"]",
                ports[0], ports[1]
            );
        }
        fs::write(self.path.join("cluster.toml"), text).expect("the folder is ours");
    }

    /// The main process, its child and the role of the worker that was started last under this name.
    pub(crate) fn started(&self, worker: &str) -> Option<(i32, i32, String)> {
        let text = fs::read_to_string(self.path.join(worker)).ok()?;
        let mut words = text.split_whitespace();
        let mut number = || words.next()?.parse().ok();
        Some((number()?, number()?, words.next()?.to_owned()))
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path.join("state")
    }

    pub(crate) fn state(&self) -> serde_json::Value {
        let text = fs::read(self.state_dir().join("workers.json")).expect("a router has run");
        serde_json::from_slice(&text).expect("the file is whole at any time")
    }

    pub(crate) async fn route(&self) -> Result<Router, StartError> {
        self.route_with(false).await
    }

    pub(crate) async fn route_with(&self, stop_on_exit: bool) -> Result<Router, StartError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Config::default();
        let surroundings = Surroundings {
            registry: Arc::new(WorkerRegistry::new(config.breaker, |_| {})),
            upstream: Upstream::new(config.timeouts.connect, &config.upstream_tls)
                .expect("no TLS files are read"),
            metrics: Arc::new(Metrics::default()),
        };
        let settings = ProcessSettings {
            state_dir: self.state_dir(),
            stop_timeout: STOP_TIMEOUT,
            stop_on_exit,
            patience: Patience {
                first_pause: Duration::from_millis(10),
                longest_pause: Duration::from_millis(20),
                crashes: 3,
                ..Patience::default()
            },
            log_bytes: 4096,
        };
        let cluster =
            Cluster::load(&self.path.join("cluster.toml")).expect("it is as `list` writes it");
        let (launcher, supervisor) =
            Supervisor::start(Arc::new(cluster), surroundings.clone(), settings).await?;
        let cancel = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(supervisor.run(cancel.clone()));
        Ok(Router {
            launcher,
            surroundings,
            cancel,
            tasks,
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What a failed test leaves is killed by what it wrote down.
        for worker in WORKERS {
            if let Some((main, child, _)) = self.started(worker) {
                kill(main);
                kill(child);
            }
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// As much of a router as keeps workers.
pub(crate) struct Router {
    pub(crate) launcher: ProcessLauncher,
    pub(crate) surroundings: Surroundings,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

impl Router {
    /// The worker of the file's place.
    pub(crate) fn member(&self, place: usize) -> Member {
        self.surroundings.registry.snapshot().members()[place].clone()
    }

    pub(crate) fn id(&self, place: usize) -> WorkerId {
        self.member(place).worker.id
    }

    pub(crate) fn apply(&self, id: WorkerId, events: &[WorkerEvent]) {
        for event in events {
            let change = self.surroundings.registry.apply(id, *event);
            assert!(change.is_some(), "{event:?} means something now");
        }
    }

    pub(crate) async fn state_becomes(&self, place: usize, state: WorkerState) {
        until(&format!("worker {place} is {state:?}"), || {
            self.member(place).state == state
        })
        .await;
    }

    /// The metrics as they are scraped.
    pub(crate) fn shown(&self) -> String {
        let set = self.surroundings.registry.snapshot();
        let text = self.surroundings.metrics.render(&set, Timestamp::ZERO);
        String::from_utf8(text).expect("an exposition is text")
    }

    /// Ends as on SIGTERM.
    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Ends as on SIGKILL.
    pub(crate) async fn die(mut self) {
        self.tasks.shutdown().await;
    }
}

pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the process is there and runs.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
    state.is_some_and(|state| state != b'Z')
}

pub(crate) fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("no process has the number 0");
    // It may have ended by itself.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Different ports on which nobody listens, below those of outgoing connections.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = Vec::new();
    while held.len() < count {
        held.extend(TcpListener::bind(("127.0.0.1", fastrand::u16(12_000..29_000))).ok());
    }
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    held.iter().map(port).collect()
}
