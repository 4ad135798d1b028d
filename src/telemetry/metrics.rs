//! The metrics: one explicit registry, every family made and described here.
//!
//! Families that the peer has and that mean the same keep the peer's names and labels (`smg_*`), so that dashboards go
//! on working; new ones are `adaptive_router_*`. Label sets are closed but for `worker`, whose series go when it goes,
//! and `model`, which is bounded. `docs/metrics.md` is made from what stands here.

mod buckets;
mod catalogue;
mod continuations;
mod documentation;
mod gauges;
mod http;
mod labels;
mod launches;
mod ratio;
mod requests;
mod workers;

use parking_lot::Mutex;
use policies::time::Timestamp;
use prometheus::{Encoder as _, TextEncoder};

use crate::workers::WorkerSet;

pub use buckets::Buckets;
use catalogue::Catalogue;
pub use continuations::Continuation;
use continuations::ContinuationFamilies;
use gauges::WorkerGauges;
pub use http::HttpFamilies;
pub use launches::{LaunchFamilies, LaunchReason};
pub use ratio::RatioFamilies;
use requests::RequestFamilies;
pub use requests::RequestLabels;
use workers::WorkerFamilies;

#[derive(Debug)]
pub struct Metrics {
    catalogue: Catalogue,
    pub http: HttpFamilies,
    pub requests: RequestFamilies,
    pub continuations: ContinuationFamilies,
    pub workers: WorkerFamilies,
    pub ratio: RatioFamilies,
    pub launches: LaunchFamilies,
    /// Two scrapes at once would reset each other's gauges.
    gauges: Mutex<WorkerGauges>,
}

impl Metrics {
    pub fn new(buckets: &Buckets) -> Self {
        let mut catalogue = Catalogue::new();
        let make = &mut catalogue;
        let http = HttpFamilies::new(make, buckets);
        let requests = RequestFamilies::new(make, buckets);
        let continuations = ContinuationFamilies::new(make);
        let workers = WorkerFamilies::new(make, buckets);
        let gauges = Mutex::new(WorkerGauges::new(make));
        let ratio = RatioFamilies::new(make);
        let launches = LaunchFamilies::new(make);
        let build = make.gauge(
            "adaptive_router_build_info",
            "The router's version; always 1",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        make.process();
        Self {
            catalogue,
            http,
            requests,
            continuations,
            workers,
            ratio,
            launches,
            gauges,
        }
    }

    /// The exposition text. The workers' gauges are made from `set`, and what is kept of workers outside it is
    /// forgotten.
    pub fn render(&self, set: &WorkerSet, now: Timestamp) -> Vec<u8> {
        let workers = set
            .members()
            .iter()
            .map(|member| member.worker.url.as_str())
            .collect();
        let families = {
            let gauges = self.gauges.lock();
            gauges.show(set, now);
            self.catalogue.gather(&workers)
        };
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("a vector takes every byte");
        text
    }

    /// Every family as a page of documentation.
    pub fn documentation(&self) -> String {
        documentation::page(self.catalogue.descriptions())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(&Buckets::default())
    }
}
