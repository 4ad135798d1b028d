//! The life of a request, in order.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use policies::route::RouteRequest;
use policies::worker::{Role, WorkerId};
use tokio::sync::mpsc;

use super::abort::{AbortGuard, Aborter};
use super::admission::Admission;
use super::attempt::{Committed, Legs, serving_role};
use super::bootstrap::{self, Pairing, Rid};
use super::endpoint::Endpoint;
use super::error::RouteError;
use super::failure::Failure;
use super::headers;
use super::leg::{Answer, HELD_ANSWER, Leg, Limits};
use super::outcome::{Accepted, Outcome};
use super::pick::{Picked, Picker, Policies, Tried};
use super::relay::{Handover, Relay};
use super::request::RequestView;
use super::retry;
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::telemetry::Metrics;
use crate::telemetry::trace::{LegStart, RequestTrace, Traces};
use crate::upstream::{Segments, Upstream, UpstreamRequest};
use crate::workers::{Worker, WorkerRegistry};

/// The model label of a request that names none, as the peer has it.
const NO_MODEL: &str = "default";

/// What every request shares.
#[derive(Debug)]
pub struct Proxy {
    pub config: Arc<Config>,
    pub registry: Arc<WorkerRegistry>,
    pub policies: Arc<Policies>,
    pub upstream: Upstream,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub traces: Traces,
    pub admission: Admission,
    pub aborter: Aborter,
    /// Workers to be checked at once: a leg could not reach them.
    pub suspects: mpsc::Sender<WorkerId>,
}

/// The inference routes.
pub fn routes(proxy: &Arc<Proxy>) -> Router {
    let mut router = Router::new();
    for endpoint in Endpoint::ALL {
        let handler = move |state: State<Arc<Proxy>>,
                            headers: HeaderMap,
                            body: Result<Bytes, BytesRejection>| {
            handle(state, endpoint, headers, body)
        };
        router = router.route(endpoint.path(), routing::post(handler));
        for alias in endpoint.aliases() {
            router = router.route(alias, routing::post(handler));
        }
    }
    router
        .layer(DefaultBodyLimit::max(proxy.config.server.max_payload_size))
        .with_state(Arc::clone(proxy))
}

async fn handle(
    State(proxy): State<Arc<Proxy>>,
    endpoint: Endpoint,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let id = headers::request_id(&headers, &proxy.config.server.request_id_headers, endpoint);
    let mut trace = proxy.traces.request(endpoint.path(), &headers);
    let mut response = match proxy.serve(endpoint, &headers, body, &mut trace).await {
        Ok(response) => response,
        Err(error) => {
            let response = error.into_response();
            trace.answered(response.status());
            trace.ends(Outcome::Failed.as_str());
            response
        }
    };
    response.headers_mut().insert("x-request-id", id);
    response
}

/// A request that was understood and let in.
struct Routed<'a> {
    endpoint: Endpoint,
    paired: bool,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    view: &'a RequestView<'a>,
    trace: &'a RequestTrace,
}

impl Proxy {
    async fn serve(
        self: &Arc<Self>,
        endpoint: Endpoint,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
        trace: &mut RequestTrace,
    ) -> Result<Response, RouteError> {
        let paired = self.config.fleet.mode == Mode::Pd;
        if paired && !endpoint.runs_on_pair() {
            return Err(RouteError::NotImplemented(endpoint.path()));
        }
        let body = body.map_err(|rejection| RouteError::Body {
            status: rejection.status(),
            message: rejection.body_text(),
        })?;
        let view = RequestView::parse(endpoint, &body).map_err(RouteError::Request)?;
        trace.model(view.model.as_deref());
        trace.queued();
        let permit = self.admission.admit().await;
        trace.queue_ended();
        let result = if permit.is_ok() {
            "allowed"
        } else {
            "rejected"
        };
        self.metrics.rate_limit.with_label_values(&[result]).inc();
        let permit = permit.map_err(RouteError::Refused)?;

        let model = view.model.as_deref().unwrap_or(NO_MODEL);
        let mut accepted = Accepted::new(endpoint, Arc::clone(&self.metrics), permit);
        self.metrics
            .accepted(endpoint.path(), model, paired, view.stream);
        let routed = Routed {
            endpoint,
            paired,
            headers,
            body: &body,
            view: &view,
            trace,
        };
        let committed = match self.with_retries(&routed).await {
            Ok(committed) => committed,
            Err(error) => {
                accepted.ends(Outcome::Failed);
                return Err(error);
            }
        };
        self.metrics
            .answered(endpoint.path(), model, paired, accepted.age());
        accepted.traced(std::mem::take(trace));
        Ok(self.respond(committed, accepted, serving_role(paired)))
    }

    /// Attempts until one commits. Nothing has reached the client, so another pair may try from the beginning.
    async fn with_retries(self: &Arc<Self>, routed: &Routed<'_>) -> Result<Committed, RouteError> {
        let mut tried = Tried::new();
        let role = serving_role(routed.paired).as_str();
        let mut attempt = 0;
        loop {
            let error = match self.attempt(routed, &tried, attempt + 1).await {
                Ok(committed) => return Ok(committed),
                Err(error) => error,
            };
            if let RouteError::Failed(failure) = &error {
                self.leg_failed(failure);
                tried.push(failure.worker.id);
            }
            attempt += 1;
            if !error.is_retryable() {
                return Err(error);
            }
            if attempt >= self.config.retry.max_attempts {
                self.metrics
                    .retries_exhausted
                    .with_label_values(&[role, routed.endpoint.path()])
                    .inc();
                return Err(error);
            }
            self.metrics
                .retries
                .with_label_values(&[role, routed.endpoint.path()])
                .inc();
            tokio::time::sleep(retry::backoff(
                &self.config.retry,
                attempt - 1,
                fastrand::f64(),
            ))
            .await;
        }
    }

    async fn attempt(
        &self,
        routed: &Routed<'_>,
        tried: &Tried,
        number: u32,
    ) -> Result<Committed, RouteError> {
        let picker = Picker {
            registry: &self.registry,
            policies: &self.policies,
            now: self.clock.now(),
            load_interval: self.config.health.load_poll_interval,
        };
        let request = route_request(routed);
        let (prefill, serving) = if routed.paired {
            let (prefill, decode) = picker.pair(request, tried).map_err(RouteError::NoWorker)?;
            (Some(prefill), decode)
        } else {
            (
                None,
                picker
                    .one(Role::Regular, request, tried)
                    .map_err(RouteError::NoWorker)?,
            )
        };
        self.legs(routed, prefill, serving, number)
            .run(&self.upstream)
            .await
            .map_err(RouteError::Failed)
    }

    /// Both legs with their requests: the same headers and the same bytes.
    fn legs(
        &self,
        routed: &Routed<'_>,
        prefill: Option<Picked>,
        serving: Picked,
        attempt: u32,
    ) -> Legs {
        let rid = Rid(fastrand::u128(..));
        let room = bootstrap::draw_room(fastrand::u64(..), routed.view.batch);
        let body = match &prefill {
            None => Segments::from(routed.body.clone()),
            Some(prefill) => {
                let pairing = Pairing {
                    bootstrap: prefill.bootstrap.clone(),
                    room,
                    rid,
                };
                bootstrap::splice(routed.body, routed.view, &pairing)
            }
        };
        let paired = prefill.is_some();
        let headers = headers::to_worker(routed.headers);
        let model = routed.view.model.as_deref().unwrap_or(NO_MODEL);
        let leg = |role, picked: Picked| {
            self.metrics.picked(role, model, self.policies.name(role));
            let url = picked.ticket.worker().url.join(routed.endpoint.path());
            let mut headers = headers.clone();
            let trace = routed.trace.leg(&LegStart {
                role,
                worker: picked.ticket.worker().url.as_str(),
                url: &url,
                attempt,
                room: paired.then_some(room),
            });
            trace.inject(&mut headers);
            tracing::debug!(worker = %picked.ticket.worker().url, %role, attempt, "leg sent");
            let request = UpstreamRequest {
                method: http::Method::POST,
                url,
                headers,
                body: body.clone(),
            };
            Leg {
                role,
                ticket: picked.ticket,
                request,
                trace,
            }
        };
        let timeouts = &self.config.timeouts;
        let first = if routed.view.stream {
            timeouts.first_event
        } else {
            timeouts.whole_answer
        };
        let merge_logprobs = paired && routed.view.wants_prompt_logprobs;
        // Log probabilities are merged into the whole answer, so all of it is held: as much as a request may have.
        let held = if merge_logprobs {
            self.config.server.max_payload_size
        } else {
            HELD_ANSWER
        };
        Legs {
            prefill: prefill.map(|picked| leg(Role::Prefill, picked)),
            serving: leg(serving_role(paired), serving),
            limits: Limits { first, held },
            merge_logprobs,
            abort: AbortGuard::new(
                self.aborter.clone(),
                (paired && !routed.view.has_rid).then_some(rid),
            ),
        }
    }

    /// The client's response for a committed answer.
    fn respond(
        self: &Arc<Self>,
        committed: Committed,
        mut accepted: Accepted,
        role: Role,
    ) -> Response {
        let Committed {
            mut opened,
            prefill,
            merge,
            abort,
        } = committed;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = opened.head.status;
        *response.headers_mut() = headers::to_client(&opened.head.headers);
        accepted.answered(opened.head.status);
        if matches!(opened.answer, Answer::Whole(_)) {
            self.leg_succeeded(opened.ticket.worker());
            opened.trace.completed();
            accepted.ends(Outcome::Completed);
        }
        let handover = |accepted, rest| Handover {
            proxy: Arc::clone(self),
            accepted,
            abort,
            role,
            ticket: opened.ticket,
            trace: opened.trace,
            prefill,
            rest,
            idle: self.config.timeouts.idle,
        };
        *response.body_mut() = match opened.answer {
            Answer::Whole(bytes) => Body::from(bytes),
            Answer::Long { start, rest } => Body::new(Relay::long(handover(accepted, rest), start)),
            Answer::Stream { start, rest } => {
                response
                    .headers_mut()
                    .entry("cache-control")
                    .or_insert(HeaderValue::from_static("no-cache"));
                Body::new(Relay::stream(handover(accepted, rest), start, merge))
            }
        };
        response
    }

    /// The metrics as Prometheus reads them.
    pub fn metrics_text(&self) -> Vec<u8> {
        let now = self.clock.now();
        self.metrics.render(&self.registry.snapshot(), |worker| {
            worker.breaker.state(now)
        })
    }

    pub(super) fn leg_succeeded(&self, worker: &Worker) {
        if let Some(change) = worker.breaker.succeeded(self.clock.now()) {
            self.metrics.breaker_changed(worker.url.as_str(), change);
        }
    }

    /// Counts a failed leg and charges the breaker of the worker that it speaks against.
    pub(super) fn leg_failed(&self, failure: &Failure) {
        self.metrics.leg_failed(failure.role, failure.kind());
        if failure.is_unreachable() {
            // A full channel means that checks are under way already.
            let _ = self.suspects.try_send(failure.worker.id);
        }
        // Decode speaking against its prefill names no worker that this failure knows: nobody is charged.
        if failure.blames() == Some(failure.role)
            && let Some(change) = failure.worker.breaker.failed(self.clock.now())
        {
            tracing::warn!(worker = %failure.worker.url, error = failure.logged(), "circuit breaker opened");
            self.metrics
                .breaker_changed(failure.worker.url.as_str(), change);
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

/// The answer to a path that nobody serves.
pub async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}
