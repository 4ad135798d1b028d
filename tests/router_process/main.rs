//! The program itself in trouble: a port that is taken, a full disk, the order to end while streams run.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_adaptive-router");

/// Only a test that fails waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// An empty directory of this test's own.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("cargo's directory can be written");
    path
}

/// A router with simulated workers.
struct Router {
    child: Child,
    /// `127.0.0.1:PORT`
    address: String,
    console: PathBuf,
    /// Held open: a program whose output nobody takes is another test.
    _stdout: BufReader<ChildStdout>,
}

impl Router {
    fn start(name: &str, flags: &[&str]) -> Self {
        let console = directory(name).join("console");
        let mut child = Command::new(PROGRAM)
            .args(["--simulate", "--disable-health-check", "--port=0"])
            .args(["--prometheus-port=0", "--host=127.0.0.1"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(File::create(&console).expect("a file in an own directory"))
            .spawn()
            .expect("cargo has built it");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let address = loop {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).expect("text");
            assert_ne!(read, 0, "it ended: {:?}", std::fs::read_to_string(&console));
            let page = line.trim().strip_prefix("page");
            if let Some(url) = page.and_then(|page| page.trim().strip_suffix("/ui")) {
                break url.trim_start_matches("http://").to_owned();
            }
        };
        Self {
            child,
            address,
            console,
            _stdout: stdout,
        }
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Its exit, and what it wrote to the console.
    fn ended(mut self) -> (bool, String) {
        let status = self.child.wait().expect("a child of ours");
        let console = std::fs::read_to_string(&self.console).expect("text");
        (status.success(), console)
    }

    async fn stream(&self, tokens: u32) -> reqwest::Response {
        // Only so that a client can be built: nothing is encrypted here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sampling = json!({"max_new_tokens": tokens, "ignore_eos": true});
        let body = json!({"text": "a", "stream": true, "sampling_params": sampling});
        let request = reqwest::Client::new()
            .post(format!("http://{}/generate", self.address))
            .body(body.to_string())
            .timeout(LIMIT);
        request.send().await.expect("a head")
    }
}

#[test]
fn a_metrics_port_that_is_taken_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("any port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let output = Command::new(PROGRAM)
        .args(["--simulate", "--port=0", "--host=127.0.0.1"])
        .args(["--prometheus-host=127.0.0.1", "--prometheus-port", &port])
        .output()
        .expect("cargo has built it");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success());
    assert!(
        said.contains(&port) && said.contains("--prometheus-port") && !said.contains("panicked"),
        "{said}"
    );
}

#[tokio::test]
async fn sigterm_lets_every_stream_end_and_takes_no_new_connection() {
    let router = Router::start("sigterm", &["--simulate-time-scale=2"]);
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = router.stream(60).await;
        // It has begun, and goes on for half a second.
        let first = stream.chunk().await.expect("a piece").expect("a token");
        streams.push((stream, first.to_vec()));
    }
    router.terminate();
    let told = Instant::now();
    while TcpStream::connect(&router.address).is_ok() {
        assert!(told.elapsed() < LIMIT, "it still takes connections");
        std::thread::yield_now();
    }
    for (mut stream, mut bytes) in streams {
        while let Some(piece) = stream.chunk().await.expect("it isn't cut") {
            bytes.extend_from_slice(&piece);
        }
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        assert!(text.contains("\"completion_tokens\":60"), "{text}");
    }
    let (success, console) = router.ended();
    assert!(success, "{console}");
    assert!(!console.contains("are cut"), "{console}");
}

#[tokio::test]
async fn a_full_disk_loses_lines_of_logs_and_no_request_and_says_so_once() {
    let flags = [
        "--simulate-time-scale=0.001",
        "--request-log=/dev/full",
        "--decision-log=/dev/full",
        "--policy=ratio-controller",
    ];
    let router = Router::start("full-disk", &flags);
    for _ in 0..8 {
        let answer = router.stream(4).await;
        assert!(answer.status().is_success());
        let text = answer.text().await.expect("a whole answer");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    router.terminate();
    let (success, console) = router.ended();
    assert!(success, "{console}");
    let about = |log: &str| {
        let lines = console.lines();
        lines
            .filter(|line| line.contains(log) && line.contains("cannot be written"))
            .count()
    };
    assert_eq!(about("--request-log /dev/full"), 1, "{console}");
    assert_eq!(about("--decision-log /dev/full"), 1, "{console}");
}
