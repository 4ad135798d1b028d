//! File, environment and command line together: which wins.

use adaptive_router::config::{Config, Mode};

use super::{config, config_with, file};

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let path = file(
        "precedence.toml",
        "port = 1\nqueue-size = 1\nhost = \"file\"\n",
    );
    let line = format!("--config {} --port 3", path.display());
    let environment = [
        ("ADAPTIVE_ROUTER_PORT", "2"),
        ("ADAPTIVE_ROUTER_QUEUE_SIZE", "2"),
    ];
    let config = config_with(&line, &environment);
    assert_eq!(config.server.port, 3);
    assert_eq!(config.queue.size, 2);
    assert_eq!(config.server.host, "file");
    assert_eq!(config.metrics, Config::default().metrics);
}

#[test]
fn a_stronger_list_replaces_a_weaker_one() {
    let path = file(
        "lists.toml",
        "pd-disaggregation = true\nprefill = [\"http://file:1\"]\ndecode = [\"http://file:2\", \"http://file:3\"]\n\
         request-id-headers = [\"x-file\"]\n",
    );
    let line = format!("--config {} --decode http://flag:1", path.display());
    let config = config_with(
        &line,
        &[("ADAPTIVE_ROUTER_PREFILL", "http://env:1 9000 http://env:2")],
    );
    let prefill: Vec<_> = config
        .fleet
        .prefill
        .iter()
        .map(|worker| worker.url.as_str())
        .collect();
    assert_eq!(prefill, ["http://env:1", "http://env:2"]);
    assert_eq!(config.fleet.prefill[0].bootstrap_port, Some(9000));
    assert_eq!(config.fleet.decode, ["http://flag:1"]);
    assert_eq!(config.server.request_id_headers, ["x-file"]);
}

#[test]
fn a_switch_of_the_file_or_the_environment_can_be_undone() {
    let path = file(
        "switch.toml",
        "disable_retries = true\npd_disaggregation = true\n",
    );
    let line = format!("--config {}", path.display());
    let on = config(&line);
    assert_eq!((on.retry.max_attempts, on.fleet.mode), (1, Mode::Pd));
    let by_flag = config(&format!("{line} --disable-retries=false"));
    assert_eq!(
        (by_flag.retry.max_attempts, by_flag.fleet.mode),
        (5, Mode::Pd)
    );
    let by_variable = config_with(&line, &[("ADAPTIVE_ROUTER_PD_DISAGGREGATION", "0")]);
    assert_eq!(
        (by_variable.retry.max_attempts, by_variable.fleet.mode),
        (1, Mode::Regular)
    );
}

#[test]
fn a_file_says_the_same_as_its_command_line() {
    let path = file(
        "same.toml",
        r#"
        pd-disaggregation = true
        prefill = [["http://a:1", 9000], ["http://b:1"], "http://c:1", { url = "http://d:1", bootstrap_port = 9001 },
                   ["http://e:1", "none"]]
        decode = ["http://f:1"]
        max-concurrent-requests = -1
        retry-jitter-factor = 0.5
        prometheus-duration-buckets = [0.1, 1, 10]
        cors_allowed_origins = []
        request-id-headers = []
        log-dir = "--odd"
        disable-health-check = false
        "#,
    );
    let from_file = config(&format!("--config {}", path.display()));
    let from_flags = config(
        "--pd-disaggregation --prefill http://a:1 9000 --prefill http://b:1 --prefill http://c:1 \
         --prefill http://d:1 9001 --prefill http://e:1 --decode http://f:1 --max-concurrent-requests -1 \
         --retry-jitter-factor 0.5 --prometheus-duration-buckets 0.1 1 10 --request-id-headers --log-dir=--odd",
    );
    assert_eq!(from_file, from_flags);
    assert_eq!(from_file.server.request_id_headers, Vec::<String>::new());
}

#[test]
fn variables_name_the_file_and_say_yes_in_many_ways() {
    let path = file("by-variable.toml", "port = 77");
    let path = path.to_str().unwrap();
    assert_eq!(
        config_with("", &[("ADAPTIVE_ROUTER_CONFIG", path)])
            .server
            .port,
        77
    );
    for (yes, attempts) in [
        ("1", 1),
        ("true", 1),
        ("Yes", 1),
        ("on", 1),
        ("0", 5),
        ("off", 5),
    ] {
        let config = config_with("", &[("ADAPTIVE_ROUTER_DISABLE_RETRIES", yes)]);
        assert_eq!(config.retry.max_attempts, attempts, "{yes}");
    }
    let breaker = config_with("", &[("ADAPTIVE_ROUTER_DISABLE_CIRCUIT_BREAKER", "true")]).breaker;
    assert!(!breaker.enabled);
}

#[test]
fn what_kubernetes_says_of_a_service_and_empty_variables_are_no_settings() {
    let environment = [
        ("ADAPTIVE_ROUTER_PORT", "tcp://10.0.0.7:8000"),
        ("ADAPTIVE_ROUTER_PROMETHEUS_PORT", "tcp://10.0.0.8:80"),
        ("ADAPTIVE_ROUTER_API_KEY", ""),
    ];
    assert_eq!(config_with("", &environment), Config::default());
}
