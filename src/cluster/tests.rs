use expect_test::{expect, expect_file};

use super::*;

const FILE: &str = r#"
[defaults]
model = "m"
transfer_backend = "mooncake"

[[worker]]
name = "a"
gpus = [0]
port = 30000
bootstrap_port = 9000
role = "prefill"

[[worker]]
name = "b"
gpus = [1]
port = 30001
bootstrap_port = 9001
role = "decode"
"#;

const SWITCHABLE: &str = r#"args = ["--enable-pd-role-switch", "--disable-radix-cache"]"#;

/// `FILE` with the first `from` replaced by `to`.
fn with(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    FILE.replacen(from, to, 1)
}

fn default(line: &str) -> String {
    with("[defaults]", &format!("[defaults]\n{line}"))
}

fn launchers(text: &str) -> Vec<LauncherKind> {
    let workers = Cluster::read(text).unwrap();
    workers.iter().map(|worker| worker.launcher).collect()
}

#[test]
fn every_example_is_good_and_starts_what_it_is_said_to_start() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut text = String::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let cluster = Cluster::load(file).unwrap();
        let _ = writeln!(text, "== {name}\n{}", cluster.launch_commands());
    }
    assert_eq!(files.len(), 6);
    expect_file!["../../tests/golden/launch-commands.txt"].assert_eq(&text);
}

#[test]
fn what_a_file_says_wrong_is_answered_with_what_to_write() {
    let mut text = String::new();
    let cases = [
        with("[defaults]", "[default]"),
        with("gpus = [0]", "gpu = [0]"),
        with("role = \"prefill\"", "role = \"regular\""),
        with("role = \"prefill\"", ""),
        with("role = \"prefill\"", "role = \"decode\""),
        String::new(),
        with("name = \"b\"", "name = \"a\""),
        with("name = \"b\"", "name = \"../b\""),
        with("port = 30001", "port = 30000"),
        with("bootstrap_port = 9001", "bootstrap_port = 30000"),
        with("bootstrap_port = 9001", "bootstrap_port = 39001"),
        with("bootstrap_port = 9001", "bootstrap_port = 0"),
        with("bootstrap_port = 9001", ""),
        with("port = 30001", ""),
        with("port = 30001", "port = 70000"),
        with("model = \"m\"", ""),
        with("gpus = [1]", "gpus = [0]"),
        with("port = 30001", "port = 30001\nurl = \"http://c:1\""),
        with(
            "port = 30001",
            "launcher = \"process\"\nurl = \"http://c:1\"",
        ),
        with("port = 30001", "url = \"grpc://c:1\""),
        default("args = [\"--port\", \"1\"]"),
        default("decode_args = [\"--tp-size=4\"]"),
        default("command = []"),
        default("command = [\"serve\", \"--port\", \"{port}\"]"),
        default("command = [\"serve\", \"{role}\", \"{prot}\"]"),
        default("launcher = \"inplace\""),
        default("launcher = \"in_place\""),
        default("launcher = \"in_place\"\nargs = [\"--enable-pd-role-switch\"]"),
        default(&format!(
            "launcher = \"in_place\"\nhost = \"10.0.0.1\"\n{SWITCHABLE}"
        )),
        default(&format!("launcher = \"in_place\"\n{SWITCHABLE}")).replace("mooncake", "nixl"),
    ];
    for case in cases {
        let problem = Cluster::read(&case).expect_err(&case);
        let _ = writeln!(text, "{problem}");
    }
    expect_file!["../../tests/golden/cluster-errors.txt"].assert_eq(&text);
}

#[test]
fn a_file_that_isn_t_there_is_named() {
    let error = Cluster::load(Path::new("/no/such/cluster.toml")).unwrap_err();
    expect!["/no/such/cluster.toml: can't be read: No such file or directory (os error 2)"]
        .assert_eq(&error.to_string());
}

#[test]
fn auto_is_in_place_where_the_worker_can_and_process_where_it_can_t() {
    use LauncherKind::{InPlace, None, Process};
    let cases = [
        (FILE.to_owned(), [Process, Process]),
        (default(SWITCHABLE), [InPlace, InPlace]),
        (
            default(SWITCHABLE).replace("mooncake", "nixl"),
            [Process, Process],
        ),
        (
            default("args = [\"--enable-pd-role-switch\"]"),
            [Process, Process],
        ),
        (
            default(&format!("host = \"10.0.0.1\"\n{SWITCHABLE}")),
            [Process, Process],
        ),
        (
            default(&format!("host = \"node-1\"\n{SWITCHABLE}")),
            [InPlace, InPlace],
        ),
        (
            default(&format!("host = \"::1\"\n{SWITCHABLE}")),
            [Process, Process],
        ),
        (default("launcher = \"none\""), [None, None]),
        (
            with(
                "port = 30001\nbootstrap_port = 9001",
                "url = \"http://c:1\"",
            ),
            [Process, None],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(launchers(&text), expected, "{text}");
    }
    // A flag that is given in one role only doesn't switch back.
    let one_way = SWITCHABLE.replace("args", "prefill_args");
    assert_eq!(launchers(&default(&one_way)), [Process, Process]);
}

#[test]
fn a_worker_s_own_settings_go_before_the_defaults_and_its_lists_after_them() {
    let text = default(
        "args = [\"--enable-metrics\"]\ndecode_args = [\"--x\"]\nhost = \"node-1\"\nenv = { A = \"1\", B = \"1\" }",
    )
    .replacen(
        "name = \"b\"",
        "name = \"b\"\nmodel = \"own\"\nargs = [\"--y\"]\ntp_size = 8\nenv = { B = \"2\", CUDA_VISIBLE_DEVICES = \"MIG-1\" }",
        1,
    );
    let cluster = Cluster {
        path: PathBuf::new(),
        workers: Cluster::read(&text).unwrap(),
    };
    let command = |role| cluster.command(&cluster.workers[1], role).to_string();
    expect!["A=1 B=2 CUDA_VISIBLE_DEVICES=MIG-1 python -m sglang.launch_server --model-path own --disaggregation-mode decode --disaggregation-transfer-backend mooncake --base-gpu-id 0 --tp-size 8 --host node-1 --port 30001 --enable-metrics --y --x"]
        .assert_eq(&command(Role::Decode));
    assert_eq!(cluster.specs()[1].url.as_str(), "http://node-1:30001");
}

#[test]
fn a_command_of_one_s_own_is_filled_in() {
    let text = default(
        "command = [\"numactl\", \"-N\", \"{gpus}\", \"serve\", \"--json={\\\"a\\\":1}\", \"{role}:{port}:{bootstrap_port}\", \"{flags}\"]",
    );
    let workers = Cluster::read(&text).unwrap();
    let command = workers[1].launch.command(&workers[1], Role::Prefill);
    expect![[r#"CUDA_VISIBLE_DEVICES=1 numactl -N 1 serve '--json={"a":1}' prefill:30001:9001 --model-path m --disaggregation-mode prefill --disaggregation-transfer-backend mooncake --base-gpu-id 0 --tp-size 1 --port 30001 --disaggregation-bootstrap-port 9001"#]]
        .assert_eq(&command.to_string());
}

#[test]
fn a_key_is_used_and_never_shown() {
    for args in ["\"--api-key\", \"hunter2\"", "\"--api-key=hunter2\""] {
        let workers = Cluster::read(&default(&format!("args = [{args}]"))).unwrap();
        assert_eq!(workers[0].spec().api_key.as_deref(), Some("hunter2"));
        let shown = workers[0]
            .launch
            .command(&workers[0], Role::Prefill)
            .to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn several_workers_share_a_gpu_where_the_file_says_so() {
    let shared = with("gpus = [1]", "gpus = [0]");
    assert!(Cluster::read(&format!("share_gpus = true\n{shared}")).is_ok());
}
