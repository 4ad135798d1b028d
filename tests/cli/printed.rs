//! What the program prints about itself: help, version, configuration.

use expect_test::expect_file;

use super::{config, file, parse, printed};
use crate::peer_flags::FLAGS;

#[test]
fn the_help_is_the_golden_one() {
    expect_file!["../golden/help.txt"].assert_eq(&printed("--help"));
    assert_eq!(printed("-h"), printed("--help"));
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(
        printed("--version"),
        format!("adaptive-router {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_printed_configuration_is_the_golden_one() {
    let line = "--print-config --pd-disaggregation --prefill http://a:1 9000 --prefill http://b:1 --decode http://c:1 \
                --policy round_robin --api-key hunter2 --redis-url redis://hunter2@r --model-path m";
    expect_file!["../golden/print-config.toml"].assert_eq(&printed(line));
}

/// Reading back what was printed gives the same settings.
#[track_caller]
fn assert_round_trip(name: &str, line: &str) {
    let text = printed(&format!("{line} --print-config"));
    let path = file(name, &text);
    assert_eq!(
        config(&format!("--config {}", path.display())),
        config(line),
        "{line}\n{text}"
    );
}

#[test]
fn the_printed_configuration_reads_back_as_the_same() {
    let table = [
        "",
        "--simulate --policy ratio-controller",
        "--simulate --policy ratio_controller --simulate-prefill 3 --simulate-time-scale 0.001",
        "--pd-disaggregation --prefill http://a:1 9000 --prefill http://b:1 none --prefill http://c:1 --decode http://d:1",
        "--cluster examples/one-gpu.toml --state-dir /tmp/s --stop-workers-on-exit --worker-stop-timeout-secs 5",
        "--state-dir /tmp/s",
        "--pd-disaggregation --mini-lb --prefill http://a:1 --decode http://b:1 --host :: --port 0",
        "--prefill http://a:1 --worker-urls http://b:1 http://c:1",
        "--worker-urls --cors-allowed-origins --request-id-headers",
        "--max-concurrent-requests -1 --max-concurrent-requests 07",
        "--retry-jitter-factor 1e-3 --retry-backoff-multiplier 2. --idle-timeout-secs +5 --cache-threshold .5",
        "--log-dir 007 --log-dir true",
        "--log-dir=1e9",
        "--log-dir=inf",
        "--log-dir=-x",
        "--model-path a\"b\\c'd --chat-template ü",
        "--disable-retries --disable-circuit-breaker --disable-health-check=false",
        "--service-discovery --selector a=b c=d --service-discovery-port 90 --history-backend memory",
        "--prometheus-duration-buckets 0.1 1 10",
        "--jwt-role-mapping Ops=admin Dev=user",
    ];
    for (index, line) in table.iter().enumerate() {
        assert_round_trip(&format!("printed-{index}.toml"), line);
    }
}

#[test]
fn every_flag_of_the_peer_reads_back_from_its_printed_form() {
    for flag in FLAGS.iter().filter(|flag| !flag.is_secret()) {
        assert_round_trip(&format!("printed{}.toml", flag.name), &flag.line());
    }
}

#[test]
fn secrets_are_told_of_but_not_printed() {
    for flag in FLAGS.iter().filter(|flag| flag.is_secret()) {
        let text = printed(&format!("--print-config {}", flag.line()));
        let long = flag.name.trim_start_matches('-');
        assert!(
            text.contains(&format!("# {long} is set: a secret, not printed\n")),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_bad_configuration_is_refused_not_printed() {
    parse("--print-config --tls-cert-path a").unwrap_err();
}

#[test]
fn the_command_lines_of_a_cluster_file_can_be_looked_at() {
    let text = printed("--cluster examples/eight-gpus-2p2d.toml --print-launch-commands");
    let expected = "CUDA_VISIBLE_DEVICES=0,1 python -m sglang.launch_server --model-path";
    assert!(text.contains(expected), "{text}");
}
