//! The simulator and the simulated workers are two readings of one performance model: on the same jobs they agree.
//!
//! The workers are the real thing (their HTTP side, bootstrap rendezvous, queues and batches) called in memory by a
//! closed-loop client in paused tokio time, so that a cell of several minutes takes seconds and repeats exactly.

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use pd_bench::{
    sim::{self, Outcome, Setup},
    workload::{Job, Workload},
};
use policies::model::WorkerModel;
use serde_json::{Value, json};
use simulated_worker::{
    Config, Network, Role, SimulatedWorker, Switchboard, Timing, answer::prompt_of,
};
use std::cell::Cell;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How far throughput and mean time between tokens may be apart.
const TOLERANCE: f64 = 0.05;

/// One cell of the published study, with fewer requests.
#[derive(Debug, Clone, Copy)]
struct Case {
    prefill: u32,
    decode: u32,
    prompt_tokens: u32,
    most_output: u32,
    concurrency: usize,
    requests: u64,
}

/// What either of the two says.
#[derive(Debug)]
struct Measured {
    requests_per_second: f64,
    mean_itl: f64,
    mean_ttft: f64,
}

/// The measured model with the warm-up that its default leaves out.
fn model() -> WorkerModel {
    let mut model = WorkerModel::h200_gpt_oss_120b_tp2();
    model.prefill.warm_up_per_request = 0.01;
    model
}

impl Case {
    /// A third of the outputs run to the cap and the others are short, as in the study.
    fn jobs(&self) -> Vec<Job> {
        let mut dice = fastrand::Rng::with_seed(u64::from(self.prompt_tokens));
        let output = |dice: &mut fastrand::Rng| {
            if dice.u8(..3) == 0 {
                self.most_output
            } else {
                dice.u32(2..60)
            }
        };
        (0..self.requests)
            .map(|_| Job {
                prompt_tokens: self.prompt_tokens,
                cached_tokens: 0,
                output_tokens: output(&mut dice),
                class: 0,
            })
            .collect()
    }

    fn simulated(&self) -> Measured {
        let setup = Setup::study(model(), self.prefill, self.decode);
        let workload = Workload::Closed {
            jobs: self.jobs(),
            concurrency: self.concurrency,
        };
        let outcome: Outcome = sim::run(&setup, &workload);
        let ttfts = outcome.requests.iter().filter_map(sim::Served::ttft);
        Measured {
            requests_per_second: self.requests as f64 / outcome.makespan.as_secs_f64(),
            mean_itl: outcome.itl.mean() / 1e6,
            mean_ttft: ttfts.map(|ttft| ttft.as_secs_f64()).sum::<f64>() / self.requests as f64,
        }
    }

    async fn served(&self) -> Measured {
        let fleet = Fleet::start(self.prefill, self.decode);
        let jobs = self.jobs();
        let next = Cell::new(0);
        let began = Instant::now();
        let clients = (0..self.concurrency).map(|_| async {
            let mut answers = Vec::new();
            while let Some(job) = jobs.get(next.replace(next.get() + 1)) {
                answers.push(fleet.ask(next.get() as u64 - 1, job).await);
            }
            answers
        });
        let answers = futures_util::future::join_all(clients).await.concat();
        let later_tokens: f64 = answers.iter().map(|answer| answer.tokens - 1.0).sum();
        let decoding: f64 = answers
            .iter()
            .map(|answer| answer.whole - answer.ttft)
            .sum();
        Measured {
            requests_per_second: answers.len() as f64 / began.elapsed().as_secs_f64(),
            mean_itl: decoding / later_tokens,
            mean_ttft: answers.iter().map(|answer| answer.ttft).sum::<f64>() / answers.len() as f64,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    tokens: f64,
    ttft: f64,
    whole: f64,
}

struct Fleet {
    prefill: Vec<SimulatedWorker>,
    decode: Vec<SimulatedWorker>,
    _engines: JoinSet<()>,
}

impl Fleet {
    fn start(prefill: u32, decode: u32) -> Self {
        let board = Switchboard::default();
        let mut engines = JoinSet::new();
        let mut start = |role, count| -> Vec<SimulatedWorker> {
            (0..count)
                .map(|number| {
                    let worker = start(role, number, &board);
                    engines.spawn(worker.clone().run(CancellationToken::new()));
                    worker
                })
                .collect()
        };
        Self {
            prefill: start(Role::Prefill, prefill as usize),
            decode: start(Role::Decode, decode as usize),
            _engines: engines,
        }
    }

    /// Sends one job to a pair, whose halves take turns as with round robin.
    async fn ask(&self, number: u64, job: &Job) -> Answer {
        let turn = |workers: &[SimulatedWorker]| workers[number as usize % workers.len()].clone();
        let (prefill, decode) = (turn(&self.prefill), turn(&self.decode));
        let body = json!({
            "text": prompt_of(job.prompt_tokens.into(), number),
            "sampling_params": {"max_new_tokens": job.output_tokens, "ignore_eos": true},
            "bootstrap_host": prefill.config().host,
            "bootstrap_port": prefill.config().bootstrap_port,
            "bootstrap_room": number,
        });
        let (_, answered) = tokio::join!(post(&prefill, &body), post(&decode, &body));
        let meta = &answered["meta_info"];
        let seconds = |name: &str| {
            meta[name]
                .as_f64()
                .expect("an answer says how long it took")
        };
        Answer {
            tokens: seconds("completion_tokens"),
            ttft: seconds("first_token_latency"),
            whole: seconds("e2e_latency"),
        }
    }
}

fn start(role: Role, number: usize, board: &Switchboard) -> SimulatedWorker {
    let config = Config {
        role,
        host: format!("{role}-{number}"),
        timing: Timing {
            model: model(),
            scale: 1.0,
        },
        ..Config::default()
    };
    let worker = SimulatedWorker::new(config, &Network::InMemory(board.clone()));
    let Config {
        host,
        bootstrap_port,
        ..
    } = worker.config();
    board.connect(host, *bootstrap_port, worker.bootstrap());
    worker
}

async fn post(worker: &SimulatedWorker, body: &Value) -> Value {
    let request = Request::post("/generate")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("the parts are valid");
    let Ok(response) = worker.http().oneshot(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.expect("a whole body");
    serde_json::from_slice(&body.to_bytes()).expect("an answer is JSON")
}

async fn agree(case: Case) {
    let (simulated, served) = (case.simulated(), case.served().await);
    for (what, simulated, served) in [
        (
            "requests per second",
            simulated.requests_per_second,
            served.requests_per_second,
        ),
        ("mean ITL", simulated.mean_itl, served.mean_itl),
        ("mean TTFT", simulated.mean_ttft, served.mean_ttft),
    ] {
        assert!(
            (served / simulated - 1.0).abs() < TOLERANCE,
            "{what} of {case:?}: simulator {simulated}, workers {served}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn two_prefill_and_two_decode_workers_agree_on_long_prompts() {
    agree(Case {
        prefill: 2,
        decode: 2,
        prompt_tokens: 2048,
        most_output: 128,
        concurrency: 64,
        requests: 400,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_prefill_and_three_decode_workers_agree_on_long_answers() {
    agree(Case {
        prefill: 1,
        decode: 3,
        prompt_tokens: 128,
        most_output: 2048,
        concurrency: 32,
        requests: 150,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn three_prefill_and_one_decode_workers_agree_where_both_are_long() {
    agree(Case {
        prefill: 3,
        decode: 1,
        prompt_tokens: 2048,
        most_output: 2048,
        concurrency: 32,
        requests: 150,
    })
    .await;
}
