//! The life of one worker's process.
//!
//! One loop, one thing at a time: an order, the end of the process, a start that is due, a look at the worker once a
//! second. Which role the process is to have is the registry's word; so whatever fails between a process and its
//! lifecycle, the next start puts right.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use policies::lifecycle::{WorkerEvent, WorkerState};
use policies::worker::{Role, WorkerId};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::crashes::Crashes;
use super::group::Group;
use super::log::Log;
use super::running::Running;
use super::state::{Record, StateFile};
use super::supervisor::Surroundings;
use super::{LaunchError, Order, ProcessSettings};
use crate::cluster::{Cluster, ClusterWorker};
use crate::telemetry::{LaunchFamilies, LaunchReason};
use crate::workers::Member;

/// Between two looks: how late a removal is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long ports may stay taken: a killed process's sockets are closed when the kernel gets to it.
const PORTS_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks at the ports.
const PORTS_EVERY: Duration = Duration::from_millis(50);

/// What the keepers have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cluster: Arc<Cluster>,
    pub(super) surroundings: Surroundings,
    pub(super) settings: ProcessSettings,
    pub(super) state: StateFile,
}

pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) worker: ClusterWorker,
    pub(super) id: WorkerId,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) log: Log,
    pub(super) crashes: Crashes,
    /// What the state file says of it.
    pub(super) record: Option<Record>,
    pub(super) running: Option<Running>,
    /// What was started last, as long as something may be left of it.
    pub(super) group: Option<Group>,
    /// When to start it next. Nothing while it runs, and nothing once it is given up.
    pub(super) due: Option<Instant>,
    pub(super) writing: Option<JoinHandle<io::Result<()>>>,
}

impl Keeper {
    /// Keeps the worker until it is removed or `cancel`.
    pub(super) async fn keep(mut self, cancel: CancellationToken) {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.work() => return,
        }
        if self.shared.settings.stop_on_exit {
            self.end("the router stops").await;
        }
        self.written().await;
    }

    async fn work(&mut self) {
        if let Some(identity) = self.running.as_ref().map(|running| running.identity) {
            // A process that was taken over may have been found by its environment alone.
            self.note(|record| record.process = Some(identity)).await;
        }
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(order) = self.orders.recv() => self.obey(order).await,
                () = ended(self.running.as_ref()) => self.crashed().await,
                () = until(self.due) => self.start_again().await,
                _ = looks.tick() => {
                    let Some(member) = self.member() else {
                        self.end("it was removed").await;
                        return;
                    };
                    self.look(&member).await;
                }
            }
        }
    }

    fn member(&self) -> Option<Member> {
        self.shared
            .surroundings
            .registry
            .snapshot()
            .by_id(self.id)
            .cloned()
    }

    fn apply(&self, event: WorkerEvent) -> bool {
        let registry = &self.shared.surroundings.registry;
        registry.apply(self.id, event).is_some()
    }

    async fn obey(&mut self, order: Order) {
        // Who gave the order may have stopped waiting; it is carried out all the same.
        match order {
            Order::Restart { role, done } => {
                let _ = done.send(self.restart(role).await);
            }
            Order::NoteRole { role, done } => {
                let epoch = self.member().map(|member| member.epoch);
                self.note(|record| {
                    record.role = role;
                    record.epoch = epoch.unwrap_or(record.epoch);
                })
                .await;
                let _ = done.send(());
            }
        }
    }

    async fn restart(&mut self, role: Role) -> Result<(), LaunchError> {
        self.due = None;
        self.crashes.forget();
        let result = match self.stop().await {
            Ok(()) => self.start(role, LaunchReason::RoleChange).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            tracing::error!(worker = %self.worker.url, role = %role, "the worker was not started in its new role: {error}");
            self.start_later();
        }
        result
    }

    /// The process has ended, and nobody told it to.
    async fn crashed(&mut self) {
        let how = self
            .running
            .take()
            .map_or_else(String::new, |running| running.reap());
        self.apply(WorkerEvent::GaveUp);
        let log = self.log.path().display();
        tracing::error!(worker = %self.worker.url, log = %log, "the worker's process is gone: {how}");
        // Its children hold the GPU's memory, and may serve on as if nothing were.
        if let Err(error) = self.end_group().await {
            tracing::error!(worker = %self.worker.url, "{error}");
        }
        self.start_later();
    }

    /// Plans the next start, or gives the worker up.
    fn start_later(&mut self) {
        if let Some(pause) = self.crashes.another() {
            self.due = Some(Instant::now() + pause);
            return;
        }
        // There is no line from unhealthy to failed: it is failed as one that was started again and did not come up.
        self.apply(WorkerEvent::Relaunched);
        self.apply(WorkerEvent::GaveUp);
        tracing::error!(worker = %self.worker.url, log = %self.log.path().display(), crashes = self.crashes.in_a_row(), "the worker is given up; start the router anew when its log is understood");
        if let Some(member) = self.member() {
            self.launches().given_up(&member.worker, true);
        }
    }

    async fn start_again(&mut self) {
        let Some(member) = self.member() else {
            // The next look ends it.
            self.due = None;
            return;
        };
        match member.state {
            // Who drains or switches it says what comes next.
            WorkerState::Draining | WorkerState::Switching => {
                self.due = Some(Instant::now() + LOOK_EVERY);
                return;
            }
            WorkerState::Verifying => {
                self.apply(WorkerEvent::GaveUp);
            }
            WorkerState::Starting
            | WorkerState::Serving
            | WorkerState::Unhealthy
            | WorkerState::Failed
            | WorkerState::Removed => {}
        }
        self.due = None;
        let is_first = self.record.is_none();
        let reason = if is_first {
            LaunchReason::Start
        } else {
            LaunchReason::Crash
        };
        match self.start(member.role, reason).await {
            Ok(()) => {
                self.apply(WorkerEvent::Relaunched);
                if !is_first {
                    // Decode workers remember the ports of the process that is gone by its host's spelling.
                    self.shared.surroundings.registry.renew_bootstrap(self.id);
                }
            }
            Err(error) => {
                self.apply(WorkerEvent::GaveUp);
                tracing::error!(worker = %self.worker.url, "the worker was not started: {error}");
                self.start_later();
            }
        }
    }

    async fn look(&mut self, member: &Member) {
        let now = Instant::now();
        self.crashes
            .notice(member.state == WorkerState::Serving, now);
        self.note(|record| {
            // A role that is not served yet may be called off.
            if member.state == WorkerState::Serving {
                record.role = member.role;
            }
            record.epoch = member.epoch;
        })
        .await;
        let log = self.log.clone();
        // It may be gigabytes, of a worker that says a lot.
        if let Ok(Err(error)) = spawn_blocking(move || log.rotate_if_large()).await
            && self.running.is_some()
        {
            tracing::warn!(worker = %self.worker.url, "the worker's log can't be kept small: {error}");
        }
    }

    async fn start(&mut self, role: Role, reason: LaunchReason) -> Result<(), LaunchError> {
        self.end_group().await?;
        self.ports_are_free().await?;
        let command = self.shared.cluster.command(&self.worker, role);
        let log = self.log.open(&command)?;
        let member = self.member().ok_or(LaunchError::Ended)?;
        let record = Record {
            url: self.worker.url.to_string(),
            role,
            launch: Uuid::new_v4().to_string(),
            process: None,
            command: self.shared.cluster.fingerprint(&self.worker),
            epoch: member.epoch,
        };
        let launch = record.launch.clone();
        self.write_down(Some(record)).await;
        let running =
            Running::start(&command, &launch, &log).map_err(|cause| LaunchError::NotStarted {
                program: command.program.clone(),
                cause,
            })?;
        let identity = running.identity;
        self.group = Some(Group { leader: identity });
        self.running = Some(running);
        self.note(|record| record.process = Some(identity)).await;
        self.launches().started(&member.worker, reason);
        tracing::info!(worker = %self.worker.url, pid = identity.pid, log = %self.log.path().display(), "started: {command}");
        Ok(())
    }

    /// Ends the process and all that belongs to it. SIGTERM to the main process alone lets requests in flight end; to the
    /// group it would kill the scheduler under them.
    async fn stop(&mut self) -> Result<(), LaunchError> {
        if let Some(running) = &self.running {
            running.signal(Signal::TERM);
            let limit = self.shared.settings.stop_timeout;
            if timeout(limit, running.ended()).await.is_err() {
                tracing::warn!(worker = %self.worker.url, "the worker did not end within {limit:?} of SIGTERM and is killed");
            }
        }
        self.end_group().await?;
        if let Some(running) = self.running.take() {
            running.reap();
        }
        Ok(())
    }

    async fn end_group(&mut self) -> Result<(), LaunchError> {
        if let Some(group) = self.group {
            group.end().await?;
            self.group = None;
        }
        Ok(())
    }

    /// Stops it for good.
    async fn end(&mut self, why: &str) {
        tracing::info!(worker = %self.worker.url, "stopping the worker: {why}");
        match self.stop().await {
            Ok(()) => self.write_down(None).await,
            Err(error) => tracing::error!(worker = %self.worker.url, "{error}"),
        }
    }

    async fn ports_are_free(&self) -> Result<(), LaunchError> {
        let deadline = Instant::now() + PORTS_WITHIN;
        for port in self.worker.ports() {
            while is_taken(self.worker.host(), port).await {
                if Instant::now() >= deadline {
                    return Err(LaunchError::PortTaken {
                        port,
                        waited: PORTS_WITHIN,
                    });
                }
                sleep(PORTS_EVERY).await;
            }
        }
        Ok(())
    }

    /// Changes what is written down, where that is a change.
    async fn note(&mut self, change: impl FnOnce(&mut Record)) {
        let Some(mut record) = self.record.clone() else {
            return;
        };
        change(&mut record);
        if self.record.as_ref() != Some(&record) {
            self.write_down(Some(record)).await;
        }
    }

    /// A worker that can't be written down runs all the same: the disk is full, and the GPU is there.
    async fn write_down(&mut self, record: Option<Record>) {
        self.written().await;
        self.record.clone_from(&record);
        let (shared, name) = (Arc::clone(&self.shared), self.worker.name.clone());
        self.writing = Some(spawn_blocking(move || shared.state.put(&name, record)));
        self.written().await;
    }

    /// Waits for a write that is under way: also one that nobody waits for any more, because the router stops, is not to
    /// come after the next.
    async fn written(&mut self) {
        let Some(writing) = &mut self.writing else {
            return;
        };
        if let Ok(Err(error)) = writing.await {
            tracing::error!(worker = %self.worker.url, "the state of the workers can't be written, the next router won't know of this one: {error}");
        }
        self.writing = None;
    }

    fn launches(&self) -> &LaunchFamilies {
        &self.shared.surroundings.metrics.launches
    }
}

/// Never returns where nothing runs.
async fn ended(running: Option<&Running>) {
    match running {
        Some(running) => running.ended().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Only "taken" counts: whatever else is wrong with the address the worker says itself, in its log.
async fn is_taken(host: &str, port: u16) -> bool {
    let bound = TcpListener::bind((host, port)).await;
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}
