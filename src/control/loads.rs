//! The load loop: what each serving worker reports of its queues, its tokens and its pace.
//!
//! What the router counts is only its own traffic; a worker also knows what others send it and how long the prompts
//! are. A poll that fails leaves no count for the policies, so that a worker which doesn't answer never looks like the
//! least loaded; the last report stays to be shown with its age.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use policies::worker::WorkerId;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::config::HealthSettings;
use crate::workers::{LoadReport, Worker, WorkerSet};

const LOADS: &str = "/v1/loads";
const SECTIONS: &str = "include=core,disagg,queues";

/// A poll takes no longer, however long the interval is: the worker reads its answer from memory.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// A worker without the endpoint is asked again after this long: it may have been replaced by a newer one.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// Polls under way at once, as for the health checks.
const MAX_POLLS: usize = 64;

/// Polls the workers until `cancel`.
pub async fn run(fleet: Fleet, settings: HealthSettings, cancel: CancellationToken) {
    let mut ticks = interval(settings.load_poll_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut poller = Poller {
        fleet,
        limit: settings.load_poll_interval.min(MAX_WAIT),
        standings: HashMap::new(),
    };
    let rounds = async {
        loop {
            ticks.tick().await;
            poller.round().await;
        }
    };
    cancel.run_until_cancelled(rounds).await;
}

struct Poller {
    fleet: Fleet,
    limit: Duration,
    standings: HashMap<WorkerId, Standing>,
}

/// How a worker took its last poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Reports,
    Fails,
    LacksEndpoint { ask_again: Instant },
}

/// The result of one poll.
#[derive(Debug)]
enum Poll {
    Report(LoadReport),
    NotFound,
    Failed,
}

impl Poller {
    async fn round(&mut self) {
        let set = Arc::clone(&self.fleet.registry.snapshot());
        self.standings.retain(|id, _| set.by_id(*id).is_some());
        let mut polls = JoinSet::new();
        for worker in self.askable(&set) {
            if polls.len() == MAX_POLLS {
                self.conclude(polls.join_next().await);
            }
            polls.spawn(poll_task(self.fleet.clone(), worker, self.limit));
        }
        while let Some(joined) = polls.join_next().await {
            self.conclude(Some(joined));
        }
    }

    /// The serving workers but those that lately said that they have no such endpoint.
    fn askable(&self, set: &WorkerSet) -> Vec<Arc<Worker>> {
        let now = Instant::now();
        let asked = |id| match self.standings.get(&id) {
            Some(Standing::LacksEndpoint { ask_again }) => now >= *ask_again,
            Some(Standing::Reports | Standing::Fails) | None => true,
        };
        set.members()
            .iter()
            .filter(|member| member.state.admits_requests() && asked(member.worker.id))
            .map(|member| Arc::clone(&member.worker))
            .collect()
    }

    fn conclude(&mut self, joined: Option<Result<(Arc<Worker>, Poll), tokio::task::JoinError>>) {
        let Some(Ok((worker, poll))) = joined else {
            return;
        };
        let (report, standing) = match poll {
            Poll::Report(report) => (Some(report), Standing::Reports),
            Poll::Failed => (None, Standing::Fails),
            Poll::NotFound => {
                let ask_again = Instant::now() + ASK_AGAIN;
                (None, Standing::LacksEndpoint { ask_again })
            }
        };
        worker.record_report(report);
        log_change(
            &worker,
            self.standings.insert(worker.id, standing),
            standing,
        );
    }
}

fn log_change(worker: &Worker, before: Option<Standing>, now: Standing) {
    match (before, now) {
        (Some(Standing::Fails), Standing::Fails)
        | (Some(Standing::LacksEndpoint { .. }), Standing::LacksEndpoint { .. })
        | (Some(Standing::Reports) | None, Standing::Reports) => {}
        (_, Standing::Reports) => {
            tracing::info!(worker = %worker.url, "worker reports its load again");
        }
        (_, Standing::Fails) => {
            tracing::warn!(worker = %worker.url, "worker does not report its load; its requests in flight stand for it");
        }
        (_, Standing::LacksEndpoint { .. }) => {
            tracing::info!(worker = %worker.url, "worker has no {LOADS}; its requests in flight stand for its load");
        }
    }
}

async fn poll_task(fleet: Fleet, worker: Arc<Worker>, limit: Duration) -> (Arc<Worker>, Poll) {
    let poll = timeout(limit, poll(&fleet, &worker))
        .await
        .unwrap_or(Poll::Failed);
    (worker, poll)
}

async fn poll(fleet: &Fleet, worker: &Worker) -> Poll {
    let mut url = worker.url.join(LOADS);
    url.set_query(Some(SECTIONS));
    match fleet.get(url, worker.api_key.as_deref()).await {
        Ok(answer) if answer.status == StatusCode::NOT_FOUND => Poll::NotFound,
        Ok(answer) if answer.status.is_success() => {
            LoadReport::parse(&answer.body, fleet.clock.now()).map_or(Poll::Failed, Poll::Report)
        }
        Ok(_) | Err(_) => Poll::Failed,
    }
}

#[cfg(test)]
mod tests {
    use policies::lifecycle::WorkerEvent;
    use policies::worker::Role;

    use super::*;
    use crate::control::stand_in::{Bench, Reply, StandIn};

    const TWO_RANKS: &str = r#"{"loads":[
        {"dp_rank":0,"num_used_tokens":100,"num_waiting_uncached_tokens":20},
        {"dp_rank":1,"num_used_tokens":3}]}"#;

    /// A serving decode worker whose load is polled every second.
    fn polled(reply: Reply) -> (Bench, StandIn, Arc<Worker>) {
        let stand_in = StandIn::default().with(LOADS, reply);
        let mut bench = Bench::new([("d:1", &stand_in)]);
        let worker = bench.add("d:1", Role::Decode, |_| {});
        bench.fleet.registry.apply(worker.id, WorkerEvent::Passed);
        let settings = Bench::settings();
        bench
            .tasks
            .spawn(run(bench.fleet.clone(), settings, bench.cancel.clone()));
        (bench, stand_in, worker)
    }

    fn reading(bench: &Bench, worker: &Worker) -> Option<u64> {
        let now = bench.fleet.clock.now();
        worker.reported_tokens(now, Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn the_load_is_the_sum_over_the_ranks() {
        let (bench, _, worker) = polled(Reply::json(TWO_RANKS));
        bench.elapse(0.5).await;
        assert_eq!(reading(&bench, &worker), Some(123));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_poll_leaves_no_reading() {
        for failure in [
            Reply::Status(500),
            Reply::Refuse,
            Reply::Hang,
            Reply::json("{\"loads\":[]}"),
            Reply::json("[]"),
        ] {
            let (bench, stand_in, worker) = polled(Reply::json(TWO_RANKS));
            bench.elapse(0.5).await;
            assert_eq!(reading(&bench, &worker), Some(123));
            stand_in.set(LOADS, failure.clone());
            // One interval for the next poll to begin and one for its time limit, where it hangs.
            bench.elapse(2.0).await;
            assert_eq!(reading(&bench, &worker), None, "{failure:?}");
            stand_in.set(LOADS, Reply::json(TWO_RANKS));
            bench.elapse(2.0).await;
            assert_eq!(reading(&bench, &worker), Some(123), "{failure:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_without_the_endpoint_is_asked_once_a_minute() {
        let (bench, stand_in, worker) = polled(Reply::Status(404));
        bench.elapse(59.0).await;
        assert_eq!(stand_in.asked(LOADS), 1);
        assert_eq!(reading(&bench, &worker), None);
        stand_in.set(LOADS, Reply::json(TWO_RANKS));
        bench.elapse(2.0).await;
        assert_eq!(reading(&bench, &worker), Some(123));
    }

    #[tokio::test(start_paused = true)]
    async fn only_serving_workers_are_polled_and_cancelling_ends_the_loop() {
        let (mut bench, stand_in, worker) = polled(Reply::json(TWO_RANKS));
        bench.elapse(0.5).await;
        bench
            .fleet
            .registry
            .apply(worker.id, WorkerEvent::DrainRequested);
        let before = stand_in.asked(LOADS);
        bench.elapse(5.0).await;
        assert_eq!(stand_in.asked(LOADS), before);
        bench.end().await;
    }
}
