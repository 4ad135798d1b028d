//! One health check of one worker.
//!
//! A prefill worker has two servers, and only the check sees both: SGLang reports healthy when the bootstrap port could
//! not be bound, and then every request fails. A worker that doesn't serve yet is also asked who it is, before it is
//! given anything: which model it has, where its bootstrap server listens, and whether it runs the role it was
//! registered with.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use policies::worker::Role;
use serde_json::Value;
use tokio::time::timeout;

use super::Fleet;
use crate::config::HealthSettings;
use crate::upstream::UpstreamError;
use crate::workers::{Member, Worker};

/// Says whether the server is up and asks no generation of it.
const READY: &str = "/ready";

/// What older servers have; it generates a token and takes a second.
const HEALTH: &str = "/health";

/// Asks the bootstrap server for the prefill's layout, as a decode worker does. -1 is "all ranks".
const BOOTSTRAP_ROUTE: &str = "/route";
const ALL_RANKS: &str = "prefill_dp_rank=-1&prefill_cp_rank=-1&target_tp_rank=-1&target_pp_rank=-1";

/// The model of a worker that nobody named yet.
const UNKNOWN_MODEL: &str = "unknown";

/// Why a check failed, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Timeout(Duration),
    Unreachable(UpstreamError),
    Status { path: String, status: StatusCode },
    BootstrapUnreachable { port: u16, cause: UpstreamError },
    BootstrapNotReady { port: u16 },
    WrongRole { registered: Role, runs: Role },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(limit) => write!(f, "no answer within {limit:?}"),
            Self::Unreachable(cause) => cause.fmt(f),
            Self::Status { path, status } => write!(f, "{path} answered {}", status.as_u16()),
            Self::BootstrapUnreachable { port, cause } => write!(
                f,
                "the worker is up, but its bootstrap server on port {port} is not: {cause}; \
                 is the port taken by another process?"
            ),
            Self::BootstrapNotReady { port } => write!(
                f,
                "the bootstrap server on port {port} waits for the worker's ranks to register"
            ),
            Self::WrongRole { registered, runs } => write!(
                f,
                "registered as {registered}, but the worker runs as {runs}: register it as {runs} or restart it with \
                 --disaggregation-mode {registered}"
            ),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Whether the worker itself says that it can't serve as what it is registered: asking again can't help.
    pub(super) const fn is_certain(&self) -> bool {
        match self {
            Self::WrongRole { .. } => true,
            Self::Timeout(_)
            | Self::Unreachable(_)
            | Self::Status { .. }
            | Self::BootstrapUnreachable { .. }
            | Self::BootstrapNotReady { .. } => false,
        }
    }
}

/// What a check that passed found out about the worker's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As registered, or not told.
    Fits,
    /// Registered as one half of a pair, yet launched without disaggregation.
    NotDisaggregated,
}

/// Checks a worker once. `settings.timeout` bounds the whole check.
pub(super) async fn probe(
    fleet: &Fleet,
    member: &Member,
    settings: &HealthSettings,
) -> Result<Mode, Failure> {
    timeout(settings.timeout, check(fleet, member, settings))
        .await
        .unwrap_or(Err(Failure::Timeout(settings.timeout)))
}

async fn check(fleet: &Fleet, member: &Member, settings: &HealthSettings) -> Result<Mode, Failure> {
    let worker = &member.worker;
    is_up(fleet, worker, settings.endpoint.as_deref()).await?;
    let mut mode = Mode::Fits;
    let mut port = member.bootstrap.port;
    if member.state.admits_requests() {
        // It may have been started anew between two checks, as something else.
        if let Err(wrong @ Failure::WrongRole { .. }) = learn_model(fleet, member).await {
            return Err(wrong);
        }
    } else {
        mode = learn_model(fleet, member).await?;
        if member.role == Role::Prefill && port.is_none() {
            port = learn_bootstrap_port(fleet, worker).await?;
        }
    }
    match (member.role, port) {
        (Role::Prefill, Some(port)) => bootstrap_is_up(fleet, worker, port).await?,
        (Role::Prefill, None) | (Role::Decode | Role::Regular, _) => {}
    }
    Ok(mode)
}

async fn is_up(fleet: &Fleet, worker: &Worker, endpoint: Option<&str>) -> Result<(), Failure> {
    if let Some(path) = endpoint {
        return expect_success(path, status(fleet, worker, path).await?);
    }
    match status(fleet, worker, READY).await? {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            expect_success(HEALTH, status(fleet, worker, HEALTH).await?)
        }
        status => expect_success(READY, status),
    }
}

async fn status(fleet: &Fleet, worker: &Worker, path: &str) -> Result<StatusCode, Failure> {
    let url = worker.url.join(path);
    let answer = fleet.get(url, worker.api_key.as_deref()).await;
    Ok(answer.map_err(Failure::Unreachable)?.status)
}

fn expect_success(path: &str, status: StatusCode) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    Err(Failure::Status {
        path: path.to_owned(),
        status,
    })
}

async fn bootstrap_is_up(fleet: &Fleet, worker: &Worker, port: u16) -> Result<(), Failure> {
    let mut url = worker.url.with_port(port, BOOTSTRAP_ROUTE);
    url.set_query(Some(ALL_RANKS));
    url.set_scheme("http")
        .expect("https and http can stand for each other");
    // No key: the bootstrap server is not the worker's API and knows none.
    match fleet.get(url, None).await {
        Err(cause) => Err(Failure::BootstrapUnreachable { port, cause }),
        Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
            Err(Failure::BootstrapNotReady { port })
        }
        // Another answer, 404 included, comes from a server that is there but has no such route.
        Ok(_) => Ok(()),
    }
}

/// Learns the model's name and compares the role the worker runs with the one it was registered with.
async fn learn_model(fleet: &Fleet, member: &Member) -> Result<Mode, Failure> {
    let worker = &member.worker;
    let Some(info) = describe(fleet, worker, ["/model_info", "/get_model_info"]).await? else {
        return Ok(Mode::Fits);
    };
    let model = text(&info, "served_model_name").or_else(|| text(&info, "model_path"));
    if let Some(model) = model.filter(|_| !worker.has_given_model) {
        learned(worker, model);
    }
    // `/server_info` has this field too, but keeps the mode of the launch there after a role switch.
    compare_mode(member.role, text(&info, "disaggregation_mode"))
}

fn learned(worker: &Worker, model: &str) {
    let known = worker.metadata();
    if known.model_id == model {
        return;
    }
    if known.model_id != UNKNOWN_MODEL {
        tracing::warn!(
            worker = %worker.url, before = known.model_id, now = model,
            "a worker came back with another model: pairs of workers with different models answer nonsense"
        );
    }
    worker.update_metadata(|metadata| model.clone_into(&mut metadata.model_id));
}

fn compare_mode(registered: Role, mode: Option<&str>) -> Result<Mode, Failure> {
    let runs = match mode {
        Some("prefill") => Role::Prefill,
        Some("decode") => Role::Decode,
        Some("null") if registered != Role::Regular => return Ok(Mode::NotDisaggregated),
        _ => return Ok(Mode::Fits),
    };
    if registered == Role::Regular || registered == runs {
        return Ok(Mode::Fits);
    }
    Err(Failure::WrongRole { registered, runs })
}

async fn learn_bootstrap_port(fleet: &Fleet, worker: &Worker) -> Result<Option<u16>, Failure> {
    let info = describe(fleet, worker, ["/server_info", "/get_server_info"]).await?;
    let port = info.and_then(|info| {
        let port = info.get("disaggregation_bootstrap_port")?.as_u64()?;
        u16::try_from(port).ok().filter(|&port| port != 0)
    });
    if let Some(port) = port {
        fleet.registry.set_bootstrap_port(worker.id, port);
    }
    Ok(port)
}

/// A JSON description under the first of its names that the worker knows. `None` where it has none for us; a failed
/// server is an error, because what was to be learned may be needed.
async fn describe(
    fleet: &Fleet,
    worker: &Worker,
    names: [&str; 2],
) -> Result<Option<Value>, Failure> {
    for path in names {
        let url = worker.url.join(path);
        let answer = fleet
            .get(url, worker.api_key.as_deref())
            .await
            .map_err(Failure::Unreachable)?;
        if answer.status.is_server_error() && answer.status != StatusCode::NOT_IMPLEMENTED {
            expect_success(path, answer.status)?;
        }
        if answer.status.is_success() {
            return Ok(serde_json::from_slice(&answer.body).ok());
        }
    }
    Ok(None)
}

fn text<'a>(info: &'a Value, field: &str) -> Option<&'a str> {
    info.get(field)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_other_half_of_a_pair_is_a_wrong_role() {
        let wrong = |registered, runs| Err(Failure::WrongRole { registered, runs });
        let cases = [
            (Role::Prefill, Some("prefill"), Ok(Mode::Fits)),
            (Role::Decode, Some("decode"), Ok(Mode::Fits)),
            (
                Role::Prefill,
                Some("decode"),
                wrong(Role::Prefill, Role::Decode),
            ),
            (
                Role::Decode,
                Some("prefill"),
                wrong(Role::Decode, Role::Prefill),
            ),
            (Role::Decode, Some("null"), Ok(Mode::NotDisaggregated)),
            (Role::Regular, Some("null"), Ok(Mode::Fits)),
            (Role::Prefill, None, Ok(Mode::Fits)),
        ];
        for (registered, mode, expected) in cases {
            assert_eq!(compare_mode(registered, mode), expected, "{mode:?}");
        }
    }
}
