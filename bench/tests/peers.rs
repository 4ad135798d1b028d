//! The bench of peers, with this repository's router alone: real processes, a real load, and its figures.

#![cfg(target_os = "linux")]

use pd_bench::{
    child::{Child, Launch},
    peers::{
        contender::{Contender, Policy, Programs, Setup, arguments},
        fleet::{Fleet, Ports, Workers},
        results::Results,
        scenario::{Scenario, Unit, Work},
        turn::Stage,
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A folder of this test's own, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let unique = format!("{name}-{:x}", fastrand::u64(..));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        fs::create_dir(&path).expect("the name is new");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BENCH: &str = env!("CARGO_BIN_EXE_pd-bench");

#[test]
fn every_contender_is_told_of_the_same_workers() {
    let folder = Folder::new("peers-commands");
    let workers = Ports {
        prefill: vec![(1, 11), (2, 12)],
        decode: vec![3, 4],
    };
    let setup = Setup {
        workers: &workers,
        policy: Policy::PowerOfTwo,
        port: 80,
        metrics_port: 90,
        certificate: None,
        folder: &folder.0,
    };
    let flags = "--pd-disaggregation --prefill http://127.0.0.1:1 11 --prefill http://127.0.0.1:2 12 \
                 --decode http://127.0.0.1:3 --decode http://127.0.0.1:4 --host 127.0.0.1 --port 80 \
                 --prometheus-host 127.0.0.1 --prometheus-port 90 --policy power_of_two \
                 --worker-startup-check-interval 1 --log-level warn";
    let smg = " --max-concurrent-requests 65536 --disable-tokenizer-autoload";
    let path = |name| folder.0.join(name).display().to_string();
    let table = [
        (Contender::Direct, String::new()),
        (Contender::AdaptiveRouter, flags.to_owned()),
        (Contender::SglangRouter, format!("launch {flags}")),
        (Contender::Smg, format!("launch {flags}{smg}")),
        (
            Contender::Nginx,
            format!(
                "-p {} -e stderr -c {}",
                folder.0.display(),
                path("nginx.conf")
            ),
        ),
        (
            Contender::Haproxy,
            format!("-db -q -f {}", path("haproxy.cfg")),
        ),
    ];
    for (contender, expected) in table {
        let given = arguments(contender, &setup).unwrap();
        let given: Vec<_> = given.iter().map(|flag| flag.to_str().unwrap()).collect();
        assert_eq!(given.join(" "), expected, "{contender}");
    }
    for file in ["nginx.conf", "haproxy.cfg"] {
        let text = fs::read_to_string(folder.0.join(file)).unwrap();
        for wanted in ["127.0.0.1:80", "127.0.0.1:3", "127.0.0.1:4"] {
            assert!(text.contains(wanted), "{file} lacks {wanted}:\n{text}");
        }
        assert!(
            !text.contains("127.0.0.1:1;"),
            "a relay knows no prefill worker"
        );
    }
}

/// The load without a router, which is also how far from their limit workers and load are: every kind of work.
#[tokio::test]
async fn a_load_straight_to_the_workers_is_answered_whole() {
    let folder = Folder::new("peers-direct");
    let programs = Programs::default();
    let stage = Stage {
        programs: &programs,
        cores: None,
        certificate: None,
        folder: &folder.0,
        warm_up: Duration::from_millis(100),
        window: Duration::from_millis(300),
        seed: 7,
    };
    for name in [
        "chat",
        "flood",
        "paced",
        "prompt-128k",
        "alone-stream",
        "held-2000",
    ] {
        let mut scenario = scenario(name);
        if let Work::Held { streams } = &mut scenario.work {
            // Fewer than the files that a process may open by default.
            *streams = 100;
        }
        let workers = Workers::start(Path::new(BENCH), &scenario.fleet)
            .await
            .unwrap();
        let figures = stage
            .turn(&scenario, &workers.ports, Contender::Direct)
            .await
            .unwrap();
        workers.stop().await.unwrap();
        assert_eq!(figures.failed(), 0, "{name}: {:?}", figures.failures);
        assert!(figures.units > 0, "{name} did nothing");
        assert_eq!(figures.cpu_seconds, None, "{name}: nobody was in between");
        match scenario.work.unit() {
            Unit::Request => assert!(figures.whole.is_some(), "{name}"),
            Unit::Event => assert!(figures.on_the_way.is_some(), "{name}"),
            Unit::Stream => assert_eq!(figures.units, 100, "{name}"),
        }
    }
}

fn scenario(name: &str) -> Scenario {
    let mut all = Scenario::all().into_iter();
    all.find(|scenario| scenario.name == name)
        .expect("there is such a scenario")
}

/// A whole quick run of the program that a user runs, with the router's program as it is built.
#[test]
fn a_quick_run_of_the_router_gives_figures_and_a_document() {
    let folder = Folder::new("peers-quick");
    let out = folder.0.join("results");
    let document = folder.0.join("performance.md");
    let peers = |flags: &[&str]| {
        let ran = Command::new(BENCH).arg("peers").args(flags).output();
        let ran = ran.expect("the bench was built for this test");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{said}");
    };
    let path = |path: &Path| path.to_str().expect("made of ASCII").to_owned();
    let router = format!("--router={}", path(&router()));
    let results = path(&out);
    let both = ["--contender=direct", "--contender=adaptive-router"];
    let scenarios = ["--scenario=chat", "--scenario=flood"];
    let to = ["--out", &results, &router, "--quick"];
    peers(&[&both[..], &scenarios[..], &to[..]].concat());
    for results in Results::read_all(&out).unwrap() {
        assert_eq!(results.turns.len(), 2);
        let mut ours = results.of(Contender::AdaptiveRouter);
        let (_, figures) = ours.next().expect("it had a turn that did not fail");
        assert_eq!(figures.failed(), 0, "{:?}", figures.failures);
        assert!(figures.cpu_micros_per_unit().is_some_and(|cost| cost > 0.0));
        assert!(figures.peak_kib.is_some_and(|kib| kib > 0));
    }
    peers(&["--report", &results, "--document", &path(&document)]);
    let text = fs::read_to_string(&document).unwrap();
    assert!(
        text.contains("| `chat`: small chat, 64 at once | CPU µs a request |"),
        "{text}"
    );
}

/// The router's program. A test of a workspace has built it; one of this package alone has not.
fn router() -> PathBuf {
    let built = Path::new(BENCH).with_file_name("adaptive-router");
    let target = Path::new(BENCH).ancestors().nth(2);
    let target = target.expect("programs are two folders deep in the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--package=adaptive-router"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let ran = cargo
        .arg("--target-dir")
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status();
    assert!(
        ran.is_ok_and(|status| status.success()),
        "the router builds"
    );
    built
}

/// Workers that can't be started are an error with a name, not a wait.
#[tokio::test]
async fn a_bench_that_is_not_there_starts_no_workers() {
    let missing = Path::new("/nonexistent/pd-bench");
    assert!(Workers::start(missing, &Fleet::of(2)).await.is_err());
    let launch = Launch {
        program: missing.into(),
        arguments: Vec::new(),
        ready: String::new(),
    };
    assert!(Child::spawn(&launch).is_err());
}
