//! Watching the workers, beside the request path: are they up (`health`, `probe`), how loaded are they (`loads`), and
//! how well does the split between the roles fit (`ratio`)?
//!
//! Each loop is a plain future that its owner spawns and a cancellation token ends. The loops own no request and meet
//! the proxy only in `workers` (the lifecycle, a worker's metadata and its load report) and in the request statistics.

pub mod health;
pub mod loads;
mod probe;
pub mod ratio;
pub mod removal;
pub mod transition;

#[cfg(test)]
mod stand_in;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use url::Url;

use crate::clock::Clock;
use crate::telemetry::Metrics;
use crate::upstream::{Upstream, UpstreamError, UpstreamRequest};
use crate::workers::WorkerRegistry;

pub use probe::Failure;

/// What the loops work on. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub registry: Arc<WorkerRegistry>,
    pub upstream: Upstream,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

/// A worker's answer about itself.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// `/server_info` lists every launch argument, some 20 KB; a body beyond this is no such answer and is cut.
const ANSWER_LIMIT: usize = 1024 * 1024;

impl Fleet {
    /// Asks `url`, with no time limit of its own. The body is read to its end, so that the connection can be reused.
    async fn get(&self, url: Url, key: Option<&str>) -> Result<Answer, UpstreamError> {
        let request = UpstreamRequest::get(url).bearer(key);
        let (head, mut body) = self.upstream.send(request).await?.into_parts();
        Ok(Answer {
            status: head.status,
            body: body.collect_up_to(ANSWER_LIMIT).await?,
        })
    }
}
