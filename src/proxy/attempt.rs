//! One attempt: both legs in one future, and the moment from which the answer is shown to the client.
//!
//! Both legs are sent at once. Whichever fails first fails the attempt, and dropping the other closes its connection.
//! A client that leaves drops the whole future and with it both legs.

use std::sync::Arc;

use bytes::Bytes;
use policies::worker::Role;
use tokio::time::Instant;

use super::abort::AbortGuard;
use super::failure::{Cause, Failure};
use super::leg::{Answer, Leg, Limits, Opened, PrefillLeg};
use super::logprobs::PromptLogprobs;
use super::outcome::PrefillTimes;
use crate::upstream::Upstream;

/// How long a complete answer waits for the response of its prefill, which ends at about the same time for an answer
/// of one token. Dropping it would close a connection that is as good as free.
const PREFILL_LINGER: std::time::Duration = std::time::Duration::from_millis(50);

/// The legs of one attempt.
pub struct Legs {
    /// None on a regular worker.
    pub prefill: Option<Leg>,
    pub serving: Leg,
    pub limits: Limits,
    /// Whether the prefill's log probabilities go into the answer.
    pub merge_logprobs: bool,
    pub abort: AbortGuard,
}

/// An answer that the client may see.
pub struct Committed {
    pub opened: Opened,
    /// The prefill leg where it hasn't ended: whoever relays the stream drives it on.
    pub prefill: Option<PrefillLeg>,
    pub prefill_times: Option<PrefillTimes>,
    /// What to put into each event.
    pub merge: Option<PromptLogprobs>,
    pub abort: AbortGuard,
}

impl Legs {
    pub async fn run(mut self, upstream: &Upstream) -> Result<Committed, Failure> {
        let mut prefill_times = self.prefill.as_ref().map(|leg| PrefillTimes {
            worker: Arc::clone(leg.worker()),
            sent: Instant::now(),
            ended: None,
        });
        for leg in self.prefill.iter().chain([&self.serving]) {
            self.abort.watch(leg.worker());
        }
        let keep = if self.merge_logprobs {
            self.limits.held
        } else {
            0
        };
        let mut prefill: Option<PrefillLeg> = self
            .prefill
            .map(|leg| Box::pin(leg.run_prefill(upstream.clone(), keep)) as PrefillLeg);
        let mut serving = std::pin::pin!(self.serving.open(upstream, self.limits));
        let mut prefill_body = Bytes::new();
        let mut opened = loop {
            tokio::select! {
                // The serving leg's verdict first: where both fail at once, it is the one that clients know.
                biased;
                opened = &mut serving => match opened {
                    Ok(opened) => break opened,
                    Err(mut failure) => {
                        let silent = matches!(failure.cause, Cause::Silent { .. });
                        if silent && prefill.is_some() {
                            failure.partner = prefill_times.map(|times| times.worker);
                        }
                        return Err(ended(self.abort, failure));
                    }
                },
                done = ended_prefill(&mut prefill) => match done {
                    Ok(body) => prefill_body = body,
                    Err(failure) => return Err(ended(self.abort, failure)),
                },
            }
            prefill = None;
            if let Some(times) = &mut prefill_times {
                times.ended = Some(Instant::now());
                self.abort.forget(times.worker.id);
            }
        };
        let whole = matches!(opened.answer, Answer::Whole(_));
        if prefill.is_some() && (whole || self.merge_logprobs) {
            // Log probabilities can't be merged before they are there; without any, a short wait is a courtesy.
            let limit = if self.merge_logprobs {
                self.limits.first
            } else {
                PREFILL_LINGER
            };
            if let Ok(done) = tokio::time::timeout(limit, ended_prefill(&mut prefill)).await {
                prefill_body = done.map_err(|failure| ended_all(&mut self.abort, failure))?;
                prefill = None;
                if let Some(times) = &mut prefill_times {
                    times.ended = Some(Instant::now());
                }
            }
        }
        let merge = self.merge_logprobs.then(|| {
            let streamed = matches!(opened.answer, Answer::Stream { .. });
            PromptLogprobs::from_prefill(&prefill_body, streamed)
        });
        if let (Answer::Whole(answer), Some(merge)) = (&mut opened.answer, &merge) {
            *answer = merge.merge_whole(answer);
        }
        if whole {
            self.abort.disarm();
            prefill = None;
        }
        Ok(Committed {
            opened,
            prefill,
            prefill_times,
            merge,
            abort: self.abort,
        })
    }
}

/// Waits for the prefill's end; for ever where there is none under way.
async fn ended_prefill(prefill: &mut Option<PrefillLeg>) -> super::leg::PrefillOutcome {
    match prefill {
        Some(leg) => leg.await,
        None => std::future::pending().await,
    }
}

/// The leg that failed needs no abort; the other one gets it as `abort` is dropped.
fn ended(mut abort: AbortGuard, failure: Failure) -> Failure {
    abort.forget(failure.worker.id);
    failure
}

fn ended_all(abort: &mut AbortGuard, failure: Failure) -> Failure {
    abort.disarm();
    failure
}

/// The role of the leg whose answer the client gets.
pub const fn serving_role(paired: bool) -> Role {
    if paired { Role::Decode } else { Role::Regular }
}
