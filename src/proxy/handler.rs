//! The life of a request, in order.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use policies::worker::{Role, WorkerId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::abort::{AbortGuard, Aborter};
use super::admission::Admission;
use super::attempt::{Committed, Legs, serving_role};
use super::binding::Workers;
use super::bootstrap::{self, Pairing, Rid};
use super::continuation::{Kept, KeptBytes};
use super::endpoint::Endpoint;
use super::error::RouteError;
use super::failure::Failure;
use super::headers;
use super::intake::Intake;
use super::leg::{Answer, HELD_ANSWER, Leg, Limits};
use super::meter::StreamMeter;
use super::outcome::{Accepted, QueueWait};
use super::pick::{Picked, Policies, Tried};
use super::queue::PrefillQueue;
use super::relay::{Handover, Relay};
use super::request::RequestView;
use super::retry;
use super::samples;
use super::tokens;
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::server::Outlet;
use crate::telemetry::trace::{LegStart, LegTraces, RequestTrace, Traces};
use crate::telemetry::{Outcome, RequestLabels, Telemetry, TokenCount, journal};
use crate::upstream::{Segments, Upstream, UpstreamRequest};
use crate::workers::{Transition, Worker, WorkerRegistry};

/// What every request shares.
#[derive(Debug)]
pub struct Proxy {
    pub config: Arc<Config>,
    pub registry: Arc<WorkerRegistry>,
    pub policies: Arc<Policies>,
    pub upstream: Upstream,
    pub clock: Clock,
    pub telemetry: Arc<Telemetry>,
    pub traces: Traces,
    pub admission: Admission,
    /// Where requests wait for a prefill worker with room; `None` where they are bound to one as they come.
    pub queue: Option<Arc<PrefillQueue>>,
    pub aborter: Aborter,
    /// What running streams keep, so that they can go on elsewhere.
    pub kept_bytes: Arc<KeptBytes>,
    /// Workers to be checked at once: a leg could not reach them.
    pub suspects: mpsc::Sender<WorkerId>,
}

/// The inference routes.
pub fn routes(proxy: &Arc<Proxy>) -> Router {
    let mut router = Router::new();
    for endpoint in Endpoint::ALL {
        let handler = move |state: State<Arc<Proxy>>, client: Client, body: Body| {
            handle(state, endpoint, client, body)
        };
        router = router.route(endpoint.path(), routing::post(handler));
        for alias in endpoint.aliases() {
            router = router.route(alias, routing::post(handler));
        }
    }
    router.with_state(Arc::clone(proxy))
}

async fn handle(
    State(proxy): State<Arc<Proxy>>,
    endpoint: Endpoint,
    client: Client,
    body: Body,
) -> Response {
    let names = &proxy.config.server.request_id_headers;
    let id = headers::request_id(&client.headers, names, endpoint);
    let mut trace = proxy.traces.request(endpoint.path(), &client.headers);
    let mut response = match proxy.serve(endpoint, &client, body, &mut trace).await {
        Ok(response) => response,
        Err(error) => {
            trace.ends(error.outcome());
            let code = error.code();
            let response = error.into_response();
            trace.refused(response.status(), code);
            response
        }
    };
    response.headers_mut().insert("x-request-id", id);
    response
}

/// What is needed of a request beside its body.
struct Client {
    headers: HeaderMap,
    /// Of its connection, where answers of unknown length come in chunks: what a worker said of the length is never passed
    /// on.
    outlet: Option<Arc<Outlet>>,
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let outlet = parts.extensions.get::<Arc<Outlet>>();
        Ok(Self {
            outlet: outlet
                .filter(|_| parts.version == Version::HTTP_11)
                .cloned(),
            headers: std::mem::take(&mut parts.headers),
        })
    }
}

/// A request that was understood and let in.
pub(super) struct Routed<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) paired: bool,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    pub(super) view: &'a RequestView<'a>,
    pub(super) model: &'a str,
    pub(super) prompt_tokens: u32,
    pub(super) traces: LegTraces,
    /// The rest of a stream that left its worker.
    pub(super) goes_on: bool,
}

impl Proxy {
    async fn serve(
        self: &Arc<Self>,
        endpoint: Endpoint,
        client: &Client,
        body: Body,
        trace: &mut RequestTrace,
    ) -> Result<Response, RouteError> {
        let paired = self.config.fleet.mode == Mode::Pd;
        if paired && !endpoint.runs_on_pair() {
            return Err(RouteError::NotImplemented(endpoint.path()));
        }
        let body = self.take_in(body).await?;
        let received = Instant::now();
        let mut view = RequestView::parse(endpoint, &body).map_err(RouteError::Request)?;
        let mut body = &body;
        let spread;
        if paired && view.samples > 1 {
            let prompts =
                samples::as_prompts(endpoint, body, view.samples).map_err(RouteError::Request)?;
            if let Some(prompts) = prompts {
                let held = self.admission.bodies.hold(prompts.len())?;
                spread = held.over(prompts);
                body = &spread;
                view = RequestView::parse(endpoint, body).map_err(RouteError::Request)?;
            }
        }
        trace.model(view.model.as_deref());
        let prompt_tokens = tokens::estimate(view.prompt);
        trace.queued();
        let permit = self.admission.admit(prompt_tokens).await;
        trace.queue_ended();
        self.telemetry.metrics.http.admitted(permit.is_ok());
        let permit = permit.map_err(RouteError::Refused)?;

        let labels = RequestLabels {
            endpoint: endpoint.path(),
            model: self
                .telemetry
                .metrics
                .requests
                .model_label(view.model.as_deref()),
            paired,
            streamed: view.stream,
        };
        let model = Arc::clone(&labels.model);
        let mut accepted = Accepted::new(
            Arc::clone(&self.telemetry),
            self.clock,
            labels,
            received,
            prompt_tokens,
            permit,
        );
        let routed = Routed {
            endpoint,
            paired,
            headers: &client.headers,
            body,
            view: &view,
            model: &model,
            prompt_tokens,
            traces: trace.legs(),
            goes_on: false,
        };
        let committed = self
            .with_retries(&routed, Tried::new(), accepted.wait(), trace)
            .await;
        match committed {
            Ok(committed) => {
                accepted.traced(std::mem::take(trace));
                Ok(self.respond(committed, accepted, &routed, client.outlet.clone()))
            }
            Err(error) => {
                accepted.fails(error.outcome(), error.code());
                Err(error)
            }
        }
    }

    /// Reads a request's body, if its request may come in at all.
    async fn take_in(&self, body: Body) -> Result<Bytes, RouteError> {
        let server = &self.config.server;
        let intake = Intake {
            memory: &self.admission.bodies,
            longest: server.max_payload_size,
            limit: server.body_timeout,
        };
        let taken = match self.admission.check_rate() {
            Ok(()) => intake.read(body).await,
            Err(refused) => Err(RouteError::Refused(refused)),
        };
        taken.inspect_err(|error| {
            if matches!(error, RouteError::Refused(_)) {
                self.telemetry.metrics.http.admitted(false);
            }
        })
    }

    /// Attempts until one commits. Nothing of what is asked for has reached the client, so another pair than those `tried`
    /// may try from the beginning.
    pub(super) async fn with_retries(
        self: &Arc<Self>,
        routed: &Routed<'_>,
        mut tried: Tried,
        wait: &mut QueueWait,
        trace: &mut RequestTrace,
    ) -> Result<Committed, RouteError> {
        let role = serving_role(routed.paired).as_str();
        let mut attempt = 0;
        loop {
            let error = match self.workers_for(routed, &tried, wait, trace).await {
                Ok(workers) => match self.attempt(routed, workers, attempt + 1).await {
                    Ok(committed) => return Ok(committed),
                    Err(failure) => RouteError::Failed(failure),
                },
                Err(error) => error,
            };
            if let RouteError::Failed(failure) = &error {
                self.leg_failed(failure);
                tried.extend(failure.involved());
            }
            attempt += 1;
            if !error.is_retryable() {
                return Err(error);
            }
            let metrics = &self.telemetry.metrics.requests;
            if attempt >= self.config.retry.max_attempts {
                metrics.retries_exhausted(role, routed.endpoint.path());
                return Err(error);
            }
            let pause = retry::backoff(&self.config.retry, attempt - 1, fastrand::f64());
            metrics.retried(role, routed.endpoint.path(), attempt, pause);
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        routed: &Routed<'_>,
        workers: Workers,
        number: u32,
    ) -> Result<Committed, Failure> {
        self.legs(routed, workers, number).run(&self.upstream).await
    }

    /// Both legs with their requests: the same headers and the same bytes.
    fn legs(&self, routed: &Routed<'_>, workers: Workers, attempt: u32) -> Legs {
        let Workers { prefill, serving } = workers;
        let rid = Rid(fastrand::u128(..));
        let room = bootstrap::draw_room(fastrand::u64(..), routed.view.batch);
        let body = match &prefill {
            None => Segments::from(routed.body.clone()),
            Some((prefill, _)) => {
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
        let leg = |role, picked: Picked, turn| {
            let policy = self.policies.name(role);
            self.telemetry
                .metrics
                .workers
                .picked(role, routed.model, policy);
            let url = picked.ticket.worker().url.join(routed.endpoint.path());
            let mut headers = headers.clone();
            let trace = routed.traces.leg(&LegStart {
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
                turn,
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
            prefill: prefill.map(|(picked, turn)| leg(Role::Prefill, picked, turn)),
            serving: leg(serving_role(paired), serving, None),
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
        routed: &Routed<'_>,
        outlet: Option<Arc<Outlet>>,
    ) -> Response {
        let Committed {
            mut opened,
            prefill,
            prefill_times,
            merge,
            abort,
        } = committed;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = opened.head.status;
        *response.headers_mut() = headers::to_client(&opened.head.headers);
        accepted.answered(opened.head.status);
        if let Some(ended) = prefill_times.as_ref().filter(|times| times.ended.is_some()) {
            self.leg_succeeded(&ended.worker);
        }
        accepted.committed(opened.ticket.worker(), prefill_times);
        if let Answer::Whole(answer) = &opened.answer {
            self.leg_succeeded(opened.ticket.worker());
            opened.trace.completed();
            accepted.ends(Outcome::Completed);
            if let Some((output, prompt)) = tokens::in_answer(answer) {
                let output = TokenCount {
                    tokens: output,
                    reported: true,
                };
                accepted.counted(output, Some(prompt), None);
            }
        }
        let meter = (!self.config.metrics.disable_stream_metrics
            && matches!(opened.answer, Answer::Stream { .. }))
        .then(|| self.meter(opened.ticket.worker(), routed));
        let role = serving_role(routed.paired);
        // Only streams are metered, and without counted tokens it isn't known how many are still to come.
        let metered = meter.as_ref();
        let kept = metered.and_then(|_| Kept::of(routed, &self.kept_bytes));
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
            endpoint: routed.endpoint,
            kept,
            outlet,
        };
        *response.body_mut() = match opened.answer {
            Answer::Whole(bytes) => Body::from(bytes),
            Answer::Long { start, rest } => Body::new(Relay::long(handover(accepted, rest), start)),
            Answer::Stream { start, rest } => {
                response
                    .headers_mut()
                    .entry("cache-control")
                    .or_insert(HeaderValue::from_static("no-cache"));
                Body::new(Relay::stream(handover(accepted, rest), start, merge, meter))
            }
        };
        response
    }

    fn meter(&self, worker: &Arc<Worker>, routed: &Routed<'_>) -> StreamMeter {
        StreamMeter::new(
            &self.telemetry.metrics,
            self.clock,
            Arc::clone(worker),
            routed.endpoint,
            routed.view.batch.rooms(),
            Instant::now(),
        )
    }

    /// The metrics as Prometheus reads them.
    pub fn metrics_text(&self) -> Vec<u8> {
        self.telemetry
            .metrics
            .render(&self.registry.snapshot(), self.clock.now())
    }

    pub(super) fn leg_succeeded(&self, worker: &Worker) {
        let change = worker.breaker.succeeded(self.clock.now());
        self.breaker_told(worker, true, change);
    }

    /// Counts a failed leg and charges the breaker of the worker that it speaks against.
    pub(super) fn leg_failed(&self, failure: &Failure) {
        let workers = &self.telemetry.metrics.workers;
        workers.leg_failed(failure.role, failure.kind());
        if failure.is_suspicious() {
            for id in failure.involved() {
                // A full channel means that checks are under way already.
                let _ = self.suspects.try_send(id);
            }
        }
        // Decode speaking against its prefill names no worker that this failure knows: nobody is charged.
        if failure.blames() == Some(failure.role) {
            let change = failure.worker.breaker.failed(self.clock.now());
            if change.is_some() {
                tracing::warn!(worker = %failure.worker.url, error = failure.logged(), "circuit breaker opened");
            }
            self.breaker_told(&failure.worker, false, change);
        }
    }

    fn breaker_told(&self, worker: &Worker, success: bool, change: Option<Transition>) {
        self.telemetry
            .metrics
            .workers
            .breaker_told(worker, success, change);
        if let Some(change) = change {
            if let Some(queue) = &self.queue {
                queue.room_may_be();
            }
            let event = journal::Event {
                kind: journal::Kind::Breaker,
                worker: Some(worker.url.as_str().into()),
                from: Some(change.from.as_str()),
                to: Some(change.to.as_str()),
                reason: None,
            };
            self.telemetry.journal.note(self.clock.now(), event);
        }
    }
}

/// The answer to a path that nobody serves.
pub async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}
