//! The experiment by the clock, whole and small: the router's program, simulated workers as processes, two arms.

#![cfg(target_os = "linux")]

use pd_bench::{child::free_ports, experiment::live::results::LiveResults};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PD_BENCH: &str = env!("CARGO_BIN_EXE_pd-bench");

/// In the environment of every process of a run, so that what it left behind is found.
const MARK: &str = "LIVE_EXPERIMENT";

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

struct Folder {
    path: PathBuf,
    mark: String,
}

impl Folder {
    /// With the file of three workers that are ten times as fast as their model.
    fn new() -> Self {
        let mark = format!("{:016x}", fastrand::u64(..));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("live-{mark}"));
        fs::create_dir(&path).expect("the name is new");
        let mut text = format!(
            "[defaults]\nmodel = \"simulated\"\nhost = \"localhost\"\ntransfer_backend = \"mooncake\"\n\
             args = [\"--enable-pd-role-switch\", \"--disable-radix-cache\"]\n\
             command = [\"{PD_BENCH}\", \"simulated-worker\", \"--role\", \"{{role}}\", \"--port\", \"{{port}}\", \
             \"--bootstrap-port\", \"{{bootstrap_port}}\", \"--enable-pd-role-switch\", \"--time-scale\", \"0.1\"]\n"
        );
        let ports: [u16; 6] = free_ports().expect("the machine has free ports");
        for (place, ports) in ports.chunks(2).enumerate() {
            let _ = writeln!(
                text,
                "[[worker]]\nname = \"w{place}\"\nrole = \"decode\"\nport = {}\nbootstrap_port = {}",
                ports[0], ports[1]
            );
        }
        fs::write(path.join("cluster.toml"), text).expect("the folder was just made");
        Self { path, mark }
    }

    /// Two arms; about 3 requests a second of the model's time for `seconds` of it.
    fn experiment(&self, seconds: u32) -> Command {
        let mut command = Command::new(PD_BENCH);
        command
            .args(["experiment", "--live", "--time-scale=0.1", "--phases=2"])
            .args([
                "--arms=1P2D,controller",
                "--kinds=256/16,64/64",
                "--rates=3,3",
            ])
            .arg(format!("--phase-seconds={}", seconds / 2))
            .arg("--cluster")
            .arg(self.path.join("cluster.toml"))
            .arg("--router")
            .arg(router())
            .arg("--out")
            .arg(self.path.join("out"))
            .env(MARK, &self.mark)
            .stdout(Stdio::null());
        command
    }

    fn processes(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}", self.mark);
        let entries = fs::read_dir("/proc").expect("this is Linux").flatten();
        let has_mark = |pid: &i32| {
            // A process that ends meanwhile has none any more.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|one| one == mark.as_bytes())
        };
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(has_mark).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for pid in self.processes() {
            if let Some(pid) = Pid::from_raw(pid) {
                // Gone already is as good.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The router's program. Cargo makes it for the tests of the workspace, and not for those of this package alone.
fn router() -> PathBuf {
    let router = Path::new(PD_BENCH).with_file_name("adaptive-router");
    if !router.exists() {
        let target = Path::new(PD_BENCH).ancestors().nth(2);
        let mut build = Command::new(env!("CARGO"));
        build
            .args([
                "build",
                "--quiet",
                "--package",
                "adaptive-router",
                "--target-dir",
            ])
            .arg(target.expect("programs lie in target/PROFILE"))
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs this").success());
    }
    router
}

fn until(is_so: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_arm_has_its_row_every_request_its_end_and_no_process_is_left() {
    let folder = Folder::new();
    let status = folder.experiment(20).status().expect("cargo has built it");
    assert!(status.success());
    assert_eq!(folder.processes(), [0; 0]);

    let text = fs::read_to_string(folder.path.join("out/live.json")).unwrap();
    let results: LiveResults = serde_json::from_str(&text).unwrap();
    let arms: Vec<_> = results.arms.iter().map(|live| live.arm.as_str()).collect();
    assert_eq!(arms, ["1P2D", "controller"]);
    for run in results.arms.iter().flat_map(|live| &live.runs) {
        let played = run.live.figures;
        assert!(played.requests > 20, "{played:?}");
        assert_eq!(played.failed, 0);
        for simulated in &run.simulated {
            assert_eq!(simulated.figures.requests, played.requests);
        }
    }
    let table = fs::read_to_string(folder.path.join("out/live.txt")).unwrap();
    assert!(table.starts_with("Live and simulated"), "{table}");

    // What was played is not played again: it isn't even tried with a router that isn't there for long.
    let again = folder.experiment(20).status().expect("cargo has built it");
    assert!(again.success());
    let same = fs::read_to_string(folder.path.join("out/live.json")).unwrap();
    assert_eq!(same, text);
}

#[test]
fn one_that_is_told_to_end_takes_router_and_workers_along() {
    let folder = Folder::new();
    let mut running = Running(
        folder
            .experiment(6_000)
            .spawn()
            .expect("cargo has built it"),
    );
    // Itself, the router, and three workers.
    until(|| folder.processes().len() == 5, "workers run");
    let pid = i32::try_from(running.0.id()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    let status = running.0.wait().unwrap();
    assert_eq!(status.code(), Some(1), "it says that it was interrupted");
    assert_eq!(folder.processes(), [0; 0]);
}

/// Killed, should the test fail before its end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[test]
fn what_is_wrong_is_said_before_anything_is_started() {
    let folder = Folder::new();
    let cluster = folder.path.join("cluster.toml");
    let text = fs::read_to_string(&cluster).unwrap();
    let table = [
        (text.replace("\"0.1\"", "\"1\""), "give both the same"),
        (text.replace("[defaults]", "[defaults"), "is not TOML"),
        ("[defaults]\n".to_owned(), "has 0 workers"),
    ];
    for (text, expected) in table {
        fs::write(&cluster, text).unwrap();
        let output = folder.experiment(20).output().expect("cargo has built it");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(expected),
            "{said}"
        );
    }
}
