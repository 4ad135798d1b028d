//! Every flag of `sglang_router` 0.3.2, as its own argument parser lists them, against ours.

use super::{config, config_with, parse, printed};

/// A flag of the peer.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    /// What may stand after it.
    sample: &'static str,
    /// As the peer's parser has it.
    default: Option<&'static str>,
}

impl Flag {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.name, self.sample)
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.sample.contains("hunter2")
    }
}

const fn flag(name: &'static str, sample: &'static str, default: Option<&'static str>) -> Flag {
    Flag {
        name,
        sample,
        default,
    }
}

#[rustfmt::skip] // a table reads best one flag a line
pub(crate) const FLAGS: &[Flag] = &[
    flag("--host", "127.0.0.1", Some("0.0.0.0")),
    flag("--port", "8123", Some("30000")),
    flag("--worker-urls", "http://a:1 http://b:1", None),
    flag("--policy", "manual", Some("cache_aware")),
    flag("--prefill-policy", "bucket", None),
    flag("--decode-policy", "random", None),
    flag("--cache-threshold", "0.6", Some("0.3")),
    flag("--balance-abs-threshold", "77", Some("64")),
    flag("--balance-rel-threshold", "1.75", Some("1.5")),
    flag("--bucket-adjust-interval-secs", "77", Some("5")),
    flag("--eviction-interval-secs", "77", Some("60")),
    flag("--max-tree-size", "77", Some("67108864")),
    flag("--max-idle-secs", "77", Some("14400")),
    flag("--assignment-mode", "min_load", Some("random")),
    flag("--max-payload-size", "77", Some("536870912")),
    flag("--dp-aware", "", None),
    flag("--enable-igw", "", None),
    flag("--mini-lb", "--pd-disaggregation", None),
    flag("--pd-disaggregation", "", None),
    flag("--prefill", "http://a:1 9000", None),
    flag("--decode", "http://a:1", None),
    flag("--worker-startup-timeout-secs", "77", Some("1800")),
    flag("--worker-startup-check-interval", "77", Some("30")),
    flag("--log-dir", "text", None),
    flag("--log-level", "debug", Some("info")),
    flag("--service-discovery", "", None),
    flag("--selector", "app=a role=b", None),
    flag("--service-discovery-port", "77", Some("80")),
    flag("--service-discovery-namespace", "text", None),
    flag("--prefill-selector", "app=a", None),
    flag("--decode-selector", "app=a", None),
    flag("--prometheus-port", "29123", Some("29000")),
    flag("--prometheus-host", "127.0.0.1", Some("0.0.0.0")),
    flag("--prometheus-duration-buckets", "0.1 1 10", None),
    flag("--request-id-headers", "x-a x-b", None),
    flag("--request-timeout-secs", "77", Some("1800")),
    flag("--shutdown-grace-period-secs", "77", Some("180")),
    flag("--cors-allowed-origins", "https://a.example", None),
    flag("--max-concurrent-requests", "77", Some("-1")),
    flag("--queue-size", "77", Some("100")),
    flag("--queue-timeout-secs", "77", Some("60")),
    flag("--rate-limit-tokens-per-second", "77", None),
    flag("--retry-max-retries", "77", Some("5")),
    flag("--retry-initial-backoff-ms", "77", Some("50")),
    flag("--retry-max-backoff-ms", "60000", Some("30000")),
    flag("--retry-backoff-multiplier", "2.5", Some("1.5")),
    flag("--retry-jitter-factor", "0.4", Some("0.2")),
    flag("--disable-retries", "", None),
    flag("--cb-failure-threshold", "77", Some("10")),
    flag("--cb-success-threshold", "77", Some("3")),
    flag("--cb-timeout-duration-secs", "77", Some("60")),
    flag("--cb-window-duration-secs", "77", Some("120")),
    flag("--disable-circuit-breaker", "", None),
    flag("--health-failure-threshold", "77", Some("3")),
    flag("--health-success-threshold", "77", Some("2")),
    flag("--health-check-timeout-secs", "77", Some("5")),
    flag("--health-check-interval-secs", "77", Some("60")),
    flag("--health-check-endpoint", "/healthz", Some("/health")),
    flag("--disable-health-check", "", None),
    flag("--model-path", "text", None),
    flag("--tokenizer-path", "text", None),
    flag("--chat-template", "text", None),
    flag("--tokenizer-cache-enable-l0", "", None),
    flag("--tokenizer-cache-l0-max-entries", "77", Some("10000")),
    flag("--tokenizer-cache-enable-l1", "", None),
    flag("--tokenizer-cache-l1-max-memory", "77", Some("52428800")),
    flag("--reasoning-parser", "text", None),
    flag("--tool-call-parser", "qwen", None),
    flag("--mcp-config-path", "text", None),
    flag("--backend", "openai", Some("sglang")),
    flag("--history-backend", "redis", Some("memory")),
    flag("--oracle-wallet-path", "text", None),
    flag("--oracle-tns-alias", "text", None),
    flag("--oracle-connect-descriptor", "text", None),
    flag("--oracle-username", "text", None),
    flag("--oracle-password", "hunter2", None),
    flag("--oracle-pool-min", "77", Some("1")),
    flag("--oracle-pool-max", "77", Some("16")),
    flag("--oracle-pool-timeout-secs", "77", Some("30")),
    flag("--postgres-db-url", "postgres://hunter2@a", None),
    flag("--postgres-pool-max", "77", Some("16")),
    flag("--redis-url", "redis://hunter2@a", None),
    flag("--redis-pool-max", "77", Some("16")),
    flag("--redis-retention-days", "77", Some("30")),
    flag("--client-cert-path", "a.pem --client-key-path b.pem", None),
    flag("--client-key-path", "a.pem --client-cert-path b.pem", None),
    flag("--ca-cert-paths", "a.pem b.pem", None),
    flag("--tls-cert-path", "a.pem --tls-key-path b.pem", None),
    flag("--tls-key-path", "a.pem --tls-cert-path b.pem", None),
    flag("--enable-trace", "", None),
    flag("--otlp-traces-endpoint", "a:4317", Some("localhost:4317")),
    flag("--api-key", "hunter2", None),
    flag("--control-plane-api-keys", "id:name:admin:hunter2", None),
    flag("--control-plane-audit-enabled", "", None),
    flag("--jwt-issuer", "https://a", None),
    flag("--jwt-audience", "text", None),
    flag("--jwt-jwks-uri", "https://a/keys", None),
    flag("--jwt-role-mapping", "Ops=admin Dev=user", None),
];

/// Where ours differs on purpose.
const OTHER_DEFAULTS: [(&str, Option<&str>); 3] = [
    ("--port", Some("8000")),
    // `None` means these four there, too.
    (
        "--request-id-headers",
        Some("x-request-id x-correlation-id x-trace-id request-id"),
    ),
    // The peer's /health makes a worker generate a token at every check.
    (
        "--health-check-endpoint",
        Some("/ready, and /health where a worker lacks it; /health makes a worker generate"),
    ),
];

#[test]
fn every_flag_of_the_peer_is_accepted() {
    for flag in FLAGS {
        config(&flag.line());
    }
}

/// Accepted means understood: a flag that has a setting changes it, one that has none is named.
#[test]
fn no_flag_of_the_peer_is_swallowed() {
    // Half of the discovery flags are silent without their switch, as in the peer.
    let silent = |name: &str| {
        (name.contains("service-discovery-") || name.contains("selector"))
            && !name.ends_with("service-discovery")
    };
    for flag in FLAGS.iter().filter(|flag| !silent(flag.name)) {
        let (with, without) = (config(&flag.line()), config(""));
        assert_ne!(with, without, "{}", flag.name);
    }
}

#[test]
fn every_default_is_the_peers_or_a_listed_exception() {
    let help = printed("--help");
    for flag in FLAGS {
        let exception = OTHER_DEFAULTS.iter().find(|(name, _)| *name == flag.name);
        let expected = exception.map_or(flag.default, |(_, default)| *default);
        assert_eq!(
            default_in(&help, flag.name).as_deref(),
            expected,
            "{}",
            flag.name
        );
    }
}

/// What the help says in brackets after a flag, words for "none" left out.
fn default_in(help: &str, name: &str) -> Option<String> {
    let entry = entry_in(help, name);
    let (_, default) = entry.split_once("[default: ")?;
    let (default, _) = default.split_once(']')?;
    let is_none = ["none needed", "no limit", "console only", "fitted to each"].contains(&default);
    (!is_none).then(|| default.to_owned())
}

/// The lines of a flag, until the next one begins, as one line.
fn entry_in(help: &str, name: &str) -> String {
    let begins = |line: &&str| line.starts_with("      --");
    let mut lines = help
        .lines()
        .skip_while(|line| !(begins(line) && line.split_whitespace().next() == Some(name)));
    let first = lines.next().expect(name);
    let rest = lines.take_while(|line| !begins(line)).collect::<Vec<_>>();
    let words = first.split_whitespace();
    let words = words.chain(rest.iter().flat_map(|line| line.split_whitespace()));
    words.collect::<Vec<_>>().join(" ")
}

/// argparse takes any prefix that fits one flag only. Our own flags must not make one of those ambiguous.
#[test]
fn every_abbreviation_that_the_peer_takes_means_the_same() {
    for flag in FLAGS {
        let full = config(&flag.line());
        for end in "--x".len()..flag.name.len() {
            let short = &flag.name[..end];
            let fits = FLAGS.iter().filter(|other| other.name.starts_with(short));
            if fits.count() > 1 {
                continue;
            }
            let line = format!("{short} {}", flag.sample);
            assert_eq!(config(&line), full, "{line}");
        }
    }
}

#[test]
fn every_flag_has_an_environment_variable() {
    for flag in FLAGS.iter().filter(|flag| !flag.sample.contains("--")) {
        let name = flag.name.trim_start_matches('-').replace('-', "_");
        let variable = format!("ADAPTIVE_ROUTER_{}", name.to_uppercase());
        let value = if flag.sample.is_empty() {
            "true"
        } else {
            flag.sample
        };
        assert_eq!(
            config_with("", &[(&variable, value)]),
            config(&flag.line()),
            "{variable}"
        );
    }
}

#[test]
fn a_value_may_be_tied_by_an_equals_sign() {
    for flag in FLAGS.iter().filter(|flag| !flag.sample.is_empty()) {
        let line = flag.line();
        if flag.sample.contains(' ') || flag.sample.starts_with('-') {
            continue;
        }
        assert_eq!(config(&line.replacen(' ', "=", 1)), config(&line), "{line}");
    }
}

#[test]
fn a_misspelt_flag_of_the_peer_is_refused() {
    for flag in FLAGS {
        let line = flag.line().replacen("--", "--x", 1);
        parse(&line).expect_err(&line);
    }
}
