//! Binding an attempt to its workers: as it comes, or when there is room.

use std::sync::Arc;
use std::time::Duration;

use policies::route::RouteRequest;
use policies::worker::Role;
use tokio::time::Instant;

use super::error::RouteError;
use super::handler::{Proxy, Routed};
use super::headers;
use super::outcome::QueueWait;
use super::pick::{NoWorker, Picked, Picker, Tried};
use super::queue::{PrefillQueue, Turn, Wanting};
use crate::telemetry::trace::RequestTrace;
use crate::workers::Watching;

/// How often a stream without a pair looks whether there is one: often beside the seconds that a worker takes to come.
const LOOK: Duration = Duration::from_millis(100);

/// The workers of an attempt, with places taken on them.
pub(super) struct Workers {
    /// `None` on a regular worker.
    pub(super) prefill: Option<(Picked, Option<Turn>)>,
    pub(super) serving: Picked,
}

impl Proxy {
    /// Picks the workers of an attempt, when there are some that have room.
    pub(super) async fn workers_for(
        &self,
        routed: &Routed<'_>,
        tried: &Tried,
        wait: &mut QueueWait,
        trace: &mut RequestTrace,
    ) -> Result<Workers, RouteError> {
        let request = route_request(routed);
        if routed.goes_on {
            return self.workers_soon(routed, request, tried).await;
        }
        let Some(queue) = self.queue.as_ref().filter(|_| routed.paired) else {
            return self
                .workers_now(routed, request, tried)
                .map_err(RouteError::NoWorker);
        };
        let (prefill, serving) = if request.target_index.is_some() {
            // Its client insists on a worker, which may have no room while others do: it holds up nobody.
            self.picker(routed)
                .pair(request, tried)
                // Another may have seen the place that this one took and gave back.
                .inspect_err(|_| queue.room_may_be())
                .map_err(RouteError::NoWorker)?
        } else {
            trace.queued();
            wait.waits();
            let pair = self.pair_in_turn(queue, routed, tried, wait).await;
            wait.waits_no_more();
            trace.queue_ended();
            pair?
        };
        Ok(in_queue(queue, prefill, serving, routed.prompt_tokens))
    }

    /// Picks for a stream that goes on elsewhere. Its client has a part of the answer and holds up nobody for the rest:
    /// it passes the line, and waits only while there is no worker but one is on its way.
    async fn workers_soon(
        &self,
        routed: &Routed<'_>,
        request: RouteRequest<'_>,
        tried: &Tried,
    ) -> Result<Workers, RouteError> {
        let deadline = Instant::now() + self.config.queue.timeout;
        loop {
            let missing = match self.workers_now(routed, request, tried) {
                Ok(workers) => return Ok(self.counted_in_line(workers, routed.prompt_tokens)),
                Err(missing) => missing,
            };
            let expected = self.registry.snapshot().expects(missing.role);
            if missing.circuits_open || !expected || Instant::now() >= deadline {
                return Err(RouteError::NoWorker(missing));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The same workers with what those behind in the line have to know of them.
    fn counted_in_line(&self, workers: Workers, prompt_tokens: u32) -> Workers {
        match (self.queue.as_ref(), workers) {
            (
                Some(queue),
                Workers {
                    prefill: Some((prefill, None)),
                    serving,
                },
            ) => in_queue(queue, prefill, serving, prompt_tokens),
            (_, workers) => workers,
        }
    }

    async fn pair_in_turn(
        &self,
        queue: &PrefillQueue,
        routed: &Routed<'_>,
        tried: &Tried,
        wait: &QueueWait,
    ) -> Result<(Picked, Picked), RouteError> {
        let wanting = Wanting {
            registry: &self.registry,
            clock: self.clock,
            arrived: wait.arrived(),

            standing: queue.standings.of(routed.headers, routed.view.priority),
            prompt_tokens: routed.prompt_tokens,
            patience: self.config.queue.timeout.saturating_sub(wait.so_far()),
        };
        let request = route_request(routed);
        let take = |room| {
            let taken = self.picker(routed).pair_with_room(request, tried, room);
            // Who waits for room can as well wait for a worker that is on its way.
            taken.or_else(|missing| {
                let expected =
                    !missing.circuits_open && self.registry.snapshot().expects(missing.role);
                if expected { Ok(None) } else { Err(missing) }
            })
        };
        queue.dispatch(&wanting, take).await
    }

    fn workers_now(
        &self,
        routed: &Routed<'_>,
        request: RouteRequest<'_>,
        tried: &Tried,
    ) -> Result<Workers, NoWorker> {
        let picker = self.picker(routed);
        if routed.paired {
            picker
                .pair(request, tried)
                .map(|(prefill, serving)| Workers {
                    prefill: Some((prefill, None)),
                    serving,
                })
        } else {
            picker
                .one(Role::Regular, request, tried)
                .map(|serving| Workers {
                    prefill: None,
                    serving,
                })
        }
    }

    fn picker(&self, routed: &Routed<'_>) -> Picker<'_> {
        Picker {
            registry: &self.registry,
            policies: &self.policies,
            now: self.clock.now(),
            load_interval: self.config.health.load_poll_interval,
            prompt_tokens: routed.prompt_tokens,
        }
    }
}

/// A pair that the line knows of: its end may make room for the next.
fn in_queue(
    queue: &Arc<PrefillQueue>,
    prefill: Picked,
    serving: Picked,
    prompt_tokens: u32,
) -> Workers {
    let turn = queue.turn(prefill.ticket.worker(), prompt_tokens);
    let serving = if queue.is_for_decode() {
        serving.telling(Arc::clone(queue) as Arc<dyn Watching>)
    } else {
        serving
    };
    Workers {
        prefill: Some((prefill, Some(turn))),
        serving,
    }
}

/// What the policies may know of a request.
fn route_request<'a>(routed: &Routed<'a>) -> RouteRequest<'a> {
    let header = |name| headers::text(routed.headers, name);
    RouteRequest {
        prompt: routed.view.prompt,
        routing_key: header("x-smg-routing-key"),
        client_key: header("authorization")
            .or_else(|| header("x-forwarded-for"))
            .or_else(|| header("cookie")),
        target_index: header("x-smg-target-worker").and_then(|index| index.parse().ok()),
        partners: 1,
    }
}
