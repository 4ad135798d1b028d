//! One worker: its address, what is known of it, and its live counters.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use policies::queue::{self, Claim, DecodePlaces};
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};
use tokio::sync::Notify;
use url::Url;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::breaker::Breaker;
use super::gates::{Place, Taken};
use super::pace::DecodePace;
use super::report::LoadReport;
use super::stats::WorkerStats;
use super::ticket::Ticket;
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
    /// The port of its bootstrap server, which prefill workers have, and decode workers that can change their role in
    /// place. `None` until the worker itself tells.
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
    /// Whether its model was named when it was registered, and isn't what it says itself.
    pub has_given_model: bool,
    pub check_health: bool,
    pub breaker: Breaker,
    gate: Taken,
    drained: Notify,
    metadata: ArcSwap<WorkerMetadata>,
    pub stats: WorkerStats,
    /// Where requests wait for a place on it.
    pace: Option<DecodePace>,
    /// The last report that it gave.
    report: ArcSwapOption<LoadReport>,
    /// Whether it gave one when it was last asked.
    reports: AtomicBool,
    /// Streams that can go on elsewhere are to leave.
    left_by_streams: AtomicBool,
}

impl Worker {
    pub(super) fn new(
        id: WorkerId,
        spec: &WorkerSpec,
        breaker: &BreakerSettings,
        itl_target: Option<Duration>,
        gate: Taken,
    ) -> Self {
        Self {
            id,
            uuid: Uuid::new_v4(),
            url: spec.url.clone(),
            key: xxh3_64(spec.url.as_str().as_bytes()),
            api_key: spec.api_key.clone(),
            check_health: spec.check_health,
            has_given_model: spec.model_id.is_some(),
            breaker: Breaker::new(breaker, gate.place().clone()),
            gate,
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
            stats: WorkerStats::default(),
            pace: itl_target.map(DecodePace::new),
            report: ArcSwapOption::empty(),
            reports: AtomicBool::new(false),
            left_by_streams: AtomicBool::new(false),
        }
    }

    /// Takes a place on the worker; `None` while its gate is closed.
    pub fn enter(self: &Arc<Self>) -> Option<Ticket> {
        self.gate.enter().then(|| Ticket::new(Arc::clone(self)))
    }

    pub(super) fn leave(&self) {
        if self.gate.leave() {
            self.drained.notify_waiters();
        }
    }

    pub fn in_flight(&self) -> u32 {
        self.gate.in_flight()
    }

    pub(super) fn gate(&self) -> &Place {
        self.gate.place()
    }

    /// It gave `tokens` tokens at `now`, each `gap` after the one before it.
    pub fn gave(&self, now: Timestamp, tokens: u32, gap: Duration) {
        self.stats.itl.record(now, gap, tokens);
        if let Some(pace) = &self.pace {
            pace.streamed(now, tokens, gap, self.in_flight());
        }
    }

    /// Whether requests wait in the router for a place on it.
    pub const fn is_waited_for(&self) -> bool {
        self.pace.is_some()
    }

    /// Requests that it may have: as many as it says that it runs at a time, or fewer where its tokens would come too slowly
    /// else. `None` where nothing bounds them.
    pub fn places(&self) -> Option<u64> {
        let report = self.report.load();
        let says = report.as_ref().and_then(|report| report.most_running);
        let shows = self.pace.as_ref().and_then(DecodePace::most);
        says.map(NonZeroU64::get).into_iter().chain(shows).min()
    }

    /// Whether it has a place for a request with `claim`. One that nothing bounds has a place for everybody.
    pub fn has_place(&self, claim: Claim) -> bool {
        self.places().is_none_or(|most| {
            let places = DecodePlaces {
                most,
                in_flight: self.in_flight().into(),
                late: self.stats.late().into(),
            };
            queue::has_place(places, claim)
        })
    }

    /// It has another role: what was measured of it says nothing any more.
    pub(super) fn forget_measurements(&self) {
        self.stats.clear_latencies();
        if let Some(pace) = &self.pace {
            pace.clear();
        }
    }

    /// Asks the streams on it to go on at other workers, those that can; or to stay again.
    pub fn ask_streams_to_leave(&self, leave: bool) {
        self.left_by_streams.store(leave, Ordering::Relaxed);
    }

    /// Whether its streams are to go on at other workers.
    pub fn is_left_by_streams(&self) -> bool {
        self.left_by_streams.load(Ordering::Relaxed)
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

    /// The last report that the worker gave, however old.
    pub fn report(&self) -> arc_swap::Guard<Option<Arc<LoadReport>>> {
        self.report.load()
    }

    /// The worker's own count of the tokens it holds or has before it, where the last poll succeeded, and lately.
    pub fn reported_tokens(&self, now: Timestamp, poll_interval: Duration) -> Option<u64> {
        if !self.reports.load(Ordering::Relaxed) {
            return None;
        }
        let report = self.report.load();
        let report = report.as_ref()?;
        (now.since(report.at) <= poll_interval * FRESH_INTERVALS).then(|| report.tokens())
    }

    /// Keeps a report; `None` of a poll that failed, after which the one before serves only those who want to know how
    /// old it is.
    pub fn record_report(&self, report: Option<LoadReport>) {
        self.reports.store(report.is_some(), Ordering::Relaxed);
        if let Some(report) = report {
            if let Some(pace) = &self.pace {
                pace.reported(report.at, &report.decode_moments, self.in_flight());
            }
            self.report.store(Some(Arc::new(report)));
        } else if let Some(pace) = &self.pace {
            pace.unreported();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::gates::Gates;

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
            None,
            Gates::default().take(),
        );
        let second = Duration::from_secs(1);
        assert_eq!(worker.reported_tokens(Timestamp::ZERO, second), None);
        worker.record_report(Some(LoadReport {
            at: Timestamp::from_micros(1_000_000),
            used_tokens: 7,
            ..LoadReport::default()
        }));
        let tokens_at = |micros| worker.reported_tokens(Timestamp::from_micros(micros), second);
        assert_eq!(tokens_at(6_000_000), Some(7));
        assert_eq!(tokens_at(6_000_001), None);
        worker.record_report(None);
        assert_eq!(tokens_at(2_000_000), None);
        assert!(worker.report().is_some(), "its age can still be shown");
    }

    #[test]
    fn prompt_tokens_are_pending_as_long_as_the_ticket_is_held() {
        let worker = Arc::new(Worker::new(
            WorkerId(1),
            &WorkerSpec::new(WorkerUrl::parse("http://a:1").unwrap(), Role::Prefill),
            &crate::config::Config::default().breaker,
            None,
            Gates::default().take(),
        ));
        worker.open();
        let tickets = [10, 5].map(|tokens| worker.enter().unwrap().carrying(tokens));
        assert_eq!(worker.stats.pending_prompt_tokens(), 15);
        drop(tickets);
        assert_eq!(worker.stats.pending_prompt_tokens(), 0);
    }
}
