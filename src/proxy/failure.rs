//! A leg that failed: why, who is to blame, and whether another try makes sense.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use policies::worker::{Role, WorkerId};
use serde_json::Value;

use super::sse::StreamError;
use crate::upstream::UpstreamError;
use crate::workers::Worker;

/// Statuses after which another worker may do better. The peer's list.
const RETRYABLE: [StatusCode; 6] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// How SGLang's decode side words a failure of its prefill peer.
const PREFILL_TO_BLAME: [&str; 2] = ["Lost connection with prefill", "Decode handshake failed"];

/// How SGLang words that one side of a transfer waited for the other until its limit: a prefill worker for space on the
/// decode side, a decode worker for KV. Under overload both are in order and merely late.
const WAITED_FOR_THE_OTHER: [&str; 2] = ["in KVPoll.Bootstrapping", "in KVPoll.WaitingForInput"];

#[derive(Debug)]
pub struct Failure {
    pub role: Role,
    pub worker: Arc<Worker>,
    pub cause: Cause,
    /// The prefill worker of a decode worker that was silent while its prefill had not ended either. Each waits for the
    /// other, so the one that hangs can be either.
    pub partner: Option<Arc<Worker>>,
}

#[derive(Debug)]
pub enum Cause {
    /// No connection, or one that broke.
    Transport(UpstreamError),
    /// An answer that isn't 2xx.
    Status(WorkerAnswer),
    /// An error event inside a stream that began with 200.
    InStream(StreamError),
    /// Nothing came within the limit.
    Silent { limit: Duration },
}

/// A worker's error answer, read to its end or to a bound.
#[derive(Debug)]
pub struct WorkerAnswer {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    pub retry_after: Option<HeaderValue>,
    pub body: Bytes,
}

impl WorkerAnswer {
    /// What the worker says is wrong: `error.message`, `message`, or the body as it is.
    pub fn message(&self) -> String {
        let json: Option<Value> = serde_json::from_slice(&self.body).ok();
        let message = json.as_ref().and_then(|json| {
            json.pointer("/error/message")
                .or_else(|| json.get("message"))
                .and_then(Value::as_str)
        });
        message.map_or_else(
            || String::from_utf8_lossy(&self.body).into_owned(),
            str::to_owned,
        )
    }
}

impl Failure {
    /// The status that the failure has for the client.
    pub fn status(&self) -> StatusCode {
        match &self.cause {
            Cause::Transport(_) => StatusCode::BAD_GATEWAY,
            Cause::Status(answer) => answer.status,
            Cause::InStream(error) => error.status,
            Cause::Silent { .. } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    pub fn is_retryable(&self) -> bool {
        RETRYABLE.contains(&self.status())
    }

    /// Whether a look at the worker's health would tell more: nobody listens there, or nobody answers.
    pub fn is_suspicious(&self) -> bool {
        match self.cause {
            Cause::Transport(UpstreamError::Connect(_)) | Cause::Silent { .. } => true,
            Cause::Transport(UpstreamError::Send(_) | UpstreamError::Body(_))
            | Cause::Status(_)
            | Cause::InStream(_) => false,
        }
    }

    /// Those that may be why it failed: not to be tried again with this request.
    pub fn involved(&self) -> impl Iterator<Item = WorkerId> {
        let partner = self.partner.as_ref().map(|worker| worker.id);
        std::iter::once(self.worker.id).chain(partner)
    }

    /// The role whose worker the failure speaks against; `None` for a client's own mistake, for a worker that is merely
    /// busy, and for a pair that waited for each other.
    pub fn blames(&self) -> Option<Role> {
        let status = self.status();
        if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT {
            return None;
        }
        let message = match &self.cause {
            Cause::InStream(error) => &error.message,
            Cause::Status(answer) => &answer.message(),
            Cause::Silent { .. } if self.partner.is_some() => return None,
            Cause::Transport(_) | Cause::Silent { .. } => return Some(self.role),
        };
        let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
        if says(&WAITED_FOR_THE_OTHER) {
            return None;
        }
        let prefill = self.role == Role::Decode && says(&PREFILL_TO_BLAME);
        Some(if prefill { Role::Prefill } else { self.role })
    }

    /// The kind of failure as a metric label.
    pub const fn kind(&self) -> &'static str {
        match &self.cause {
            Cause::Transport(error) => error.kind(),
            Cause::Status(_) => "status",
            Cause::InStream(_) => "in_stream",
            Cause::Silent { .. } => "timeout",
        }
    }

    /// The error code that clients see, as the peer spells it.
    pub fn code(&self) -> &'static str {
        let codes = match self.role {
            Role::Prefill => &PREFILL_CODES,
            Role::Decode => &DECODE_CODES,
            Role::Regular => &SERVER_CODES,
        };
        match (&self.cause, self.status()) {
            (Cause::Transport(_), _) => codes.transport,
            (Cause::Silent { .. }, _) => codes.timeout,
            (_, StatusCode::BAD_REQUEST) => codes.bad_request,
            (_, StatusCode::NOT_FOUND) => codes.not_found,
            (_, StatusCode::INTERNAL_SERVER_ERROR) => codes.internal_error,
            (_, StatusCode::SERVICE_UNAVAILABLE) => codes.unavailable,
            (_, StatusCode::BAD_GATEWAY) => codes.bad_gateway,
            _ => codes.other,
        }
    }

    /// The error in a sentence for the log. A worker that refuses a request may quote it, so its words stay out.
    pub fn logged(&self) -> String {
        if self.status().is_client_error() {
            format!("{} answered {}", self.role, self.status())
        } else {
            self.message()
        }
    }

    /// The error in a sentence for the client: which side, and what it said.
    pub fn message(&self) -> String {
        let side = match self.role {
            Role::Prefill => "Prefill server error",
            Role::Decode => "Decode server error",
            Role::Regular => "Server error",
        };
        match &self.cause {
            Cause::Transport(error) => format!("{side}: {} {error}", self.worker.url),
            Cause::Status(answer) => format!("{side} ({}): {}", answer.status, answer.message()),
            Cause::InStream(error) => format!("{side} ({}): {}", error.status, error.message),
            Cause::Silent { limit } => format!(
                "{side}: {} sent nothing for {} s",
                self.worker.url,
                limit.as_secs()
            ),
        }
    }
}

struct Codes {
    transport: &'static str,
    timeout: &'static str,
    bad_request: &'static str,
    not_found: &'static str,
    internal_error: &'static str,
    unavailable: &'static str,
    bad_gateway: &'static str,
    other: &'static str,
}

const PREFILL_CODES: Codes = Codes {
    transport: "prefill_server_error",
    timeout: "prefill_timeout",
    bad_request: "prefill_bad_request",
    not_found: "prefill_not_found",
    internal_error: "prefill_internal_error",
    unavailable: "prefill_unavailable",
    bad_gateway: "prefill_bad_gateway",
    other: "prefill_error",
};

const DECODE_CODES: Codes = Codes {
    transport: "decode_server_error",
    timeout: "decode_timeout",
    bad_request: "decode_bad_request",
    not_found: "decode_not_found",
    internal_error: "decode_internal_error",
    unavailable: "decode_unavailable",
    bad_gateway: "decode_bad_gateway",
    other: "decode_error",
};

const SERVER_CODES: Codes = Codes {
    transport: "server_unreachable",
    timeout: "server_timeout",
    bad_request: "server_bad_request",
    not_found: "server_not_found",
    internal_error: "server_internal_error",
    unavailable: "server_unavailable",
    bad_gateway: "server_bad_gateway",
    other: "server_error",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::workers::{WorkerRegistry, WorkerSpec, WorkerUrl};

    fn failure(role: Role, status: u16, message: &'static str) -> Failure {
        let registry = WorkerRegistry::new(Config::default().breaker, |_| {});
        let url = WorkerUrl::parse("http://a:1").unwrap();
        Failure {
            partner: None,
            role,
            worker: registry
                .add(&WorkerSpec::new(url, role))
                .expect("the first"),
            cause: Cause::Status(WorkerAnswer {
                status: StatusCode::from_u16(status).unwrap(),
                content_type: None,
                retry_after: None,
                body: Bytes::from_static(message.as_bytes()),
            }),
        }
    }

    #[test]
    fn a_failure_speaks_against_whom_its_words_name() {
        let (prefill, decode) = (Role::Prefill, Role::Decode);
        let bootstrapping = "Prefill bootstrap failed for request rank=0 with exception KVTransferError(\
                             bootstrap_room=7): Request 7 timed out after 20.0s in KVPoll.Bootstrapping";
        let waiting = "Request 7 timed out after 300.0s in KVPoll.WaitingForInput";
        for (role, status, message, blamed) in [
            (prefill, 500, "out of memory", Some(prefill)),
            (decode, 500, "out of memory", Some(decode)),
            (
                decode,
                500,
                "Lost connection with prefill instance",
                Some(prefill),
            ),
            (prefill, 500, bootstrapping, None),
            (decode, 500, waiting, None),
            (decode, 400, "bad request", None),
        ] {
            let failure = failure(role, status, message);
            assert_eq!(failure.blames(), blamed, "{role} {status} {message}");
            // Whoever is to blame, another pair may do better.
            assert_eq!(failure.is_retryable(), status == 500, "{message}");
        }
    }

    #[test]
    fn what_a_worker_says_of_a_refused_request_is_not_logged() {
        for (status, logged) in [
            (400, "decode answered 400 Bad Request"),
            (
                500,
                "Decode server error (500 Internal Server Error): the words",
            ),
        ] {
            let failure = failure(Role::Decode, status, "the words");
            assert_eq!(failure.logged(), logged);
            assert!(failure.message().contains("the words"));
        }
    }
}
