//! What the program writes to its console and its files while it serves: run as a process, because a log is a
//! process's own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_adaptive-router");

/// Both are in requests and must be in no line.
const PROMPT: &str = "a recognisable prompt";
const KEY: &str = "a-recognisable-key";

/// Only a test that fails waits so long.
const LIMIT: Duration = Duration::from_secs(30);

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
    url: String,
    console: PathBuf,
    /// Held open: a program whose output nobody takes is another test.
    _stdout: BufReader<ChildStdout>,
}

impl Router {
    fn start(dir: &Path, flags: &[&str]) -> Self {
        Self::start_with(dir, flags, &[])
    }

    fn start_with(dir: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let console = dir.join("console");
        let mut child = Command::new(PROGRAM)
            .args([
                "--simulate",
                "--simulate-time-scale=0.001",
                "--disable-health-check",
            ])
            .args(["--port=0", "--prometheus-port=0", "--api-key", KEY])
            .args(flags)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(File::create(&console).expect("a file in an own directory"))
            .spawn()
            .expect("cargo has built it");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let url = loop {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).expect("text");
            assert_ne!(read, 0, "it ended: {:?}", std::fs::read_to_string(&console));
            let page = line.trim().strip_prefix("page");
            if let Some(url) = page.and_then(|page| page.trim().strip_suffix("/ui")) {
                break url.to_owned();
            }
        };
        Self {
            child,
            url,
            console,
            _stdout: stdout,
        }
    }

    /// The status of the answer, once all of it is there.
    async fn post(&self, path: &str, key: &str, body: String) -> u16 {
        // Only so that a client can be built: nothing is encrypted here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new()
            .post(format!("{}{path}", self.url))
            .bearer_auth(key)
            .body(body)
            .timeout(LIMIT);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        answer.bytes().await.expect("a whole answer");
        status
    }

    async fn generate(&self) {
        let body =
            json!({"text": PROMPT, "stream": true, "sampling_params": {"max_new_tokens": 4}});
        let status = self.post("/generate", KEY, body.to_string()).await;
        assert_eq!(status, 200);
    }

    /// Stops it as a service manager does; answers what it wrote to the console.
    fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill is there").success());
        assert!(self.child.wait().expect("a child of ours").success());
        std::fs::read_to_string(&self.console).expect("text")
    }
}

/// The log files in `dir`, and what stands in the newest.
fn files(dir: &Path) -> (Vec<String>, String) {
    let entries = std::fs::read_dir(dir).expect("the directory was made");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("listed")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| name.starts_with("adaptive-router."))
        .collect();
    names.sort();
    let newest = names.last().expect("a log file");
    let text = std::fs::read_to_string(dir.join(newest)).expect("text");
    (names, text)
}

fn messages(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect(line);
            let time = line["timestamp"].as_str().expect("a timestamp");
            assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
            let level = line["level"].as_str().expect("a level");
            assert!(
                ["DEBUG", "INFO", "WARN", "ERROR"].contains(&level),
                "{line}"
            );
            line["message"].as_str().expect("a message").to_owned()
        })
        .collect()
}

#[tokio::test]
async fn no_line_at_any_level_holds_a_prompt_a_body_or_a_key() {
    for (name, format) in [
        ("secrets-text", "--log-json=false"),
        ("secrets-json", "--log-json"),
    ] {
        let dir = directory(name);
        let log_dir = dir.to_str().expect("UTF-8");
        let router = Router::start(&dir, &["--log-level=debug", "--log-dir", log_dir, format]);
        router.generate().await;
        // What is refused is what one would like to see quoted.
        for body in [format!("{PROMPT} isn't JSON"), json!([PROMPT]).to_string()] {
            assert_eq!(router.post("/generate", KEY, body).await, 400);
        }
        let wrong = format!("{KEY}-wrong");
        assert_eq!(router.post("/generate", &wrong, "{}".to_owned()).await, 401);
        let console = router.stop();
        for text in [console, files(&dir).1] {
            assert!(text.contains("leg sent"), "no request was logged: {text}");
            assert!(!text.contains(PROMPT) && !text.contains(KEY), "{text}");
        }
    }
}

#[tokio::test]
async fn the_default_level_tells_of_changes_and_of_no_request() {
    let dir = directory("default-level");
    let log_dir = dir.to_str().expect("UTF-8");
    let router = Router::start(&dir, &["--log-json", "--log-dir", log_dir]);
    for _ in 0..20 {
        router.generate().await;
    }
    let console = messages(&router.stop());
    let changes = console
        .iter()
        .filter(|message| *message == "worker changed state");
    assert_eq!(changes.count(), 4, "{console:?}");
    let stopping = console.last().expect("lines");
    assert!(stopping.starts_with("stopping: "), "{stopping}");
    assert_eq!(console.len(), 5, "{console:?}");
    assert_eq!(messages(&files(&dir).1), console);
}

#[tokio::test]
async fn a_collector_that_is_away_is_one_line_and_no_request_fails() {
    let dir = directory("no-collector");
    // Each span is a batch of its own, and each batch fails at once: nobody listens on port 1.
    let environment = [
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "20"),
    ];
    let flags = ["--enable-trace", "--otlp-traces-endpoint=127.0.0.1:1"];
    let router = Router::start_with(&dir, &flags, &environment);
    for _ in 0..5 {
        router.generate().await;
    }
    let console = router.stop();
    let told = console.matches("traces do not reach the collector");
    assert_eq!(told.count(), 1, "{console}");
}

#[tokio::test]
async fn two_weeks_of_files_are_kept() {
    let dir = directory("retention");
    for day in 1..=20 {
        let name = format!("adaptive-router.2020-01-{day:02}.log");
        std::fs::write(dir.join(name), "old\n").expect("an own directory");
    }
    std::fs::write(dir.join("notes.txt"), "mine\n").expect("an own directory");
    Router::start(&dir, &["--log-dir", dir.to_str().expect("UTF-8")]).stop();
    let (names, newest) = files(&dir);
    assert_eq!(names.len(), 14, "{names:?}");
    assert!(newest.contains("worker changed state"), "{newest}");
    assert!(dir.join("notes.txt").exists());
}

#[test]
fn a_log_directory_that_cannot_be_made_is_named_in_one_line() {
    let dir = directory("not-a-directory").join("console");
    std::fs::write(&dir, "a file").expect("an own directory");
    let below = dir.join("logs");
    let output = Command::new(PROGRAM)
        .args(["--simulate", "--port=0", "--prometheus-port=0", "--log-dir"])
        .arg(&below)
        .output()
        .expect("cargo has built it");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    let begin = format!(
        "adaptive-router: error: cannot create the log directory {}: ",
        below.display()
    );
    assert!(said.starts_with(&begin), "{said}");
    assert!(
        said.ends_with("; choose another with --log-dir\n"),
        "{said}"
    );
}
