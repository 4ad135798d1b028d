//! Binding an attempt to its workers: as it comes, or when there is room.

use std::sync::Arc;

use policies::route::RouteRequest;
use policies::worker::Role;

use super::error::RouteError;
use super::handler::{Proxy, Routed};
use super::headers;
use super::outcome::Accepted;
use super::pick::{NoWorker, Picked, Picker, Tried};
use super::queue::{PrefillQueue, Turn, Wanting};
use crate::telemetry::trace::RequestTrace;
use crate::workers::Watching;

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
        accepted: &mut Accepted,
        trace: &mut RequestTrace,
    ) -> Result<Workers, RouteError> {
        let request = route_request(routed);
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
            accepted.waits();
            let pair = self.pair_in_turn(queue, routed, tried, accepted).await;
            accepted.waits_no_more();
            trace.queue_ended();
            pair?
        };
        let turn = queue.turn(prefill.ticket.worker(), routed.prompt_tokens);
        let serving = if queue.is_for_decode() {
            serving.telling(Arc::clone(queue) as Arc<dyn Watching>)
        } else {
            serving
        };
        Ok(Workers {
            prefill: Some((prefill, Some(turn))),
            serving,
        })
    }

    async fn pair_in_turn(
        &self,
        queue: &PrefillQueue,
        routed: &Routed<'_>,
        tried: &Tried,
        accepted: &Accepted,
    ) -> Result<(Picked, Picked), RouteError> {
        let wanting = Wanting {
            registry: &self.registry,
            clock: self.clock,
            arrived: accepted.arrived(),
            prompt_tokens: routed.prompt_tokens,
            patience: self
                .config
                .queue
                .timeout
                .saturating_sub(accepted.queue_wait()),
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
