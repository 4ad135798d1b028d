//! Telling workers that nobody wants an answer any more.
//!
//! A dropped connection is enough in the end, but SGLang looks for one only every few seconds, so the router also says
//! it by the request's common `rid`. One background task sends the messages: the request path hands over and goes on.

use std::sync::Arc;

use policies::worker::WorkerId;
use smallvec::SmallVec;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bootstrap::Rid;
use crate::upstream::{Upstream, UpstreamRequest};
use crate::workers::Worker;

/// Messages that may wait. Above that they are dropped: the closed connection still tells the worker.
const WAITING: usize = 4096;

/// Messages under way at once.
const UNDER_WAY: usize = 64;

/// An abort that takes longer is worth nothing any more.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

#[derive(Debug)]
pub struct Abort {
    worker: Arc<Worker>,
    rid: Rid,
}

#[derive(Debug, Clone)]
pub struct Aborter(mpsc::Sender<Abort>);

pub fn channel() -> (Aborter, mpsc::Receiver<Abort>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Aborter(sender), receiver)
}

/// Sends aborts until cancelled.
pub async fn run(upstream: Upstream, mut aborts: mpsc::Receiver<Abort>, cancel: CancellationToken) {
    let mut sending = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            Some(_) = sending.join_next() => {}
            Some(abort) = aborts.recv(), if sending.len() < UNDER_WAY => {
                sending.spawn(send(upstream.clone(), abort));
            }
        }
    }
}

async fn send(upstream: Upstream, abort: Abort) {
    let url = abort.worker.url.join("/abort_request");
    let body = format!("{{\"rid\":\"{}\"}}", abort.rid);
    let request = UpstreamRequest::post_json(url, body).bearer(abort.worker.api_key.as_deref());
    if !matches!(
        tokio::time::timeout(LIMIT, upstream.send(request)).await,
        Ok(Ok(_))
    ) {
        tracing::debug!(worker = %abort.worker.url, "an abort did not reach the worker");
    }
}

/// Aborts a request on its workers when dropped, unless it was disarmed before.
#[derive(Debug)]
pub struct AbortGuard {
    aborter: Aborter,
    /// `None` where the request carries an id of the client's own, or none: the closed connection has to do.
    rid: Option<Rid>,
    workers: SmallVec<[Arc<Worker>; 2]>,
}

impl AbortGuard {
    pub fn new(aborter: Aborter, rid: Option<Rid>) -> Self {
        Self {
            aborter,
            rid,
            workers: SmallVec::new(),
        }
    }

    pub fn watch(&mut self, worker: &Arc<Worker>) {
        self.workers.push(Arc::clone(worker));
    }

    /// This worker has ended its part.
    pub fn forget(&mut self, id: WorkerId) {
        self.workers.retain(|worker| worker.id != id);
    }

    /// Every worker has ended its part.
    pub fn disarm(&mut self) {
        self.workers.clear();
    }
}

impl Drop for AbortGuard {
    fn drop(&mut self) {
        let Some(rid) = self.rid else { return };
        for worker in self.workers.drain(..) {
            // Full: the closed connection has to do.
            let _ = self.aborter.0.try_send(Abort { worker, rid });
        }
    }
}
