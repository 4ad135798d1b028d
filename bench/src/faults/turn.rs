//! One router, freshly started, in one case.

use super::{
    ask::{Asked, ask},
    case::{Case, HELD, Leg, Moment, Way},
    fleet::{Fleet, FleetError},
    outcome::Outcome,
    ready,
};
use crate::{
    child::{self, Child, ChildError, Launch},
    load::{Endpoints, Load, Question, Streaming},
    peers::contender::{self, Contender, Policy, Setup},
    wire::{Endpoint, HttpClient, Prepared, UrlError},
};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use simulated_worker::Fault;
use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Requests of an endpoint and kind in a case: two for each worker that may have the fault.
pub const REQUESTS: u64 = 4;

/// Between two requests, so that they come in order and every endpoint meets both workers.
const APART: Duration = Duration::from_millis(3);

/// Tokens of a prompt and of its answer: a stream lives for half a second or so.
const LENGTHS: (u64, u32) = (64, 48);

/// A prefill of these prompts then takes a tenth of a second or two, in which decode has nothing to say yet.
const SLOW_PREFILL: Fault = Fault::Slow { factor: 3.0 };

/// How long after the first request the moment before the first token is there: a decode worker has the request, its
/// prefill is not done.
const EARLY: Duration = Duration::from_millis(150);

/// Streams that haven't begun by then won't: the fault strikes all the same.
const BEGUN_WITHIN: Duration = Duration::from_secs(4);

/// What every turn of a run has in common.
pub struct Stage {
    pub bench: PathBuf,
    pub programs: contender::Programs,
    /// Flags on top of those that all get.
    pub flags: Vec<(Contender, Vec<String>)>,
    /// Where configuration files would go.
    pub folder: PathBuf,
    /// How long a client waits.
    pub limit: Duration,
    pub seed: u64,
}

/// Why a turn has no results.
#[derive(Debug)]
pub enum TurnError {
    NoProgram(Contender),
    Ports(io::Error),
    Files(io::Error),
    Child(ChildError),
    Fleet(FleetError),
    Url(UrlError),
    /// Nothing else could be put on a dead worker's port.
    Garbage(io::Error),
    ClientDied,
}

impl fmt::Display for TurnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram(contender) => write!(f, "there is no program of {contender}"),
            Self::Ports(error) => write!(f, "no free ports for the router: {error}"),
            Self::Files(error) => write!(f, "cannot write its configuration: {error}"),
            Self::Child(error) => error.fmt(f),
            Self::Fleet(error) => error.fmt(f),
            Self::Url(error) => error.fmt(f),
            Self::Garbage(error) => write!(f, "cannot listen on a dead worker's port: {error}"),
            Self::ClientDied => f.write_str("a client panicked"),
        }
    }
}

impl std::error::Error for TurnError {}

/// What the requests of one endpoint and kind got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Got {
    pub endpoint: String,
    pub streamed: bool,
    pub answers: Vec<GotOne>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GotOne {
    pub outcome: Outcome,
    pub milliseconds: u64,
}

/// A router and its workers.
pub struct Running {
    pub fleet: Fleet,
    _router: Child,
    pub url: String,
}

impl Stage {
    /// Starts workers and a router that knows them all; `more` flags come last.
    pub async fn enter(&self, contender: Contender, more: &[&str]) -> Result<Running, TurnError> {
        let fleet = Fleet::start(&self.bench).await.map_err(TurnError::Fleet)?;
        let program = self.programs.paths.get(&contender);
        let program = program.ok_or(TurnError::NoProgram(contender))?;
        let [port, metrics_port] = child::free_ports().map_err(TurnError::Ports)?;
        let workers = fleet.ports();
        let setup = Setup {
            workers: &workers,
            policy: Policy::RoundRobin,
            port,
            metrics_port,
            certificate: None,
            folder: &self.folder,
        };
        let mut arguments = contender::arguments(contender, &setup).map_err(TurnError::Files)?;
        let own = self.flags.iter().filter(|(whose, _)| *whose == contender);
        arguments.extend(own.flat_map(|(_, flags)| flags.iter().map(OsString::from)));
        arguments.extend(more.iter().map(OsString::from));
        let mut router = Child::spawn(&launch(program, arguments)).map_err(TurnError::Child)?;
        let url = format!("http://127.0.0.1:{port}");
        let sign = ready::wait(self, &url, contender.registers(&workers));
        router.serves(sign).await.map_err(TurnError::Child)?;
        Ok(Running {
            fleet,
            _router: router,
            url,
        })
    }

    /// What clients get in a case.
    pub async fn turn(&self, contender: Contender, case: Case) -> Result<Vec<Got>, TurnError> {
        let mut running = self.enter(contender, &[]).await?;
        let mut garbage = JoinSet::new();
        prepare(&mut running.fleet, case, &mut garbage).await?;
        let (under_way, mut begun) = watch::channel(0);
        let asked = self.ask_all(&running.url, under_way);
        let strikes = async {
            match case.moment {
                Moment::Start => return Ok(()),
                Moment::BeforeHead | Moment::BeforeFirstToken => sleep(EARLY).await,
                Moment::MidStream => {
                    let streams = (REQUESTS as usize) * Endpoint::ALL.len();
                    let all = begun.wait_for(|streams_begun| *streams_begun >= streams);
                    // Not all streams of a router that fails without a fault begin; nor does a closed channel matter.
                    let _ = timeout(BEGUN_WITHIN, all).await;
                }
            }
            from_outside(&mut running.fleet, case).await
        };
        let (asked, struck) = tokio::join!(asked, strikes);
        struck?;
        asked
    }

    async fn ask_all(
        &self,
        url: &str,
        under_way: watch::Sender<usize>,
    ) -> Result<Vec<Got>, TurnError> {
        let http = Arc::new(HttpClient::new());
        let under_way = Arc::new(under_way);
        let kinds = Endpoint::ALL.map(|endpoint| [(endpoint, true), (endpoint, false)]);
        let mut clients = JoinSet::new();
        for (place, &(endpoint, streamed)) in kinds.as_flattened().iter().enumerate() {
            for number in 0..REQUESTS {
                let question = self.question(endpoint, streamed, number);
                let to = Prepared::new(url, endpoint.path(), HeaderMap::new());
                let to = to.map_err(TurnError::Url)?;
                let (http, under_way) = (Arc::clone(&http), Arc::clone(&under_way));
                let limit = self.limit;
                clients.spawn(async move {
                    (place, ask(&http, &to, &question, &under_way, limit).await)
                });
                sleep(APART).await;
            }
        }
        let mut all: Vec<Got> = kinds
            .as_flattened()
            .iter()
            .map(|&(endpoint, streamed)| Got {
                endpoint: endpoint.path().into(),
                streamed,
                answers: Vec::new(),
            })
            .collect();
        while let Some(asked) = clients.join_next().await {
            let (place, Asked { outcome, took }) = asked.map_err(|_| TurnError::ClientDied)?;
            all[place].answers.push(GotOne {
                outcome,
                milliseconds: took.as_millis() as u64,
            });
        }
        Ok(all)
    }

    pub(super) fn question(&self, endpoint: Endpoint, streamed: bool, number: u64) -> Question {
        let load = Load {
            endpoints: match endpoint {
                Endpoint::Generate => Endpoints::Generate,
                Endpoint::Completions => Endpoints::Completions,
                Endpoint::Chat => Endpoints::Chat,
            },
            streaming: if streamed {
                Streaming::Always
            } else {
                Streaming::Never
            },
            seed: self.seed,
            ..Load::default()
        };
        Question::new(&load, LENGTHS, number)
    }
}

fn launch(program: &Path, arguments: Vec<OsString>) -> Launch {
    Launch {
        program: program.into(),
        arguments,
        ready: String::new(),
    }
}

/// What is done before the requests come.
async fn prepare(
    fleet: &mut Fleet,
    case: Case,
    garbage: &mut JoinSet<()>,
) -> Result<(), TurnError> {
    match case.way() {
        Way::Rule(fault) => {
            let done = fleet.fault_first(case.leg, fault).await;
            return done.map_err(TurnError::Fleet);
        }
        Way::NotHttp => {
            let port = fleet.kill_first(case.leg).await.map_err(TurnError::Fleet)?;
            let listener = TcpListener::bind(("127.0.0.1", port)).await;
            garbage.spawn(answer_garbage(listener.map_err(TurnError::Garbage)?));
            return Ok(());
        }
        Way::Kill | Way::Stop | Way::Cut => {}
    }
    let held = match case.moment {
        Moment::Start => return from_outside(fleet, case).await,
        Moment::BeforeHead => {
            let stall_ms = Some(HELD.as_millis() as u64);
            fleet
                .fault_all(case.leg, Fault::StallBeforeHead { stall_ms })
                .await
        }
        Moment::BeforeFirstToken => fleet.fault_all(Leg::Prefill, SLOW_PREFILL).await,
        Moment::MidStream => Ok(()),
    };
    held.map_err(TurnError::Fleet)
}

async fn from_outside(fleet: &mut Fleet, case: Case) -> Result<(), TurnError> {
    let done = match case.way() {
        Way::Kill => fleet.kill_first(case.leg).await.map(drop),
        Way::Stop => fleet.freeze_first(case.leg),
        Way::Cut => fleet.cut_first(case.leg),
        Way::Rule(_) | Way::NotHttp => Ok(()),
    };
    done.map_err(TurnError::Fleet)
}

/// Says something to everybody that is not HTTP.
async fn answer_garbage(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        // Whoever has left needs no garbage.
        let _ = stream
            .write_all(b"\x16\x03\x01 not HTTP\r\n\r\n\x00\xff")
            .await;
        let _ = stream.shutdown().await;
    }
}
