//! One worker: its address, what is known of it, and its live counters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};
use tokio::sync::Notify;
use url::Url;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::breaker::Breaker;
use super::gate::Gate;
use crate::config::BreakerSettings;

/// A load reading older than this many poll intervals says nothing any more.
const FRESH_INTERVALS: u32 = 5;

/// The address of a worker, kept as it was given and as a base to build request URLs from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerUrl {
    given: Arc<str>,
    base: Url,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerUrlError {
    given: String,
    reason: String,
}

impl fmt::Display for WorkerUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a worker URL: {}; expected http://HOST:PORT",
            self.given, self.reason
        )
    }
}

impl std::error::Error for WorkerUrlError {}

impl WorkerUrl {
    /// Parses `http://HOST[:PORT]` or `https://...`; a bare `HOST:PORT` is read as http.
    pub fn parse(given: &str) -> Result<Self, WorkerUrlError> {
        let error = |reason: &str| WorkerUrlError {
            given: given.to_owned(),
            reason: reason.to_owned(),
        };
        let trimmed = given.trim();
        let full = if trimmed.contains("://") {
            trimmed.to_owned()
        } else {
            format!("http://{trimmed}")
        };
        let base = Url::parse(&full).map_err(|cause| error(&cause.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(error("the scheme is neither http nor https"));
        }
        if base.host_str().is_none_or(str::is_empty) {
            return Err(error("it names no host"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(error("it has a query or a fragment"));
        }
        Ok(Self {
            given: full.trim_end_matches('/').into(),
            base,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// The host as a URL spells it: an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        self.base
            .host_str()
            .expect("parse refuses a URL without a host")
    }

    /// The URL of `path` (which begins with a slash) on this worker.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if self.base.path() == "/" {
            url.set_path(path);
        } else {
            url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        }
        url
    }

    /// The URL of `path` on `port` of the same host.
    pub fn with_port(&self, port: u16, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_port(Some(port)).expect("an http URL takes a port");
        url.set_path(path);
        url
    }
}

impl fmt::Display for WorkerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

/// What somebody asked for who registered a worker.
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    pub url: WorkerUrl,
    pub role: Role,
    /// Prefill only: the port of its bootstrap server. `None` until the worker itself tells.
    pub bootstrap_port: Option<u16>,
    pub model_id: Option<String>,
    /// Bearer token for the router's own calls to the worker (probes, loads, aborts).
    pub api_key: Option<String>,
    pub priority: u32,
    pub cost: f32,
    pub labels: BTreeMap<String, String>,
    pub check_health: bool,
}

impl WorkerSpec {
    pub fn new(url: WorkerUrl, role: Role) -> Self {
        Self {
            url,
            role,
            bootstrap_port: None,
            model_id: None,
            api_key: None,
            priority: 50,
            cost: 1.0,
            labels: BTreeMap::new(),
            check_health: true,
        }
    }
}

/// What may change about a worker while it serves, and what it told about itself.
#[derive(Debug, Clone)]
pub struct WorkerMetadata {
    pub model_id: String,
    pub priority: u32,
    pub cost: f32,
    pub labels: BTreeMap<String, String>,
    /// Why the worker is not serving, in words for the operator.
    pub trouble: Option<String>,
}

/// How decode workers find a prefill worker: they remember it by the text `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    pub host: Arc<str>,
    pub port: Option<u16>,
}

/// A worker's own count of the tokens it holds, and when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadReading {
    pub tokens: u64,
    pub at: Timestamp,
}

/// A worker. Shared by every snapshot that it is in and every request in flight on it.
#[derive(Debug)]
pub struct Worker {
    pub id: WorkerId,
    /// The id that the admin API shows.
    pub uuid: Uuid,
    pub url: WorkerUrl,
    /// Stable hash of the URL, for policies that hash.
    pub key: u64,
    pub api_key: Option<String>,
    pub check_health: bool,
    pub breaker: Breaker,
    gate: Gate,
    drained: Notify,
    metadata: ArcSwap<WorkerMetadata>,
    load: LoadCell,
}

impl Worker {
    pub(super) fn new(id: WorkerId, spec: &WorkerSpec, breaker: &BreakerSettings) -> Self {
        Self {
            id,
            uuid: Uuid::new_v4(),
            url: spec.url.clone(),
            key: xxh3_64(spec.url.as_str().as_bytes()),
            api_key: spec.api_key.clone(),
            check_health: spec.check_health,
            breaker: Breaker::new(breaker),
            gate: Gate::new_closed(),
            drained: Notify::new(),
            metadata: ArcSwap::from_pointee(WorkerMetadata {
                model_id: spec
                    .model_id
                    .clone()
                    .unwrap_or_else(|| "unknown".to_owned()),
                priority: spec.priority,
                cost: spec.cost,
                labels: spec.labels.clone(),
                trouble: None,
            }),
            load: LoadCell::default(),
        }
    }

    /// Takes a place on the worker; `None` while its gate is closed.
    pub fn enter(self: &Arc<Self>) -> Option<Ticket> {
        self.gate.enter().then(|| Ticket {
            worker: Arc::clone(self),
        })
    }

    pub fn in_flight(&self) -> u32 {
        self.gate.in_flight()
    }

    /// Waits until the closed gate has nobody inside. Never returns while the gate stays open.
    pub async fn drained(&self) {
        loop {
            let notified = self.drained.notified();
            if self.gate.is_drained() {
                return;
            }
            notified.await;
        }
    }

    pub(super) fn open(&self) {
        self.gate.open();
    }

    pub(super) fn close(&self) {
        if self.gate.close() {
            self.drained.notify_waiters();
        }
    }

    pub fn metadata(&self) -> arc_swap::Guard<Arc<WorkerMetadata>> {
        self.metadata.load()
    }

    /// Changes the metadata; `change` may run more than once.
    pub fn update_metadata(&self, change: impl Fn(&mut WorkerMetadata)) {
        self.metadata.rcu(|old| {
            let mut new = WorkerMetadata::clone(old);
            change(&mut new);
            new
        });
    }

    /// The worker's own token load, where a poll succeeded lately.
    pub fn load(&self, now: Timestamp, poll_interval: Duration) -> Option<LoadReading> {
        self.load
            .read()
            .filter(|reading| now.since(reading.at) <= poll_interval * FRESH_INTERVALS)
    }

    pub fn record_load(&self, reading: Option<LoadReading>) {
        self.load.write(reading);
    }
}

/// A place on a worker. Dropping it gives the place back.
#[derive(Debug)]
pub struct Ticket {
    worker: Arc<Worker>,
}

impl Ticket {
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.worker.gate.leave() {
            self.worker.drained.notify_waiters();
        }
    }
}

/// A `LoadReading` that is read without a lock. The two words may be from two readings; a policy can live with that.
#[derive(Debug)]
struct LoadCell {
    tokens: AtomicU64,
    at: AtomicU64,
}

/// `at` of a cell without a reading.
const NEVER: u64 = u64::MAX;

impl Default for LoadCell {
    fn default() -> Self {
        Self {
            tokens: AtomicU64::new(0),
            at: AtomicU64::new(NEVER),
        }
    }
}

impl LoadCell {
    fn read(&self) -> Option<LoadReading> {
        match self.at.load(Ordering::Acquire) {
            NEVER => None,
            at => Some(LoadReading {
                tokens: self.tokens.load(Ordering::Relaxed),
                at: Timestamp::from_micros(at),
            }),
        }
    }

    fn write(&self, reading: Option<LoadReading>) {
        if let Some(reading) = reading {
            self.tokens.store(reading.tokens, Ordering::Relaxed);
        }
        self.at.store(
            reading.map_or(NEVER, |reading| reading.at.as_micros()),
            Ordering::Release,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_urls_are_read_as_users_write_them() {
        let cases = [
            (
                "http://127.0.0.1:30000",
                "127.0.0.1",
                "http://127.0.0.1:30000/generate",
            ),
            (
                "http://127.0.0.1:30000/",
                "127.0.0.1",
                "http://127.0.0.1:30000/generate",
            ),
            ("node-3:30000", "node-3", "http://node-3:30000/generate"),
            ("http://[::1]:30000", "[::1]", "http://[::1]:30000/generate"),
            (
                "https://gw.example/team-a",
                "gw.example",
                "https://gw.example/team-a/generate",
            ),
        ];
        for (given, host, joined) in cases {
            let url = WorkerUrl::parse(given).unwrap();
            assert_eq!(url.host(), host, "{given}");
            assert_eq!(url.join("/generate").as_str(), joined, "{given}");
        }
        for given in [
            "",
            "http://",
            "grpc://h:1",
            "http://h:99999",
            "http://h:1/?q=1",
        ] {
            assert!(WorkerUrl::parse(given).is_err(), "{given}");
        }
    }

    #[test]
    fn the_bootstrap_server_is_on_the_same_host() {
        let url = WorkerUrl::parse("http://[fd00::7]:30000").unwrap();
        assert_eq!(
            url.with_port(9000, "/route").as_str(),
            "http://[fd00::7]:9000/route"
        );
    }

    #[test]
    fn a_stale_or_failed_reading_is_no_reading() {
        let worker = Worker::new(
            WorkerId(1),
            &WorkerSpec::new(WorkerUrl::parse("http://a:1").unwrap(), Role::Decode),
            &crate::config::Config::default().breaker,
        );
        let second = Duration::from_secs(1);
        assert_eq!(worker.load(Timestamp::ZERO, second), None);
        let reading = LoadReading {
            tokens: 7,
            at: Timestamp::from_micros(1_000_000),
        };
        worker.record_load(Some(reading));
        assert_eq!(
            worker.load(Timestamp::from_micros(6_000_000), second),
            Some(reading)
        );
        assert_eq!(worker.load(Timestamp::from_micros(6_000_001), second), None);
        worker.record_load(None);
        assert_eq!(worker.load(Timestamp::from_micros(2_000_000), second), None);
    }
}
