//! Takes over what runs, registers every worker of the cluster file, and owns the keepers.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use policies::worker::{Role, WorkerId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::crashes::Crashes;
use super::keeper::{Keeper, Shared};
use super::log::Log;
use super::running::Running;
use super::state::{Record, StateFile};
use super::{ORDERS, Order, ProcessLauncher, ProcessSettings, StartError};
use crate::cluster::{Cluster, ClusterWorker, LauncherKind};
use crate::launch::Means;
use crate::telemetry::Metrics;
use crate::upstream::{Upstream, UpstreamRequest};
use crate::workers::{WorkerRegistry, WorkerSpec};

/// How long a worker that runs may take to say its role. One that doesn't answer is taken at its record's word.
const ROLE_WITHIN: Duration = Duration::from_secs(2);

/// `/model_info` is below a kilobyte.
const ROLE_ANSWER_LIMIT: usize = 64 * 1024;

/// How long the lock of a router that ended may be there.
const LOCK_WITHIN: Duration = Duration::from_secs(1);

/// Between two tries to get it.
const LOCK_EVERY: Duration = Duration::from_millis(20);

/// What the supervisor works on.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub registry: Arc<WorkerRegistry>,
    pub upstream: Upstream,
    pub metrics: Arc<Metrics>,
}

/// Owns the workers' processes. They go on when it is dropped.
pub struct Supervisor {
    shared: Arc<Shared>,
    keepers: Vec<Keeper>,
    /// Processes of workers that the cluster file no longer has.
    leftovers: BTreeMap<String, Record>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Takes over the workers that run and registers all of the file, each in the role that it has. Nothing is started
    /// before [`run`](Self::run).
    pub async fn start(
        cluster: Arc<Cluster>,
        surroundings: Surroundings,
        settings: ProcessSettings,
    ) -> Result<(ProcessLauncher, Self), StartError> {
        let state = state_of(&settings.state_dir).await?;
        let mut records = state.workers();
        let found = join_all(cluster.workers().iter().map(|worker| {
            // One that listens elsewhere now is no longer this worker: it is stopped with those that the file lost.
            let is_same =
                |record: &Record| worker.is_launched() && record.url == worker.url.as_str();
            let record = records
                .get(&worker.name)
                .filter(|record| is_same(record))
                .cloned();
            if record.is_some() {
                records.remove(&worker.name);
            }
            find(worker, record, &surroundings.upstream)
        }))
        .await;
        let shared = Arc::new(Shared {
            cluster,
            surroundings,
            settings,
            state,
        });
        let mut keepers = Vec::new();
        let mut orders = HashMap::new();
        let is_new = !found.iter().any(|found| found.running.is_some());
        for found in found {
            let id = shared.register(&found, is_new)?;
            if let Some(means) = means(found.worker.launcher) {
                let (sender, receiver) = mpsc::channel(ORDERS);
                orders.insert(id, (means, sender));
                keepers.push(shared.keeper(found, id, receiver));
            }
        }
        let launcher = ProcessLauncher {
            keepers: Arc::new(orders),
        };
        let supervisor = Self {
            shared,
            keepers,
            leftovers: records,
        };
        Ok((launcher, supervisor))
    }

    /// Keeps the workers until `cancel`. They run on after that, unless the settings say otherwise.
    pub async fn run(self, cancel: CancellationToken) {
        // They may hold the GPUs of the others.
        tokio::select! {
            () = cancel.cancelled() => return,
            () = end_all(&self.shared, self.leftovers) => {}
        }
        let mut keepers = JoinSet::new();
        for keeper in self.keepers {
            keepers.spawn(keeper.keep(cancel.clone()));
        }
        while keepers.join_next().await.is_some() {}
    }
}

/// A router that has just ended may have left its lock with a child that it was about to start, for a moment.
async fn state_of(folder: &Path) -> Result<StateFile, StartError> {
    let deadline = Instant::now() + LOCK_WITHIN;
    loop {
        match StateFile::open(folder) {
            Err(StartError::Locked { .. }) if Instant::now() < deadline => sleep(LOCK_EVERY).await,
            opened => return opened,
        }
    }
}

/// How the role of a worker is changed whose process is the router's.
fn means(launcher: LauncherKind) -> Option<Means> {
    match launcher {
        LauncherKind::Process => Some(Means::Restart),
        LauncherKind::InPlace => Some(Means::InPlace),
        LauncherKind::None => None,
    }
}

/// A worker of the file, with what the router before left of it.
struct Found {
    worker: ClusterWorker,
    record: Option<Record>,
    running: Option<Running>,
    /// What it said itself.
    live_role: Option<Role>,
}

async fn find(worker: &ClusterWorker, record: Option<Record>, upstream: &Upstream) -> Found {
    let running = record.as_ref().and_then(Record::running);
    let live_role = if running.is_some() {
        ask_role(worker, upstream).await
    } else {
        None
    };
    Found {
        worker: worker.clone(),
        record,
        running,
        live_role,
    }
}

impl Found {
    /// The role that the worker has or is to be started in. In a fleet of which nothing runs that is the file's; a
    /// single one that is missing comes back as what it was.
    fn role(&self, is_new: bool) -> Role {
        let recorded = self.record.as_ref().map(|record| record.role);
        let recorded = recorded.filter(|_| !is_new);
        self.live_role.or(recorded).unwrap_or(self.worker.role)
    }
}

/// The role that the worker runs in now. `/server_info` would say the one it was launched in.
async fn ask_role(worker: &ClusterWorker, upstream: &Upstream) -> Option<Role> {
    let spec = worker.spec();
    let request =
        UpstreamRequest::get(spec.url.join("/model_info")).bearer(spec.api_key.as_deref());
    let asked = async {
        let mut body = upstream.send(request).await.ok()?.into_body();
        body.collect_up_to(ROLE_ANSWER_LIMIT).await.ok()
    };
    let body = timeout(ROLE_WITHIN, asked).await.ok()??;
    let info: serde_json::Value = serde_json::from_slice(&body).ok()?;
    match info.get("disaggregation_mode")?.as_str()? {
        "prefill" => Some(Role::Prefill),
        "decode" => Some(Role::Decode),
        _ => None,
    }
}

impl Shared {
    fn register(&self, found: &Found, is_new: bool) -> Result<WorkerId, StartError> {
        let registry = &self.surroundings.registry;
        let role = found.role(is_new);
        let spec = WorkerSpec {
            role,
            ..found.worker.spec()
        };
        let id = registry.add(&spec).map_err(StartError::Worker)?.id;
        let Some(record) = &found.record else {
            return Ok(id);
        };
        registry.resume_epoch(id, record.epoch);
        if let Some(running) = &found.running {
            let url = &found.worker.url;
            if role != record.role {
                // It changed its role and nobody wrote down under which spelling.
                registry.renew_bootstrap(id);
            }
            tracing::info!(worker = %url, role = %role, pid = running.identity.pid, "the worker runs already and is taken over");
            if self.cluster.fingerprint(&found.worker) != record.command {
                tracing::warn!(worker = %url, "the cluster file has another command line for the worker than it was started with: it takes effect at its next start");
            }
        }
        Ok(id)
    }

    fn keeper(
        self: &Arc<Self>,
        found: Found,
        id: WorkerId,
        orders: mpsc::Receiver<Order>,
    ) -> Keeper {
        let group = match &found.running {
            Some(running) => Some(super::group::Group {
                leader: running.identity,
            }),
            None => found.record.as_ref().and_then(Record::group),
        };
        Keeper {
            log: Log::new(
                self.state.folder(),
                &found.worker.name,
                self.settings.log_bytes,
            ),
            crashes: Crashes::new(self.settings.patience.clone()),
            due: found.running.is_none().then(Instant::now),
            shared: Arc::clone(self),
            worker: found.worker,
            id,
            orders,
            record: found.record,
            running: found.running,
            group,
            writing: None,
        }
    }
}

/// Ends what runs of workers that the file no longer has: it was the router's, and nobody else knows of it.
async fn end_all(shared: &Shared, leftovers: BTreeMap<String, Record>) {
    join_all(leftovers.into_iter().map(async |(name, record)| {
        if let Some(running) = record.running() {
            tracing::warn!(worker = %record.url, pid = running.identity.pid, "the worker is no longer in the cluster file: it is stopped");
            running.signal(rustix::process::Signal::TERM);
            // What doesn't end is killed with its group.
            let _ = timeout(shared.settings.stop_timeout, running.ended()).await;
            running.reap();
        }
        let ended = match record.group() {
            Some(group) => group.end().await,
            None => Ok(()),
        };
        if let Err(error) = ended {
            tracing::error!(worker = %record.url, "{error}");
        } else if let Err(error) = shared.state.put(&name, None) {
            tracing::error!(worker = %record.url, "the state of the workers can't be written: {error}");
        }
    }))
    .await;
}
