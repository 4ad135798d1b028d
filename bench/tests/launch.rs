//! A router that starts its workers, with the stand-in for `sglang.launch_server` in their place: real processes, real
//! health checks, real requests.

#![cfg(target_os = "linux")]

use adaptive_router::{
    app::App,
    config::{Config, Parsed},
    launch::process::ProcessLauncher,
    workers::{Member, WorkerRegistry},
};
use pd_bench::child::free_ports;
use policies::{
    lifecycle::{WorkerEvent, WorkerState},
    worker::Role,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a busy machine: Python and the worker start within a second on an idle one.
const DEADLINE: Duration = Duration::from_secs(60);

struct Folder {
    path: PathBuf,
    /// Pairs of a port and a bootstrap port.
    ports: [u16; 6],
    worker_args: &'static str,
}

impl Folder {
    fn new(name: &str) -> Self {
        let unique = format!("{name}-{}", fastrand::u64(..));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        fs::create_dir(&path).expect("the name is new");
        let folder = Self {
            path,
            ports: free_ports().expect("the machine has free ports"),
            worker_args: "--zero-delay",
        };
        folder.write_cluster();
        folder
    }

    fn write_cluster(&self) {
        let stand_in = concat!(env!("CARGO_MANIFEST_DIR"), "/stand-in");
        let pd_bench = env!("CARGO_BIN_EXE_pd-bench");
        let mut text = format!(
            "[defaults]\nmodel = \"simulated\"\ncommand = [\"python3\", \"-m\", \"sglang.launch_server\", \"{{flags}}\"]\n\
             [defaults.env]\nPYTHONPATH = \"{stand_in}\"\nPD_BENCH = \"{pd_bench}\"\nSTAND_IN_WORKER_ARGS = \"{}\"\n",
            self.worker_args
        );
        for (place, ports) in self.ports.chunks(2).enumerate() {
            let role = if place == 0 { "prefill" } else { "decode" };
            let _ = writeln!(
                text,
                "[[worker]]\nname = \"w{place}\"\ngpus = [{place}]\nrole = \"{role}\"\nport = {}\nbootstrap_port = {}",
                ports[0], ports[1]
            );
        }
        fs::write(self.cluster(), text).expect("the folder was just made");
    }

    fn cluster(&self) -> PathBuf {
        self.path.join("cluster.toml")
    }

    /// The main process of a worker, as it is written down.
    fn main_of(&self, place: usize) -> Option<i32> {
        let text = fs::read(self.path.join("cluster.toml.state/workers.json")).ok()?;
        let state: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let pid = state["workers"][format!("w{place}")]["process"]["pid"].as_i64()?;
        i32::try_from(pid).ok()
    }

    fn log(&self, place: usize) -> String {
        let path = self.path.join(format!("cluster.toml.state/w{place}.log"));
        fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for main in (0..3).filter_map(|place| self.main_of(place)) {
            for pid in group_of(main) {
                kill(pid, Signal::KILL);
            }
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A router in this process.
struct Router {
    registry: Arc<WorkerRegistry>,
    launcher: ProcessLauncher,
    url: String,
    stop: CancellationToken,
    serving: JoinSet<()>,
}

impl Router {
    async fn start(folder: &Folder, flags: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let [port, metrics_port] = free_ports().expect("the machine has free ports");
        let mut args = vec![
            OsString::from("--cluster"),
            folder.cluster().into(),
            format!("--port={port}").into(),
            format!("--prometheus-port={metrics_port}").into(),
            "--host=127.0.0.1".into(),
            "--policy=round_robin".into(),
        ];
        args.extend(flags.iter().map(OsString::from));
        let Ok(Parsed::Run(config)) = Config::from_sources(args, &|_| None) else {
            panic!("good arguments");
        };
        let app = App::start(*config).await.expect("the ports are free");
        let registry = Arc::clone(&app.proxy().registry);
        let launcher = app.launcher().expect("there is a cluster file").clone();
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(app.run(stop.clone(), CancellationToken::new()));
        Self {
            registry,
            launcher,
            url: format!("http://127.0.0.1:{port}"),
            stop,
            serving,
        }
    }

    fn member(&self, place: usize) -> Member {
        self.registry.snapshot().members()[place].clone()
    }

    async fn all_serve(&self, folder: &Folder) {
        until(
            || (0..3).all(|place| self.member(place).state == WorkerState::Serving),
            || {
                let state = |place| {
                    let member = self.member(place);
                    let trouble = member.worker.metadata().trouble.clone();
                    format!(
                        "w{place} {:?} {trouble:?}\n{}\n",
                        member.state,
                        folder.log(place)
                    )
                };
                format!("all serve\n{}", (0..3).map(state).collect::<String>())
            },
        )
        .await;
    }

    /// Requests that check every answer, all of which have to be right.
    async fn is_right(&self) {
        let status = tokio::process::Command::new(env!("CARGO_BIN_EXE_pd-bench"))
            .args([
                "load",
                "--url",
                &self.url,
                "--requests=20",
                "--concurrency=4",
            ])
            .stdout(std::process::Stdio::null())
            .status()
            .await
            .expect("cargo has built it");
        assert!(status.success());
    }

    /// Changes a worker's role, as an executor of role changes does.
    async fn change_role(&self, place: usize, role: Role) {
        let id = self.member(place).worker.id;
        for event in [WorkerEvent::DrainRequested, WorkerEvent::Emptied] {
            let change = self.registry.apply(id, event);
            assert!(change.is_some(), "{event:?} means something now");
        }
        self.launcher
            .restart(id, role)
            .await
            .expect("its ports are its own");
        assert!(self.registry.set_role(id, role));
        // Instead of a verification: checked like one that starts.
        for event in [
            WorkerEvent::Switched,
            WorkerEvent::GaveUp,
            WorkerEvent::Relaunched,
        ] {
            let change = self.registry.apply(id, event);
            assert!(change.is_some(), "{event:?} means something now");
        }
    }

    async fn end(mut self) {
        self.stop.cancel();
        while self.serving.join_next().await.is_some() {}
    }

    /// Ends as on SIGKILL: whatever it does is not finished.
    async fn die(mut self) {
        self.serving.shutdown().await;
    }
}

async fn until(is_so: impl Fn() -> bool, what: impl Fn() -> String) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(
            Instant::now() < deadline,
            "not within {DEADLINE:?}: {}",
            what()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The processes of a group that run.
fn group_of(main: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("this is Linux").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let fields: Vec<_> = after_name.split(' ').collect();
        fields.first() != Some(&"Z") && fields.get(2) == Some(&main.to_string().as_str())
    })
    .collect()
}

/// The stand-in's scheduler: its child that isn't the server.
fn scheduler_of(main: i32) -> i32 {
    let is_scheduler = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != main && line.contains("sglang.launch_server")
    };
    group_of(main)
        .into_iter()
        .find(is_scheduler)
        .expect("it runs")
}

fn kill(pid: i32, signal: Signal) {
    // It may have ended by itself.
    let _ = kill_process(
        Pid::from_raw(pid).expect("no process has the number 0"),
        signal,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_workers_come_back_and_a_role_change_leaves_nothing_behind() {
    let folder = Folder::new("crashes");
    let router = Router::start(&folder, &["--stop-workers-on-exit"]).await;
    router.all_serve(&folder).await;
    router.is_right().await;

    // The main process, whose server holds the ports on; then the scheduler, which takes the main process along.
    for (place, whose) in [(0, "main"), (1, "scheduler")] {
        let main = folder.main_of(place).unwrap();
        let victim = if whose == "main" {
            main
        } else {
            scheduler_of(main)
        };
        kill(victim, Signal::KILL);
        until(
            || folder.main_of(place).is_some_and(|now| now != main),
            || "it is started again".into(),
        )
        .await;
        assert_eq!(group_of(main), [0; 0]);
        router.all_serve(&folder).await;
    }
    router.is_right().await;

    let main = folder.main_of(1).unwrap();
    router.change_role(1, Role::Prefill).await;
    assert_eq!(group_of(main), [0; 0]);
    router.all_serve(&folder).await;
    assert_eq!(router.member(1).role, Role::Prefill);
    router.is_right().await;

    let mains: Vec<_> = (0..3).filter_map(|place| folder.main_of(place)).collect();
    router.end().await;
    for main in mains {
        assert_eq!(group_of(main), [0; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_when_a_worker_is_told_to_end_is_finished() {
    let mut folder = Folder::new("in-flight");
    folder.worker_args = "--time-scale 1";
    folder.write_cluster();
    let router = Router::start(&folder, &["--stop-workers-on-exit"]).await;
    router.all_serve(&folder).await;
    let mut load = tokio::process::Command::new(env!("CARGO_BIN_EXE_pd-bench"))
        .args([
            "load",
            "--url",
            &router.url,
            "--requests=2",
            "--concurrency=2",
        ])
        // A few milliseconds a token: some seconds.
        .args(["--output-tokens=500", "--stream"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("cargo has built it");
    let streams = |place| router.member(place).worker.stats.streams();
    until(|| streams(1) + streams(2) == 2, || "both stream".into()).await;
    for place in [1, 2] {
        let id = router.member(place).worker.id;
        router
            .launcher
            .restart(id, Role::Decode)
            .await
            .expect("its ports are its own");
    }
    assert!(load.wait().await.expect("it runs").success());
    router.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_router_serves_with_the_same_processes_in_their_live_roles() {
    let folder = Folder::new("takeover");
    let router = Router::start(&folder, &[]).await;
    router.all_serve(&folder).await;
    router.change_role(2, Role::Prefill).await;
    router.all_serve(&folder).await;
    let mains = [0, 1, 2].map(|place| folder.main_of(place).unwrap());
    // What is written down of the role is older than the role.
    let path = folder.path.join("cluster.toml.state/workers.json");
    router.die().await;
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("\"role\": \"prefill\"", "\"role\": \"decode\""),
    )
    .unwrap();

    let router = Router::start(&folder, &["--stop-workers-on-exit"]).await;
    let roles = [0, 1, 2].map(|place| router.member(place).role);
    assert_eq!(roles, [Role::Prefill, Role::Decode, Role::Prefill]);
    router.all_serve(&folder).await;
    assert_eq!([0, 1, 2].map(|place| folder.main_of(place).unwrap()), mains);
    router.is_right().await;
    router.end().await;
}

#[test]
fn the_stand_in_refuses_what_sglang_refuses() {
    for flags in [
        &["--disaggregation-mode", "prefill"][..],
        &["--model-path", "m", "--no-such-flag"],
        &["--model-path", "m", "--disaggregation-mode", "both"],
    ] {
        let output = std::process::Command::new("python3")
            .args(["-m", "sglang.launch_server"])
            .args(flags)
            .env(
                "PYTHONPATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/stand-in"),
            )
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}
