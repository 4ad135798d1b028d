//! Workers that are to leave the set: each waits until nothing is in flight on it, and then goes.

use std::sync::Arc;
use std::time::Duration;

use policies::lifecycle::WorkerEvent;
use policies::worker::WorkerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::workers::WorkerRegistry;

/// A worker that isn't empty by then is removed all the same: as long as the longest answer may take by default.
pub const REMOVAL_DRAIN_LIMIT: Duration = Duration::from_secs(1800);

/// Removals asked for and not yet taken up: more than a fleet has workers.
const WAITING_REMOVALS: usize = 1024;

pub type RemovalSender = mpsc::Sender<WorkerId>;

pub fn channel() -> (RemovalSender, mpsc::Receiver<WorkerId>) {
    mpsc::channel(WAITING_REMOVALS)
}

/// Removes the workers that come in through `receiver`, all at once, until `cancel` or the last sender is gone.
pub async fn run(
    registry: Arc<WorkerRegistry>,
    mut receiver: mpsc::Receiver<WorkerId>,
    cancel: CancellationToken,
) {
    let mut drains = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            Some(_) = drains.join_next() => {}
            next = receiver.recv() => match next {
                Some(id) => { drains.spawn(drain(Arc::clone(&registry), id)); }
                None => break,
            },
        }
    }
    while drains.join_next().await.is_some() {}
}

async fn drain(registry: Arc<WorkerRegistry>, id: WorkerId) {
    let Some(worker) = registry
        .snapshot()
        .by_id(id)
        .map(|member| Arc::clone(&member.worker))
    else {
        return;
    };
    if timeout(REMOVAL_DRAIN_LIMIT, worker.drained())
        .await
        .is_err()
    {
        tracing::warn!(worker = %worker.url, in_flight = worker.in_flight(), "removing a worker that did not drain in time");
    }
    registry.apply(id, WorkerEvent::Removed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::{WorkerSpec, WorkerUrl};
    use policies::lifecycle::WorkerState;
    use policies::worker::Role;

    #[tokio::test(start_paused = true)]
    async fn a_worker_goes_when_its_last_request_has_left() {
        let registry = Arc::new(WorkerRegistry::new(
            crate::config::Config::default().breaker,
            |_| {},
        ));
        let url = WorkerUrl::parse("http://a:1").unwrap();
        let worker = registry.add(&WorkerSpec::new(url, Role::Decode)).unwrap();
        registry.apply(worker.id, WorkerEvent::Passed).unwrap();
        let ticket = worker.enter().unwrap();
        registry
            .apply(worker.id, WorkerEvent::DrainRequested)
            .unwrap();
        let (sender, receiver) = channel();
        sender.send(worker.id).await.unwrap();
        drop(sender);
        let mut running = std::pin::pin!(run(
            Arc::clone(&registry),
            receiver,
            CancellationToken::new()
        ));
        assert!(
            timeout(Duration::from_secs(60), running.as_mut())
                .await
                .is_err()
        );
        assert_eq!(
            registry.snapshot().by_id(worker.id).unwrap().state,
            WorkerState::Draining
        );
        drop(ticket);
        running.await;
        assert!(registry.snapshot().members().is_empty());
    }
}
