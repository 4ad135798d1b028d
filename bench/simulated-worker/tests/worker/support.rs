//! Workers in one process, connected by a switchboard, and a client that calls them in memory.
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use policies::model::WorkerModel;
use serde_json::{Value, json};
use simulated_worker::{
    Config, Network, Role, SimulatedWorker, Switchboard, Timing, answer::prompt_of,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) struct Fleet {
    pub(crate) switchboard: Switchboard,
    engines: JoinSet<()>,
    next_port: u16,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            switchboard: Switchboard::default(),
            engines: JoinSet::new(),
            next_port: 9000,
        }
    }

    pub(crate) fn start(&mut self, config: Config) -> SimulatedWorker {
        let config = Config {
            bootstrap_port: self.next_port,
            ..config
        };
        self.next_port += 1;
        let network = Network::InMemory(self.switchboard.clone());
        let worker = SimulatedWorker::new(config, &network);
        let Config {
            host,
            bootstrap_port,
            ..
        } = worker.config();
        self.switchboard
            .connect(host, *bootstrap_port, worker.bootstrap());
        self.engines
            .spawn(worker.clone().run(CancellationToken::new()));
        worker
    }
}

/// A prefill and a decode that take no time.
pub(crate) struct Pair {
    pub(crate) fleet: Fleet,
    pub(crate) prefill: SimulatedWorker,
    pub(crate) decode: SimulatedWorker,
}

impl Pair {
    pub(crate) fn instant() -> Self {
        Self::of(
            Config::instant(Role::Prefill),
            Config::instant(Role::Decode),
        )
    }

    /// A pair with the measured timing.
    pub(crate) fn timed() -> Self {
        let timed = |role| Config {
            role,
            ..Config::default()
        };
        Self::of(timed(Role::Prefill), timed(Role::Decode))
    }

    pub(crate) fn of(prefill: Config, decode: Config) -> Self {
        let mut fleet = Fleet::new();
        Self {
            prefill: fleet.start(prefill),
            decode: fleet.start(decode),
            fleet,
        }
    }

    /// The body with the fields that make this pair one, in this room.
    pub(crate) fn in_room(&self, body: &Value, room: u64) -> Value {
        let mut body = body.clone();
        body["bootstrap_host"] = self.prefill.config().host.as_str().into();
        body["bootstrap_port"] = self.prefill.config().bootstrap_port.into();
        body["bootstrap_room"] = room.into();
        body
    }

    /// Sends a body to both, as a router does; answers of prefill and decode.
    pub(crate) async fn post(&self, path: &str, body: &Value, room: u64) -> (Answered, Answered) {
        let body = self.in_room(body, room);
        tokio::join!(
            post(&self.prefill, path, &body),
            post(&self.decode, path, &body)
        )
    }
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    /// Whether the body broke off with an error.
    pub(crate) broken: bool,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// The events of a stream without their `data: `.
    pub(crate) fn events(&self) -> Vec<&str> {
        self.body
            .split("\n\n")
            .filter(|event| !event.is_empty())
            .map(|event| event.strip_prefix("data: ").expect("an event is data"))
            .collect()
    }

    /// All events but the `[DONE]` that must be the last.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let mut events = self.events();
        assert_eq!(events.pop(), Some("[DONE]"), "{}", self.body);
        let parse = |event: &str| serde_json::from_str(event).expect("an event is JSON");
        events.into_iter().map(parse).collect()
    }
}

pub(crate) async fn post(worker: &SimulatedWorker, path: &str, body: &Value) -> Answered {
    read(send(worker, "POST", path, body.to_string()).await).await
}

pub(crate) async fn get(worker: &SimulatedWorker, path: &str) -> Answered {
    read(send(worker, "GET", path, String::new()).await).await
}

/// The response as soon as there is a head.
pub(crate) async fn send(
    worker: &SimulatedWorker,
    method: &str,
    path: &str,
    body: String,
) -> http::Response<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("the parts are valid");
    let Ok(response) = worker.http().oneshot(request).await;
    response
}

pub(crate) async fn read(response: http::Response<Body>) -> Answered {
    let status = response.status();
    let mut body = response.into_body();
    let (mut bytes, mut broken) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            broken = true;
            break;
        };
        bytes.extend(frame.into_data().unwrap_or_default());
    }
    Answered {
        status,
        body: String::from_utf8(bytes).expect("answers are text"),
        broken,
    }
}

/// A `/generate` body that gets exactly so many tokens.
pub(crate) fn generate(text: &str, tokens: u32) -> Value {
    json!({"text": text, "sampling_params": {"max_new_tokens": tokens, "ignore_eos": true}})
}

pub(crate) fn streamed(body: &Value) -> Value {
    let mut body = body.clone();
    body["stream"] = true.into();
    body
}

/// Lets everything run that can run now.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// A pair with the measured timing, changed.
pub(crate) fn pair_with(change: impl FnOnce(&mut WorkerModel)) -> Pair {
    pair_of(change, false)
}

pub(crate) fn pair_of(change: impl FnOnce(&mut WorkerModel), prefix_cache: bool) -> Pair {
    let mut timing = Timing::MEASURED;
    change(&mut timing.model);
    let config = |role| Config {
        role,
        timing,
        prefix_cache,
        ..Config::default()
    };
    Pair::of(config(Role::Prefill), config(Role::Decode))
}

/// What `/v1/loads` says.
pub(crate) async fn load(worker: &SimulatedWorker) -> Value {
    get(worker, "/v1/loads").await.json()["loads"][0].clone()
}

pub(crate) fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// A prompt of its own for each room; what the decode answers.
pub(crate) async fn ask(pair: &Pair, prompt_tokens: u64, output: u32, room: u64) -> Answered {
    let body = generate(&prompt_of(prompt_tokens, room), output);
    pair.post("/generate", &body, room).await.1
}

pub(crate) async fn disaggregation(worker: &SimulatedWorker) -> Value {
    load(worker).await["disaggregation"].clone()
}
