//! The one error that a client of an inference endpoint can see.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use policies::worker::Role;

use super::admission::Refused;
use super::failure::{Cause, Failure};
use super::pick::NoWorker;
use super::request::RequestError;
use crate::error::error_response;
use crate::telemetry::Outcome;

#[derive(Debug)]
pub enum RouteError {
    /// The body was longer than allowed, or broke off.
    Body {
        status: StatusCode,
        message: String,
    },
    Request(RequestError),
    Refused(Refused),
    NoWorker(NoWorker),
    /// The endpoint isn't served in this mode.
    NotImplemented(&'static str),
    /// The last attempt's.
    Failed(Failure),
}

impl RouteError {
    /// Whether waiting and trying again can help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoWorker(_) => true,
            Self::Failed(failure) => failure.is_retryable(),
            Self::Body { .. } | Self::Request(_) | Self::Refused(_) | Self::NotImplemented(_) => {
                false
            }
        }
    }
}

impl RouteError {
    /// The error's code, for programs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Body { .. } => "invalid_body",
            Self::Request(_) => "invalid_request",
            Self::Refused(refused) => refused.code(),
            Self::NoWorker(_) => "server_selection_failed",
            Self::NotImplemented(_) => "not_implemented",
            Self::Failed(failure) => failure.code(),
        }
    }

    /// How a request ends that comes to this.
    pub fn outcome(&self) -> Outcome {
        if self.is_clients_mistake() {
            Outcome::Refused
        } else {
            Outcome::Failed
        }
    }

    /// Whether the client asked for something that no worker could have answered.
    fn is_clients_mistake(&self) -> bool {
        match self {
            Self::Body { .. } | Self::Request(_) | Self::NotImplemented(_) => true,
            Self::Failed(failure) => failure.blames().is_none() && !failure.is_retryable(),
            Self::Refused(_) | Self::NoWorker(_) => false,
        }
    }
}

impl Refused {
    const fn code(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TimedOut => "queue_timeout",
            Self::RateLimited => "rate_limited",
            Self::NoMemory => "memory_full",
        }
    }
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        let code = self.code();
        match self {
            Self::Body { status, message } => error_response(status, code, &message),
            Self::Request(error) => {
                error_response(StatusCode::BAD_REQUEST, code, &error.to_string())
            }
            Self::Refused(refused) => refusal(refused),
            Self::NoWorker(none) => no_worker(none),
            Self::NotImplemented(path) => error_response(
                StatusCode::NOT_IMPLEMENTED,
                code,
                &format!(
                    "{path} is not implemented for prefill/decode pairs; serve it from regular workers"
                ),
            ),
            Self::Failed(failure) => failed(failure),
        }
    }
}

fn refusal(refused: Refused) -> Response {
    let (status, message) = match refused {
        Refused::QueueFull => (
            StatusCode::TOO_MANY_REQUESTS,
            "as many requests as may (--queue-size) wait in the router; try again later",
        ),
        Refused::TimedOut => (
            StatusCode::REQUEST_TIMEOUT,
            "the request waited in the router as long as it may (--queue-timeout-secs); try again later",
        ),
        Refused::RateLimited => (
            StatusCode::TOO_MANY_REQUESTS,
            "more requests a second than --rate-limit-tokens-per-second lets in; try again later",
        ),
        Refused::NoMemory => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the requests in the router take as much memory as they may (--max-request-memory); try again later",
        ),
    };
    retry_soon(error_response(status, refused.code(), message))
}

fn no_worker(none: NoWorker) -> Response {
    let role = none.role;
    let message = match (role, none.circuits_open) {
        (Role::Regular, false) => {
            "No available servers: no worker serves. Register workers with --worker-urls or POST /workers and see GET /workers."
                .to_owned()
        }
        (_, false) => format!(
            "No available servers: No {role} workers available. Please check if {role} servers are configured and \
             healthy (GET /workers says what each lacks)."
        ),
        (_, true) => format!("No available servers: No available {role} workers (all circuits open or unhealthy)."),
    };
    retry_soon(error_response(
        StatusCode::SERVICE_UNAVAILABLE,
        "server_selection_failed",
        &message,
    ))
}

/// A regular worker's error is passed on as it is; a pair's is the router's own JSON, as the peer has it.
fn failed(failure: Failure) -> Response {
    let (status, code) = (failure.status(), failure.code());
    let retry_after = match &failure.cause {
        Cause::Status(answer) => answer.retry_after.clone(),
        Cause::Transport(_) | Cause::InStream(_) | Cause::Silent { .. } => None,
    };
    let mut response = match failure.cause {
        Cause::Status(answer) if failure.role == Role::Regular => {
            let mut response = (status, answer.body).into_response();
            response.headers_mut().remove(CONTENT_TYPE);
            if let Some(content_type) = answer.content_type {
                response.headers_mut().insert(CONTENT_TYPE, content_type);
            }
            response
        }
        _ => error_response(status, code, &failure.message()),
    };
    if let Some(retry_after) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, retry_after);
    }
    if is_busy(response.status()) {
        retry_soon(response)
    } else {
        response
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// Unless it says already when.
fn retry_soon(mut response: Response) -> Response {
    response
        .headers_mut()
        .entry(RETRY_AFTER)
        .or_insert(HeaderValue::from_static("1"));
    response
}
