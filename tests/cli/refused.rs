//! Command lines that don't work: each gives one line that says what to change.

use std::process::Command;

use expect_test::expect_file;

use super::{file, parse, parse_with};

/// What can be typed wrong, one line each; the answers stand in the golden file.
const BAD: &[&str] = &[
    // flags
    "--prot 1",
    "foo",
    "launch launch",
    "--port",
    "--config",
    "--pref http://a:1",
    "--disable-retries x",
    "--disable-retries=maybe",
    // numbers
    "--port abc",
    "--port -5",
    "--port 70000",
    "--retry-max-retries 0",
    "--retry-max-retries -1",
    "--max-concurrent-requests x",
    "--balance-abs-threshold -1",
    "--balance-rel-threshold 0.5",
    "--cache-threshold 2",
    "--cache-threshold NaN",
    "--retry-jitter-factor 3",
    "--request-timeout-secs 0",
    "--eviction-interval-secs 0",
    "--idle-timeout-secs 1e300",
    "--retry-max-backoff-ms 18446744073709551615",
    "--queue-timeout-secs ten",
    "--simulate-prefill 0",
    "--simulate-time-scale 0",
    "--max-payload-size 0",
    "--prometheus-duration-buckets",
    // names
    "--policy fifo",
    "--policy bucket",
    "--decode-policy bucket",
    "--assignment-mode max_load",
    "--log-level trace",
    "--tool-call-parser zzz",
    "--history-backend mysql",
    // addresses
    "--host a:1",
    "--prefill localhost:30000",
    "--prefill ftp://a:1",
    "--prefill http://a:1 0",
    "--prefill http://a:1 70000",
    "--prefill http://a:1 http://b:1",
    "--prefill http://a:1 1 2",
    "--prefill",
    "--decode http://a:1 http://b:1",
    "--decode grpc://a:1",
    "--decode http://",
    "--worker-urls http://a:1?x=1",
    "--worker-urls http://me@a:1",
    "--worker-urls http://a:99999",
    "--health-check-endpoint health",
    "--cors-allowed-origins example.com",
    "--request-id-headers ü",
    "--otlp-traces-endpoint :4317",
    "--otlp-traces-endpoint grpc://a:4317",
    "--otlp-traces-endpoint http://me@a:4317",
    // keys: never shown
    "--control-plane-api-keys id:name:hunter2",
    "--control-plane-api-keys id:name:boss:hunter2",
    "--jwt-role-mapping Ops",
    // together
    "--tls-cert-path a",
    "--client-key-path a",
    "--retry-initial-backoff-ms 500 --retry-max-backoff-ms 10",
    "--prometheus-duration-buckets 1 0.5",
    "--port 9000 --prometheus-port 9000",
    "--simulate --decode http://a:1",
    "--cluster examples/one-gpu.toml --decode http://a:1",
    "--cluster examples/one-gpu.toml --simulate",
    "--cluster no-such-file.toml",
    "--cluster clippy.toml",
    "--print-launch-commands",
    "--mini-lb",
    "--pd-disaggregation --prefill http://a:1 --decode http://a:1/",
    "--worker-urls http://a:1 http://a:1",
    "--config /does/not/exist.toml",
];

#[test]
fn every_bad_command_line_has_its_one_line() {
    let mut answers = Vec::new();
    for line in BAD {
        let error = parse(line).expect_err(line).to_string();
        assert_eq!(error.lines().count(), 1, "{line}: {error}");
        assert!(!error.contains("hunter2"), "a secret is shown: {error}");
        answers.push(format!("{line}\n    {error}\n"));
    }
    expect_file!["../golden/errors.txt"].assert_eq(&answers.concat());
}

#[test]
fn every_bad_file_has_its_one_line() {
    let table = [
        ("prot = 1", "unknown key 'prot'; did you mean 'port'?"),
        (
            "zzz = 1",
            "unknown key 'zzz'; keys are the long flags of --help, without dashes",
        ),
        (
            "config = \"b.toml\"",
            "unknown key 'config'; keys are the long flags of --help, without dashes",
        ),
        (
            "port = ",
            "line 1 is not TOML: string values must be quoted, expected literal string",
        ),
        ("port = [1]", "'port' must be one value"),
        ("port = true", "'port' must be one value"),
        (
            "disable-retries = 1",
            "'disable-retries' must be true or false",
        ),
        (
            "decode = \"http://a:1\"",
            "'decode' must be a list of values",
        ),
        (
            "log-dir = \"a\"\nlog_dir = \"b\"",
            "key 'log_dir' stands there twice; keep one",
        ),
        (
            "prefill = [{ url = \"http://a:1\", port = 1 }]",
            "'prefill' must be a list like [[\"http://127.0.0.1:30000\", 9000], [\"http://127.0.0.1:30001\"]]",
        ),
        (
            "prefill = [[\"http://a:1\", 0]]",
            "invalid value '0' for '--prefill <URL> [PORT]': a bootstrap port is a number from 1 to 65535, or none; \
             see --help",
        ),
        (
            "port = 70000",
            "invalid value '70000' for '--port <PORT>': expected a whole number, from 0 to 65535; see --help",
        ),
        (
            "worker-urls = [\"http://a:1\", \"--help\"]",
            "'worker-urls' has a value that begins with a dash; remove it",
        ),
    ];
    for (index, (text, expected)) in table.into_iter().enumerate() {
        let path = file(&format!("bad-{index}.toml"), text);
        // The command line overrides it, and it is refused all the same: it would be wrong tomorrow.
        let error = parse(&format!("--config {} --port 1", path.display())).expect_err(text);
        assert_eq!(
            error.to_string(),
            format!("{}: {expected}", path.display()),
            "{text}"
        );
    }
}

#[test]
fn a_bad_variable_is_said_to_be_one() {
    for (name, value, expected) in [
        (
            "ADAPTIVE_ROUTER_PORT",
            "abc",
            "environment: invalid value 'abc' for '--port <PORT>': expected a whole number, from 0 to 65535; see --help",
        ),
        (
            "ADAPTIVE_ROUTER_WORKER_URLS",
            "http://a:1 --help",
            "environment: 'worker-urls' has a value that begins with a dash; remove it",
        ),
    ] {
        let error = parse_with("", &[(name, value)]).expect_err(name);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn the_program_ends_with_two_and_says_why_on_one_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_adaptive-router"))
        .args(["--port", "http"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "adaptive-router: error: invalid value 'http' for '--port <PORT>': expected a whole number, from 0 to 65535; \
         see --help\n"
    );
}
