//! Getting a stream another pair.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use policies::worker::Role;
use smallvec::SmallVec;

use super::draft::{Continued, Draft};
use super::obstacle::Obstacle;
use super::rewrite::Rewrite;
use super::tokenizer::Tokenizer;
use super::{Cause, Kept};
use crate::proxy::abort::AbortGuard;
use crate::proxy::attempt::{Committed, serving_role};
use crate::proxy::error::RouteError;
use crate::proxy::handler::{Proxy, Routed};
use crate::proxy::leg::{Answer, PrefillLeg};
use crate::proxy::outcome::{PrefillTimes, QueueWait};
use crate::proxy::pick::Tried;
use crate::proxy::request::RequestView;
use crate::proxy::tokens;
use crate::telemetry::trace::{LegTrace, RequestTrace};
use crate::upstream::UpstreamBody;
use crate::workers::{Ticket, Worker};

/// Another pair's answer, whose first event is there, and how to read it.
pub(in crate::proxy) struct Resumed {
    pub(in crate::proxy) ticket: Ticket,
    pub(in crate::proxy) trace: LegTrace,
    pub(in crate::proxy) abort: AbortGuard,
    pub(in crate::proxy) prefill: Option<PrefillLeg>,
    pub(in crate::proxy) prefill_times: Option<PrefillTimes>,
    pub(in crate::proxy) start: SmallVec<[Bytes; 1]>,
    pub(in crate::proxy) rest: UpstreamBody,
    pub(in crate::proxy) rewrite: Rewrite,
}

impl Resumed {
    /// `None` where the answer is no stream.
    fn of(committed: Committed, rewrite: Rewrite) -> Option<Self> {
        let Committed {
            opened,
            prefill,
            prefill_times,
            merge: _,
            abort,
        } = committed;
        let Answer::Stream { start, rest } = opened.answer else {
            return None;
        };
        Some(Self {
            ticket: opened.ticket,
            trace: opened.trace,
            abort,
            prefill,
            prefill_times,
            start,
            rest,
            rewrite,
        })
    }
}

/// Why there is none.
#[derive(Debug)]
pub(in crate::proxy) enum NotResumed {
    Obstacle(Obstacle),
    Route(RouteError),
}

impl NotResumed {
    /// As a metric label.
    pub(in crate::proxy) fn reason(&self) -> &'static str {
        match self {
            Self::Obstacle(obstacle) => obstacle.as_str(),
            Self::Route(_) => "no_pair",
        }
    }

    /// What went wrong, for the log.
    pub(in crate::proxy) fn code(&self) -> &'static str {
        match self {
            Self::Obstacle(obstacle) => obstacle.as_str(),
            Self::Route(error) => error.code(),
        }
    }
}

/// A stream on its way to another pair.
pub(in crate::proxy) struct Resuming {
    pub(in crate::proxy) cause: Cause,
    pub(in crate::proxy) answer: Pin<Box<dyn Future<Output = Result<Resumed, NotResumed>> + Send>>,
}

impl Proxy {
    /// Asks another pair than `from` to go on with a stream.
    pub(in crate::proxy) fn resume(
        self: &Arc<Self>,
        cause: Cause,
        kept: &Arc<Kept>,
        draft: Box<Draft>,
        from: &Worker,
    ) -> Resuming {
        let (proxy, kept) = (Arc::clone(self), Arc::clone(kept));
        let tried = Tried::from_slice(&[from.id]);
        Resuming {
            cause,
            answer: Box::pin(async move { proxy.resumed(&kept, *draft, tried).await }),
        }
    }

    async fn resumed(
        self: &Arc<Self>,
        kept: &Kept,
        draft: Draft,
        tried: Tried,
    ) -> Result<Resumed, NotResumed> {
        let tokenizer = self.tokenizer(kept.paired, &tried);
        let written = draft.write(tokenizer.as_ref()).await;
        let Continued { body, rewrite } = written.map_err(NotResumed::Obstacle)?;
        let body = Bytes::from(body);
        let view = RequestView::parse(kept.endpoint, &body)
            .map_err(|error| NotResumed::Route(RouteError::Request(error)))?;
        let prompt_tokens = tokens::estimate(view.prompt);
        let routed = Routed {
            endpoint: kept.endpoint,
            paired: kept.paired,
            headers: &kept.headers,
            body: &body,
            view: &view,
            model: &kept.model,
            prompt_tokens,
            traces: kept.traces.clone(),
            goes_on: true,
        };
        let mut wait = QueueWait::from(self.clock.now());
        let committed = self
            .with_retries(&routed, tried, &mut wait, &mut RequestTrace::off())
            .await
            .map_err(NotResumed::Route)?;
        Resumed::of(committed, rewrite).ok_or(NotResumed::Obstacle(Obstacle::Unreadable))
    }

    /// A worker that can be asked for tokens: rather one that prefills, whose processor isn't what streams wait for.
    fn tokenizer(&self, paired: bool, tried: &Tried) -> Option<Tokenizer> {
        let set = self.registry.snapshot();
        let now = self.clock.now();
        let first = if paired {
            Role::Prefill
        } else {
            serving_role(false)
        };
        let found = set
            .serving(first)
            .iter()
            .find(|member| member.worker.breaker.allows(now) && !tried.contains(&member.worker.id));
        let worker = Arc::clone(&found?.worker);
        Some(Tokenizer::new(self.upstream.clone(), worker))
    }
}
