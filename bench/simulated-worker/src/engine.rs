//! The scheduler of a worker: queues, batches and the clock.
//!
//! One loop ([`Engine::run`]) forms batches and sleeps as long as they take; everybody else only moves jobs between
//! queues under one short lock and wakes it. A request holds an [`Admission`]: dropped before its end, it takes the
//! request out of whatever queue it is in, which is how a client that goes away frees its place at once.

mod decode;
mod job;
mod prefill;
mod prefix_cache;
mod queues;
mod rooms;
mod steps;
mod switch;

pub(crate) use job::{Finish, Job, Kv, Meeting, Plan, Sampling};
pub(crate) use prefix_cache::blocks;
pub(crate) use queues::transfer_error;
pub(crate) use switch::SwitchOrder;

use crate::{
    config::{Config, Role},
    counters::{Counters, Queues, Stats},
    faults::Faults,
    ticket::{Abort, End, Ticket},
};
use parking_lot::Mutex;
use queues::State;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(crate) struct Engine {
    pub(crate) config: Config,
    pub(crate) faults: Faults,
    state: Mutex<State>,
    /// Something was queued, or taken out.
    wake: Notify,
    up: AtomicBool,
    /// The scheduler died.
    crash: CancellationToken,
    refused: AtomicU64,
}

impl Engine {
    pub(crate) fn new(config: Config) -> Self {
        let faults = Faults::new(config.faults.clone(), config.seed);
        Self {
            state: Mutex::new(State::new(&config)),
            wake: Notify::new(),
            up: AtomicBool::new(false),
            crash: CancellationToken::new(),
            refused: AtomicU64::new(0),
            faults,
            config,
        }
    }

    /// Forms batches until cancelled, or until it crashes.
    pub(crate) async fn run(&self, cancel: CancellationToken) {
        self.up.store(true, Ordering::Release);
        let steps = async {
            let mut clock = Instant::now();
            loop {
                self.step(&mut clock).await;
            }
        };
        // The steps never end by themselves.
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.crashed() => {}
            () = steps => {}
        }
        self.up.store(false, Ordering::Release);
    }

    /// Whether the engine runs: before that and after it a worker answers 503 to probes.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// The bootstrap server answers nobody.
    pub(crate) fn bootstrap_is_dead(&self) -> bool {
        self.has_crashed() || self.faults.bootstrap_dead()
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.crash.is_cancelled()
    }

    pub(crate) async fn crashed(&self) {
        self.crash.cancelled().await;
    }

    pub(crate) fn role(&self) -> Role {
        self.state.lock().role
    }

    pub(crate) fn counters(&self) -> (Role, Counters, Queues) {
        let state = self.state.lock();
        (state.role, state.counters.clone(), state.count())
    }

    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> Stats {
        let (_, counters, queues) = self.counters();
        Stats {
            requests: counters.requests,
            completed: counters.completed,
            aborted: counters.aborted,
            disconnected: counters.disconnected,
            failed: counters.failed,
            refused: self.refused.load(Ordering::Relaxed),
            in_flight: queues.total(),
            prompt_tokens: counters.prompt_tokens,
            generated_tokens: counters.generated_tokens,
            room_collisions: counters.room_collisions,
            faults_injected: self.faults.injected(),
            role_switches: counters.role_switches,
            retractions: counters.retractions,
        }
    }

    /// Queues a job where its role and its room say.
    pub(crate) fn admit(self: &Arc<Self>, job: Job) -> Admission {
        let ticket = Arc::clone(&job.ticket);
        let ((id, space), role) = {
            let mut state = self.state.lock();
            let deadline = Instant::now() + self.config.bootstrap_timeout;
            (state.admit(job, deadline), state.role)
        };
        self.wake.notify_one();
        Admission {
            engine: Arc::clone(self),
            ticket,
            id,
            space,
            role,
        }
    }

    /// A request that can't be queued, ended before it began.
    pub(crate) fn reject(self: &Arc<Self>, abort: Abort) -> Admission {
        self.refuse();
        let ticket = Arc::new(Ticket::default());
        ticket.end(0, End::Aborted(abort));
        Admission {
            engine: Arc::clone(self),
            ticket,
            id: u64::MAX,
            space: None,
            role: self.role(),
        }
    }

    /// Drops the prefix cache, where nothing runs or waits. Answers whether it did.
    pub(crate) fn flush_cache(&self) -> bool {
        let mut state = self.state.lock();
        let idle = state.count().total() == 0;
        if idle {
            state.prefill.forget_prefixes();
        }
        idle
    }

    /// `/abort_request`: every job whose id starts with `rid`, or every job.
    pub(crate) fn abort_matching(&self, rid: Option<&str>) {
        self.state.lock().abort_matching(rid);
        self.wake.notify_one();
    }

    fn slowed(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.faults.slow_factor())
    }
}

/// A job's hold on its place in the engine.
pub(crate) struct Admission {
    engine: Arc<Engine>,
    pub(crate) ticket: Arc<Ticket>,
    id: u64,
    /// On a decode worker: ready once there is space for the KV.
    space: Option<oneshot::Receiver<()>>,
    /// The role in which the engine took the job.
    pub(crate) role: Role,
}

impl Admission {
    /// Waits for KV space on a decode worker.
    pub(crate) async fn space(&mut self) {
        if let Some(space) = self.space.take() {
            // A job that left without getting any has ended, which its reader is told by the ticket.
            let _ = space.await;
        }
    }

    /// The KV cache has arrived: the job may join the decode batch.
    pub(crate) fn land(&self, plan: Plan, collided: bool, cached_tokens: u64) {
        let mut state = self.engine.state.lock();
        let survives = state.land(self.id, plan, collided, cached_tokens);
        drop(state);
        if !survives {
            // "pool memory leak detected", and the scheduler raises.
            self.engine.crash.cancel();
        }
        self.engine.wake.notify_one();
    }

    /// The KV cache will not arrive.
    pub(crate) fn fail(&self, abort: Abort) {
        self.engine.state.lock().fail(self.id, abort);
        self.engine.wake.notify_one();
    }

    pub(crate) async fn ended(&self) -> (u32, End) {
        self.ticket.ended().await
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if !self.ticket.has_ended() {
            self.engine.state.lock().abandon(self.id);
            self.engine.wake.notify_one();
        }
    }
}
