//! A schedule is played, and what must hold is checked: along the way, and when all is over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use adaptive_router::control::{Fleet, removal, transition};
use adaptive_router::launch::Means;
use http::StatusCode;
use http_body_util::BodyExt as _;
use policies::lifecycle::{WorkerEvent, WorkerState};
use policies::worker::Role;
use simulated_worker::SimulatedWorker;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::answer::Verdict;
use super::rig::{Ledger, Rig, within};
use super::schedule::{Client, Event, Request, Schedule};

/// No request may take longer: five attempts of 6 s (`--request-timeout-secs`) with their pauses and 4 s in a queue come
/// to 35 s, the longest answers to a few more.
const LONGEST: Duration = Duration::from_secs(60);

/// Once all requests have ended nothing may be left of them, neither here nor on the workers, after this.
const SETTLES: Duration = Duration::from_secs(1);

/// What came of the requests of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Played {
    verdicts: Vec<Option<Verdict>>,
    moved: u32,
    took: Duration,
}

/// Over all schedules.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    schedules: u64,
    requests: u64,
    right: u64,
    errors: u64,
    error_events: u64,
    cut: u64,
    left: u64,
    moved: u32,
    virtual_time: Duration,
}

impl Totals {
    pub(crate) fn add(&mut self, played: &Played) {
        self.schedules += 1;
        self.moved += played.moved;
        self.virtual_time += played.took;
        for verdict in &played.verdicts {
            self.requests += 1;
            *match verdict {
                None => &mut self.left,
                Some(Verdict::Right) => &mut self.right,
                Some(Verdict::Error(_)) => &mut self.errors,
                Some(Verdict::ErrorEvent) => &mut self.error_events,
                Some(Verdict::Cut) => &mut self.cut,
            } += 1;
        }
    }

    /// Whether schedules like these could show a fault at all.
    pub(crate) fn covers_everything(&self) -> bool {
        let some = [self.right, self.errors, self.error_events, self.left];
        some.iter().all(|count| *count > 0) && self.moved > 0
    }
}

/// Why a schedule failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Answer {
        request: usize,
        flaw: String,
    },
    Endless {
        request: usize,
    },
    /// Accepted, ended in each way, and in flight don't add up.
    Counters {
        accepted: u64,
        ended: Ledger,
        in_flight: u64,
    },
    /// The counters say something else than the clients.
    Ledger {
        ended: Ledger,
        right: u64,
        left: u64,
    },
    LeftInFlight {
        router: u32,
        workers: usize,
    },
    ClientPanicked,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { request, flaw } => write!(f, "request {request}: {flaw}"),
            Self::Endless { request } => {
                write!(f, "request {request} had not ended after {LONGEST:?}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// Plays a schedule in a runtime of its own, in virtual time.
pub(crate) fn play(schedule: &Schedule) -> Result<Played, Wrong> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    // The router draws rooms, jitter and random picks on this thread.
    fastrand::seed(schedule.seed);
    runtime.block_on(async {
        let rig = Rig::with(&schedule.flags, |config| {
            config.enable_pd_role_switch = true;
            config.seed = schedule.seed;
        });
        Stage {
            workers: rig.prefill.iter().chain(&rig.decode).cloned().collect(),
            ids: ids(&rig),
            rig: Arc::new(rig),
        }
        .play(schedule)
        .await
    })
}

fn ids(rig: &Rig) -> Vec<policies::worker::WorkerId> {
    let set = rig.proxy.registry.snapshot();
    set.members()
        .iter()
        .map(|member| member.worker.id)
        .collect()
}

/// What the exported counters say, read in one look as Prometheus does.
#[derive(Debug)]
struct Books {
    accepted: u64,
    in_flight: u64,
    ended: Ledger,
}

impl Books {
    fn of(text: &str) -> Self {
        let sum = |name: &str, label: &str| {
            let samples = text.lines().filter_map(|line| {
                let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
                labels.contains(label).then_some(value)
            });
            let values = samples.map(|value| value.parse::<f64>().expect("a number"));
            values.sum::<f64>() as u64
        };
        let ended = |outcome: &str| {
            let label = format!("outcome=\"{outcome}\"");
            sum("adaptive_router_requests_finished_total{", &label)
        };
        Self {
            accepted: sum("smg_router_requests_total{", ""),
            in_flight: sum("adaptive_router_requests_in_flight{", ""),
            ended: Ledger {
                completed: ended("completed"),
                failed: ended("failed"),
                refused: ended("refused"),
                client_gone: ended("client_gone"),
            },
        }
    }
}

struct Stage {
    rig: Arc<Rig>,
    workers: Vec<SimulatedWorker>,
    ids: Vec<policies::worker::WorkerId>,
}

impl Stage {
    async fn play(&self, schedule: &Schedule) -> Result<Played, Wrong> {
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for (number, request) in schedule.requests.iter().enumerate() {
            let (rig, request) = (Arc::clone(&self.rig), request.clone());
            clients.spawn(async move {
                sleep_until(began + request.at).await;
                let answered = timeout(LONGEST, ask(&rig, &request)).await;
                (
                    number,
                    answered.unwrap_or(Err(Wrong::Endless { request: number })),
                )
            });
        }
        let mut moves = JoinSet::new();
        let (removals, taken) = removal::channel();
        let cancel = CancellationToken::new();
        let mut removing = JoinSet::new();
        let registry = Arc::clone(&self.rig.proxy.registry);
        removing.spawn(removal::run(registry, taken, cancel.clone()));
        for (at, event) in &schedule.events {
            sleep_until(began + *at).await;
            match event {
                Event::Fault(worker, rule) => self.workers[*worker].faults().add(rule.clone()),
                Event::Heals(worker) => self.workers[*worker].faults().clear(),
                Event::ChangesRole(worker) => self.change_role(*worker, &mut moves),
                Event::Removed(worker) => {
                    let id = self.ids[*worker];
                    let registry = &self.rig.proxy.registry;
                    if registry.apply(id, WorkerEvent::DrainRequested).is_some() {
                        removals.try_send(id).expect("fewer than fit");
                    }
                }
                Event::Dropped(worker) => {
                    let registry = &self.rig.proxy.registry;
                    registry.apply(self.ids[*worker], WorkerEvent::Removed);
                }
                Event::Audit => {
                    self.audit()?;
                }
            }
        }
        let mut played = Played {
            verdicts: vec![None; schedule.requests.len()],
            ..Played::default()
        };
        while let Some(ended) = clients.join_next().await {
            let (number, verdict) = ended.map_err(|_| Wrong::ClientPanicked)?;
            played.verdicts[number] = verdict.map_err(|wrong| of_request(number, wrong))?;
            self.audit()?;
        }
        played.took = began.elapsed();
        // What a role change waits for is over now; only then may nothing be left.
        for worker in &self.workers {
            worker.faults().clear();
        }
        while let Some(moved) = moves.join_next().await {
            played.moved += u32::from(moved.map_err(|_| Wrong::ClientPanicked)?);
        }
        cancel.cancel();
        self.settled().await?;
        self.agrees(&played)?;
        Ok(played)
    }

    fn change_role(&self, worker: usize, moves: &mut JoinSet<bool>) {
        let proxy = &self.rig.proxy;
        let set = proxy.registry.snapshot();
        let Some(member) = set.by_id(self.ids[worker]) else {
            return;
        };
        if member.state != WorkerState::Serving {
            return;
        }
        let to = match member.role {
            Role::Prefill => Role::Decode,
            Role::Decode | Role::Regular => Role::Prefill,
        };
        let order = transition::Order {
            worker: Arc::clone(&member.worker),
            from: member.role,
            to,
            means: Means::InPlace,
        };
        let mover = transition::Mover {
            fleet: Fleet {
                registry: Arc::clone(&proxy.registry),
                upstream: proxy.upstream.clone(),
                clock: proxy.clock,
                metrics: Arc::clone(&proxy.telemetry.metrics),
            },
            processes: None,
            settings: proxy.config.ratio.transition.clone(),
            health: proxy.config.health.clone(),
        };
        moves.spawn(async move { mover.carry_out(&order).await.is_ok() });
    }

    /// accepted = completed + failed + refused + client_gone + in flight, as an operator would check it.
    fn audit(&self) -> Result<Books, Wrong> {
        let Books {
            accepted,
            in_flight,
            ended,
        } = Books::of(&String::from_utf8_lossy(&self.rig.proxy.metrics_text()));
        let sum = ended.completed + ended.failed + ended.refused + ended.client_gone;
        if accepted == sum + in_flight {
            Ok(Books {
                accepted,
                in_flight,
                ended,
            })
        } else {
            Err(Wrong::Counters {
                accepted,
                ended,
                in_flight,
            })
        }
    }

    async fn settled(&self) -> Result<(), Wrong> {
        let on_workers = || -> usize {
            let workers = self.workers.iter();
            workers.map(|worker| worker.stats().in_flight).sum()
        };
        let gone = || self.rig.in_flight() == 0 && on_workers() == 0;
        if within(SETTLES, gone).await {
            return Ok(());
        }
        Err(Wrong::LeftInFlight {
            router: self.rig.in_flight(),
            workers: on_workers(),
        })
    }

    /// Whoever has read a right answer to its end was counted as completed, and only who left is counted as gone.
    fn agrees(&self, played: &Played) -> Result<(), Wrong> {
        let Books {
            ended, in_flight, ..
        } = self.audit()?;
        let count = |wanted| {
            let verdicts = played.verdicts.iter();
            verdicts.filter(|verdict| **verdict == wanted).count() as u64
        };
        let (right, left) = (count(Some(Verdict::Right)), count(None));
        let completed = right..=right + left;
        if in_flight == 0 && completed.contains(&ended.completed) && ended.client_gone <= left {
            return Ok(());
        }
        Err(Wrong::Ledger { ended, right, left })
    }
}

fn of_request(request: usize, wrong: Wrong) -> Wrong {
    match wrong {
        Wrong::Answer { flaw, .. } => Wrong::Answer { request, flaw },
        other => other,
    }
}

/// None where the client left.
async fn ask(rig: &Rig, request: &Request) -> Result<Option<Verdict>, Wrong> {
    let pause = match request.client {
        Client::Leaves(after) => {
            let _ = timeout(after, read(rig, request, Duration::ZERO)).await;
            return Ok(None);
        }
        Client::Reads => Duration::ZERO,
        Client::Slowly(pause) => pause,
    };
    let (status, body, broke) = read(rig, request, pause).await;
    let verdict = request.judge(status, &body, broke);
    verdict
        .map(Some)
        .map_err(|flaw| Wrong::Answer { request: 0, flaw })
}

async fn read(rig: &Rig, request: &Request, pause: Duration) -> (StatusCode, String, bool) {
    let response = rig.open(request.path(), request.body()).await;
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut broke) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            broke = true;
            break;
        };
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (head.status, text, broke)
}
