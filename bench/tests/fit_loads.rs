//! A worker's parameters are found in what it says of itself: simulated workers of another speed than the prior are
//! recorded as a user would record them, and fitted.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use pd_bench::fit::loads;
use policies::model::{Parameter, WorkerModel};
use serde_json::{Value, json};
use simulated_worker::{
    Config, Network, Role, SimulatedWorker, Switchboard, Timing, answer::prompt_of,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How far a found parameter may be off.
const TOLERANCE: f64 = 0.03;

fn truth() -> WorkerModel {
    let mut truth = WorkerModel::default();
    truth.prefill.batch_base *= 1.3;
    truth.prefill.per_token *= 0.8;
    truth.decode.step_base *= 1.2;
    truth.decode.per_sequence *= 0.75;
    truth.decode.arrival_per_token = 0.0;
    truth
}

fn worker(role: Role, board: &Switchboard, engines: &mut JoinSet<()>) -> SimulatedWorker {
    let config = Config {
        role,
        host: role.to_string(),
        timing: Timing {
            model: truth(),
            scale: 1.0,
        },
        ..Config::default()
    };
    let worker = SimulatedWorker::new(config, &Network::InMemory(board.clone()));
    let port = worker.config().bootstrap_port;
    board.connect(&worker.config().host, port, worker.bootstrap());
    engines.spawn(worker.clone().run(CancellationToken::new()));
    worker
}

async fn call(worker: &SimulatedWorker, request: Request<Body>) -> Value {
    let response = worker.http().oneshot(request).await;
    let response = response.expect("a worker in memory always answers");
    let body = response.into_body().collect().await;
    let bytes = body.expect("so does its body").to_bytes();
    serde_json::from_slice(&bytes).expect("answers are JSON")
}

async fn ask(prefill: &SimulatedWorker, decode: &SimulatedWorker, room: u64, dice: u64) {
    let body = json!({
        "text": prompt_of(1 + dice % 4_000, room),
        "sampling_params": {"max_new_tokens": 2 + (dice >> 20) % 600, "ignore_eos": true},
        "bootstrap_host": prefill.config().host,
        "bootstrap_port": prefill.config().bootstrap_port,
        "bootstrap_room": room,
    })
    .to_string();
    let request = || {
        Request::post("/generate")
            .header("content-type", "application/json")
            .body(Body::from(body.clone()))
            .expect("a fixed request is well-formed")
    };
    tokio::join!(call(prefill, request()), call(decode, request()));
}

#[tokio::test(start_paused = true)]
async fn parameters_are_found_in_a_workers_own_counters() {
    let (board, mut engines) = (Switchboard::default(), JoinSet::new());
    let prefill = worker(Role::Prefill, &board, &mut engines);
    let decode = worker(Role::Decode, &board, &mut engines);
    let load = async {
        let mut requests = JoinSet::new();
        let mut dice = fastrand::Rng::with_seed(3);
        for room in 0..1_200 {
            let (prefill, decode, number) = (prefill.clone(), decode.clone(), dice.u64(..));
            requests.spawn(async move { ask(&prefill, &decode, room, number).await });
            // Busier and quieter minutes by turns.
            let pause = if room / 150 % 2 == 0 { 800 } else { 200 };
            tokio::time::sleep(Duration::from_millis(dice.u64(1..pause))).await;
        }
        while requests.join_next().await.is_some() {}
    };
    let mut log = String::new();
    let record = async {
        loop {
            for worker in [&prefill, &decode] {
                let request = Request::get("/v1/loads").body(Body::empty()).unwrap();
                let mut answer = call(worker, request).await;
                answer["worker"] = worker.config().host.clone().into();
                log += &answer.to_string();
                log.push('\n');
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = load => {}
        () = record => {}
    }
    let found = loads::fit(&log, WorkerModel::default()).unwrap();
    for parameter in [
        Parameter::BatchBase,
        Parameter::PerToken,
        Parameter::StepBase,
        Parameter::PerSequence,
    ] {
        let (found, truth) = (parameter.get(&found.model), parameter.get(&truth()));
        let off = (found / truth - 1.0).abs();
        assert!(off < TOLERANCE, "{parameter:?}: {found} {truth}");
    }
}
