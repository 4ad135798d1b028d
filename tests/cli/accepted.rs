//! Command lines that work, and what they mean.

use std::time::Duration;

use adaptive_router::config::{Config, ControlPlaneRole, LogLevel, Mode, OtlpProtocol, PrefillUrl};
use policies::route::{AssignmentMode, PolicyKind, RouteSettings};

use super::config;

fn prefill(url: &str, bootstrap_port: Option<u16>) -> PrefillUrl {
    PrefillUrl {
        url: url.to_owned(),
        bootstrap_port,
    }
}

/// The three fixed ratios of the published study, word for word.
#[test]
fn the_three_ratios_of_the_study_start_word_for_word() {
    let table = [
        (
            "--pd-disaggregation --prefill http://127.0.0.1:30000 9000 --prefill http://127.0.0.1:30001 9001 \
             --prefill http://127.0.0.1:30002 9002 --decode http://127.0.0.1:30003 \
             --policy round_robin --host 0.0.0.0 --port 8000",
            3,
        ),
        (
            "--pd-disaggregation --prefill http://127.0.0.1:30000 9000 --prefill http://127.0.0.1:30001 9001 \
             --decode http://127.0.0.1:30002 --decode http://127.0.0.1:30003 \
             --policy round_robin --host 0.0.0.0 --port 8000",
            2,
        ),
        (
            "--pd-disaggregation --prefill http://127.0.0.1:30000 9000 --decode http://127.0.0.1:30001 \
             --decode http://127.0.0.1:30002 --decode http://127.0.0.1:30003 \
             --policy round_robin --host 0.0.0.0 --port 8000",
            1,
        ),
    ];
    for (line, prefills) in table {
        let config = config(line);
        let url = |i| format!("http://127.0.0.1:3000{i}");
        let expected: Vec<_> = (0..prefills)
            .map(|i| prefill(&url(i), Some(9000 + i)))
            .collect();
        assert_eq!(config.fleet.mode, Mode::Pd);
        assert_eq!(config.fleet.prefill, expected);
        assert_eq!(
            config.fleet.decode,
            (prefills..4).map(url).collect::<Vec<_>>()
        );
        assert_eq!(config.routing.prefill, PolicyKind::RoundRobin);
        assert_eq!(config.routing.decode, PolicyKind::RoundRobin);
        assert_eq!(
            (config.server.host.as_str(), config.server.port),
            ("0.0.0.0", 8000)
        );
        assert_eq!(config.ignored, Vec::<String>::new());
    }
}

#[test]
fn the_form_of_sglangs_own_ci_starts_and_mini_lb_is_named() {
    let config = config(
        "--pd-disaggregation --mini-lb --prefill http://127.0.0.1:21000 --decode http://127.0.0.1:21100 \
         --host 127.0.0.1 --port 21200",
    );
    assert_eq!(config.fleet.mode, Mode::Pd);
    assert_eq!(
        config.fleet.prefill,
        [prefill("http://127.0.0.1:21000", None)]
    );
    assert_eq!(config.fleet.decode, ["http://127.0.0.1:21100"]);
    assert_eq!(config.server.port, 21200);
    assert_eq!(config.ignored, ["--mini-lb (this router takes its place)"]);
}

#[test]
fn launch_may_stand_first() {
    assert_eq!(config("launch --port 9"), config("--port 9"));
    assert_eq!(config("launch"), Config::default());
}

#[test]
fn regular_mode_takes_several_urls_after_one_flag_and_the_last_flag_wins() {
    let fleet = config("--worker-urls http://a:1 https://b:2/ http://[::1]:3 --port 9").fleet;
    assert_eq!(fleet.mode, Mode::Regular);
    assert_eq!(
        fleet.worker_urls,
        ["http://a:1", "https://b:2", "http://[::1]:3"]
    );
    let fleet = config("--worker-urls http://a:1 --worker-urls http://b:2").fleet;
    assert_eq!(fleet.worker_urls, ["http://b:2"]);
    assert_eq!(
        config("--worker-urls").fleet.worker_urls,
        Vec::<String>::new()
    );
}

#[test]
fn prefill_takes_one_value_or_two_in_any_order_with_other_flags() {
    let expected = [
        prefill("http://a:1", Some(9000)),
        prefill("http://b:1", None),
        prefill("http://c:1", None),
        prefill("http://d:1", None),
    ];
    for line in [
        "--pd-disaggregation --prefill http://a:1 9000 --prefill http://b:1 --prefill http://c:1 none --prefill http://d:1 NONE",
        "--prefill http://a:1 9000 --prefill=http://b:1 --port 1 --prefill http://c:1 None --decode http://e:1 \
         --prefill http://d:1 --pd-disaggregation",
    ] {
        assert_eq!(config(line).fleet.prefill, expected, "{line}");
    }
}

#[test]
fn pd_mode_starts_without_workers() {
    let fleet = config("--pd-disaggregation").fleet;
    assert_eq!(
        (fleet.mode, fleet.prefill.len(), fleet.decode.len()),
        (Mode::Pd, 0, 0)
    );
}

#[test]
fn workers_that_the_mode_has_no_use_for_are_dropped_and_named() {
    let regular = config("--prefill http://a:1 9000 --decode http://b:1");
    assert_eq!(regular.fleet, Config::default().fleet);
    assert_eq!(
        regular.ignored,
        ["--prefill and --decode (need --pd-disaggregation)"]
    );
    let pd = config("--pd-disaggregation --worker-urls http://a:1");
    assert_eq!(pd.fleet, config("--pd-disaggregation").fleet);
    assert_eq!(pd.ignored, ["--worker-urls (not used in PD mode)"]);
}

#[test]
fn simulate_implies_pd_mode() {
    let fleet = config("--simulate --simulate-prefill 3 --simulate-time-scale 0.5").fleet;
    let simulate = fleet.simulate.unwrap();
    assert_eq!(fleet.mode, Mode::Pd);
    assert_eq!((simulate.prefill, simulate.decode), (3, 2));
    assert!((simulate.time_scale - 0.5).abs() < f64::EPSILON);
    assert_eq!(
        config("--simulate-prefill 3").fleet,
        Config::default().fleet
    );
}

#[test]
fn each_leg_gets_the_policy_that_fits_it() {
    use PolicyKind::{Bucket, CacheAware, Manual, PowerOfTwo, PrefixHash, Random, RoundRobin};
    let table = [
        ("", CacheAware, PowerOfTwo, false),
        ("--policy cache_aware", CacheAware, PowerOfTwo, false),
        (
            "--policy cache_aware --decode-policy cache_aware",
            CacheAware,
            CacheAware,
            false,
        ),
        ("--policy random", Random, Random, false),
        (
            "--policy manual --prefill-policy bucket",
            Bucket,
            Manual,
            false,
        ),
        (
            "--policy prefix_hash --decode-policy round_robin",
            PrefixHash,
            RoundRobin,
            false,
        ),
        ("--prefill-policy random", Random, PowerOfTwo, false),
        ("--policy ratio-controller", PowerOfTwo, PowerOfTwo, true),
        ("--policy ratio_controller", PowerOfTwo, PowerOfTwo, true),
        (
            "--policy ratio-controller --prefill-policy cache_aware",
            CacheAware,
            PowerOfTwo,
            true,
        ),
    ];
    for (line, prefill, decode, controller) in table {
        let routing = config(line).routing;
        assert_eq!(
            (routing.prefill, routing.decode, routing.ratio_controller),
            (prefill, decode, controller),
            "{line}"
        );
    }
}

#[test]
fn flags_reach_the_settings_of_the_policies() {
    let line = "--cache-threshold 0.7 --balance-abs-threshold 5 --balance-rel-threshold 2 --eviction-interval-secs 7 \
                --max-tree-size 99 --max-idle-secs 11 --assignment-mode min_group --bucket-adjust-interval-secs 13";
    let expected = RouteSettings {
        cache_threshold: 0.7,
        balance_abs_threshold: 5,
        balance_rel_threshold: 2.0,
        eviction_interval: Duration::from_secs(7),
        max_tree_size: 99,
        max_idle: Duration::from_secs(11),
        assignment_mode: AssignmentMode::MinGroup,
        bucket_adjust_interval: Duration::from_secs(13),
    };
    assert_eq!(config(line).routing.route, expected);
    assert_eq!(config("").routing.route, RouteSettings::default());
}

#[test]
fn no_limit_is_minus_one_or_zero() {
    for (line, limit) in [
        ("", None),
        ("--max-concurrent-requests -1", None),
        ("--max-concurrent-requests=-1", None),
        ("--max-concurrent-requests 0", None),
        ("--max-concurrent-requests 64", Some(64)),
    ] {
        assert_eq!(
            config(line).admission.max_concurrent_requests,
            limit,
            "{line}"
        );
    }
}

#[test]
fn switches_that_disable_turn_a_setting_off_and_on_again() {
    let off = config("--disable-retries --disable-circuit-breaker --disable-health-check");
    assert_eq!(
        (
            off.retry.max_attempts,
            off.breaker.enabled,
            off.health.enabled
        ),
        (1, false, false)
    );
    let on = config("--disable-retries --disable-retries=false --disable-circuit-breaker=false");
    assert_eq!(
        (on.retry.max_attempts, on.breaker.enabled, on.health.enabled),
        (5, true, true)
    );
}

#[test]
fn times_are_seconds_with_fractions_or_milliseconds() {
    let config = config(
        "--idle-timeout-secs 0.25 --load-poll-interval-ms 20 --shutdown-grace-period-secs 0 --connect-timeout-secs 3",
    );
    assert_eq!(config.timeouts.idle, Duration::from_millis(250));
    assert_eq!(config.health.load_poll_interval, Duration::from_millis(20));
    assert_eq!(config.server.shutdown_grace_period, Duration::ZERO);
    assert_eq!(config.timeouts.connect, Duration::from_secs(3));
}

#[test]
fn the_rest_of_the_settings_get_their_values() {
    let config = config(
        "--host [::1] --cors-allowed-origins https://a.example http://b.example:8080 --request-id-headers X-Mine \
         --prometheus-duration-buckets 0.1 1 10 --log-level warn --log-json --log-dir /tmp/x --api-key k \
         --control-plane-api-keys ops:Ops:Admin:a:b dev:Dev:user:c --control-plane-audit-enabled \
         --health-check-endpoint /healthz --rate-limit-tokens-per-second 7 --ca-cert-paths a.pem b.pem \
         --tls-cert-path c.pem --tls-key-path k.pem",
    );
    assert_eq!(config.server.host, "::1");
    assert_eq!(
        config.server.cors_allowed_origins,
        ["https://a.example", "http://b.example:8080"]
    );
    assert_eq!(config.server.request_id_headers, ["x-mine"]);
    assert_eq!(config.metrics.duration_buckets, [0.1, 1.0, 10.0]);
    assert_eq!(
        (config.logging.level, config.logging.json),
        (LogLevel::Warn, true)
    );
    assert_eq!(config.logging.dir, Some("/tmp/x".into()));
    assert_eq!(config.auth.api_key.as_deref(), Some("k"));
    assert!(config.auth.audit && !config.auth.jwt_configured);
    let keys = &config.auth.control_plane_api_keys;
    assert_eq!(
        (keys[0].role, keys[0].key.as_str()),
        (ControlPlaneRole::Admin, "a:b")
    );
    assert_eq!(
        (keys[1].role, keys[1].name.as_str()),
        (ControlPlaneRole::User, "Dev")
    );
    assert_eq!(config.health.endpoint.as_deref(), Some("/healthz"));
    assert_eq!(config.admission.rate_limit_per_second, Some(7));
    assert_eq!(
        config.upstream_tls.ca_cert_paths,
        ["a.pem", "b.pem"].map(std::path::PathBuf::from)
    );
    assert_eq!(config.server.tls_key_path, Some("k.pem".into()));
}

#[test]
fn any_token_flag_marks_tokens_as_configured() {
    for line in [
        "--jwt-issuer https://a",
        "--jwt-audience a",
        "--jwt-jwks-uri https://a",
        "--jwt-role-mapping Ops=admin Dev=user",
    ] {
        assert!(config(line).auth.jwt_configured, "{line}");
    }
    assert!(!config("").auth.jwt_configured);
}

#[test]
fn a_collector_is_spoken_to_as_its_address_says() {
    for (text, url, protocol) in [
        ("", "http://localhost:4317/", OtlpProtocol::Grpc),
        ("a:4317", "http://a:4317/", OtlpProtocol::Grpc),
        ("[::1]:4317", "http://[::1]:4317/", OtlpProtocol::Grpc),
        ("https://a", "https://a/", OtlpProtocol::Grpc),
        ("a:4318", "http://a:4318/v1/traces", OtlpProtocol::Http),
        (
            "http://a:4318/",
            "http://a:4318/v1/traces",
            OtlpProtocol::Http,
        ),
        ("https://a/b", "https://a/b", OtlpProtocol::Http),
    ] {
        let flag = if text.is_empty() {
            String::new()
        } else {
            format!("--otlp-traces-endpoint {text}")
        };
        let tracing = config(&flag).tracing;
        assert_eq!(tracing.endpoint.as_str(), url, "{text}");
        assert_eq!(tracing.endpoint.protocol, protocol, "{text}");
        assert!(!tracing.enabled);
    }
    assert!(config("--enable-trace").tracing.enabled);
}

#[test]
fn flags_without_effect_are_named_once_each() {
    let ignored = config(
        "--model-path m --dp-aware --history-backend redis --service-discovery --selector a=b c=d",
    )
    .ignored;
    assert_eq!(
        ignored,
        [
            "--dp-aware",
            "--model-path",
            "--history-backend",
            "--service-discovery (register workers by POST /workers)",
        ]
    );
}

#[test]
fn secrets_are_not_in_the_debug_form() {
    let config = config("--api-key hunter2 --control-plane-api-keys id:name:admin:hunter3");
    assert!(!format!("{config:?}").contains("hunter"));
}

#[test]
fn requests_wait_for_prefill_workers_where_a_bound_says_so() {
    let queue = |line: &str| {
        let queue = config(line).queue;
        (queue.prefill_tokens.map(u64::from), queue.size)
    };
    for (line, expected) in [
        ("--pd-disaggregation", (None, 100)),
        (
            "--simulate --policy ratio-controller",
            (Some(16_384), 4_096),
        ),
        ("--simulate --prefill-queue-tokens 9", (Some(9), 4_096)),
        (
            "--simulate --policy ratio-controller --prefill-queue-tokens 0",
            (None, 100),
        ),
        (
            "--simulate --prefill-queue-tokens 9 --queue-size 5",
            (Some(9), 5),
        ),
        ("--policy ratio-controller", (None, 100)),
    ] {
        assert_eq!(queue(line), expected, "{line}");
    }
    let regular = config("--prefill-queue-tokens 9");
    assert_eq!(
        regular.ignored,
        ["--prefill-queue-tokens (needs --pd-disaggregation)"]
    );
    assert!(config("--policy ratio-controller").ignored.is_empty());
}
