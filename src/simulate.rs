//! Workers without a GPU, in this process: what `--simulate` starts.
//!
//! Each is reached under a URL like a real worker's, through the in-memory side of the upstream, so that nothing else
//! of the router knows the difference.

use http::{Request, Response};
use policies::worker::Role;
use simulated_worker::{
    Config as WorkerConfig, ConnectionReset, Network, Role as WorkerRole, SimulatedWorker,
    Switchboard, Timing,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::config::SimulateSettings;
use crate::upstream::{InMemoryService, Segments, Upstream, UpstreamError};
use crate::workers::{WorkerSpec, WorkerUrl};

/// The ports that the simulated workers have in the study's order. Nothing listens on them.
const FIRST_PORT: u16 = 30_000;
const FIRST_BOOTSTRAP_PORT: u16 = 9_000;

/// Starts the workers' engines on `tasks` and makes `upstream` reach them. Answers how to register them.
pub fn start(
    settings: &SimulateSettings,
    upstream: &mut Upstream,
    tasks: &mut JoinSet<()>,
    cancel: &CancellationToken,
) -> Vec<WorkerSpec> {
    let roles = std::iter::repeat_n(Role::Prefill, settings.prefill)
        .chain(std::iter::repeat_n(Role::Decode, settings.decode));
    let board = Switchboard::default();
    (0..)
        .zip(roles)
        .map(|(pair, role)| {
            let (spec, worker) = start_one(pair, role, settings, &board, upstream);
            tasks.spawn(worker.run(cancel.clone()));
            spec
        })
        .collect()
}

/// One worker, connected to the others and to the router; its engine is still to be run.
fn start_one(
    pair: u16,
    role: Role,
    settings: &SimulateSettings,
    board: &Switchboard,
    upstream: &mut Upstream,
) -> (WorkerSpec, SimulatedWorker) {
    let (host, port, bootstrap_port) = (
        format!("gpu-pair-{pair}.simulated"),
        FIRST_PORT + pair,
        FIRST_BOOTSTRAP_PORT + pair,
    );
    let config = WorkerConfig {
        role: if role == Role::Prefill {
            WorkerRole::Prefill
        } else {
            WorkerRole::Decode
        },
        host: host.clone(),
        port,
        bootstrap_port,
        timing: Timing {
            scale: settings.time_scale,
            ..Timing::default()
        },
        role_switch: settings.role_change.mul_f64(settings.time_scale),
        enable_pd_role_switch: true,
        ..WorkerConfig::default()
    };
    let worker = SimulatedWorker::new(config, &Network::InMemory(board.clone()));
    board.connect(&host, bootstrap_port, worker.bootstrap());
    upstream.serve_in_memory(format!("{host}:{port}"), in_memory(worker.http()));
    upstream.serve_in_memory(
        format!("{host}:{bootstrap_port}"),
        in_memory(worker.bootstrap()),
    );
    let url = WorkerUrl::parse(&format!("http://{host}:{port}"))
        .expect("a made-up host name is a good URL");
    let spec = WorkerSpec {
        // Also of a decode worker, which may become a prefill worker.
        bootstrap_port: Some(bootstrap_port),
        ..WorkerSpec::new(url, role)
    };
    (spec, worker)
}

/// An axum router as an in-memory upstream.
pub fn in_memory(router: axum::Router) -> InMemoryService {
    let service = router
        .map_request(|request: Request<Segments>| request.map(axum::body::Body::new))
        .map_err(|never| match never {})
        .map_result(
            |result: Result<Response<axum::body::Body>, UpstreamError>| match result {
                // A handler can't cut a connection; it marks its response instead.
                Ok(response) if response.extensions().get::<ConnectionReset>().is_some() => {
                    Err(UpstreamError::Send("connection reset by peer".to_owned()))
                }
                result => result,
            },
        );
    InMemoryService::new(service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Parsed};
    use crate::upstream::UpstreamRequest;

    #[tokio::test(start_paused = true)]
    async fn simulated_workers_change_their_roles_in_place() {
        let flags = "--simulate --simulate-role-change-secs 3 --simulate-time-scale 0.5";
        let flags = flags.split(' ').map(Into::into);
        let Ok(Parsed::Run(config)) = Config::from_sources(flags, &|_| None) else {
            panic!("good flags")
        };
        // Only so that a client can be built: nothing is encrypted here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut upstream = Upstream::new(config.timeouts.connect, &config.upstream_tls).unwrap();
        let (mut tasks, cancel) = (JoinSet::new(), CancellationToken::new());
        let settings = config.fleet.simulate.unwrap();
        let workers = start(&settings, &mut upstream, &mut tasks, &cancel);
        let (began, decode) = (tokio::time::Instant::now(), &workers[2]);
        assert_eq!(decode.role, Role::Decode);
        let order = UpstreamRequest::post_json(
            decode.url.join("/pd_role_switch"),
            r#"{"new_role":"prefill"}"#,
        );
        assert!(upstream.send(order).await.unwrap().status().is_success());
        assert_eq!(began.elapsed().as_millis(), 1_500);
        let port = decode.bootstrap_port.expect("a bootstrap port of its own");
        let host = decode.url.host().to_ascii_uppercase();
        let path = format!("http://{host}:{port}/health").parse().unwrap();
        let healthy = upstream.send(UpstreamRequest::get(path)).await.unwrap();
        assert!(healthy.status().is_success(), "in any letter case");
    }
}
