//! Asking workers for an admin call: a time limit on each answer and a bound on its size.
//!
//! An answer that isn't a success is an error here, because every caller treats the two alike: that worker has
//! nothing to contribute.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::upstream::{Upstream, UpstreamError, UpstreamRequest};
use crate::workers::{Member, Worker};

/// The metrics of a worker with many data-parallel ranks are the largest answer: a few megabytes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Workers asked at once by one admin call, as for the health checks.
const MAX_ASKED_AT_ONCE: usize = 64;

/// Why a worker's answer is missing.
#[derive(Debug)]
pub(super) enum AskError {
    TimedOut(Duration),
    Upstream(UpstreamError),
    Status(StatusCode),
    TooLong,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no answer within {} s", limit.as_secs_f64()),
            Self::Upstream(error) => error.fmt(f),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::TooLong => write!(f, "answered more than {ANSWER_LIMIT} bytes"),
        }
    }
}

/// A worker and what it answered.
pub(super) type Asked = (Member, Result<Bytes, AskError>);

/// The body of a successful answer within `limit`.
pub(super) async fn ask(
    upstream: &Upstream,
    request: UpstreamRequest,
    limit: Duration,
) -> Result<Bytes, AskError> {
    match timeout(limit, answer(upstream, request)).await {
        Ok(answer) => answer,
        Err(_) => Err(AskError::TimedOut(limit)),
    }
}

/// Asks every one of `members` at once; the answers come in the order of `members`.
pub(super) async fn ask_all(
    upstream: &Upstream,
    members: Vec<Member>,
    limit: Duration,
    request: impl Fn(&Worker) -> UpstreamRequest,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut under_way = JoinSet::new();
    for (position, member) in members.into_iter().enumerate() {
        if under_way.len() == MAX_ASKED_AT_ONCE {
            asked.extend(under_way.join_next().await);
        }
        let upstream = upstream.clone();
        let request = request(&member.worker);
        under_way.spawn(async move { (position, (member, ask(&upstream, request, limit).await)) });
    }
    while let Some(answer) = under_way.join_next().await {
        asked.push(answer);
    }
    let mut answers: Vec<_> = asked
        .into_iter()
        .map(|answer| answer.expect("asking neither panics nor is aborted"))
        .collect();
    answers.sort_unstable_by_key(|(position, _)| *position);
    answers.into_iter().map(|(_, asked)| asked).collect()
}

/// A GET of `path` with the worker's own key.
pub(super) fn get(worker: &Worker, path: &str) -> UpstreamRequest {
    UpstreamRequest::get(worker.url.join(path)).bearer(worker.api_key.as_deref())
}

async fn answer(upstream: &Upstream, request: UpstreamRequest) -> Result<Bytes, AskError> {
    let response = upstream.send(request).await.map_err(AskError::Upstream)?;
    let (head, mut body) = response.into_parts();
    if !head.status.is_success() {
        return Err(AskError::Status(head.status));
    }
    let bytes = body
        .collect_up_to(ANSWER_LIMIT)
        .await
        .map_err(AskError::Upstream)?;
    if bytes.len() >= ANSWER_LIMIT {
        return Err(AskError::TooLong);
    }
    Ok(bytes)
}
