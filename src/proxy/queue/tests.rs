//! The line against a fleet of bare counters: a prefill is a ticket that is held for a while.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;

use policies::lifecycle::WorkerEvent;
use policies::model::WorkerModel;
use policies::queue::{QueueOrder, Sharing, Standing, Tenant};
use policies::worker::WorkerId;
use prometheus::{IntCounter, IntGauge};
use proptest::prelude::*;
use tokio::task::LocalSet;

use super::*;
use crate::config::{Config, QueueSettings};
use crate::telemetry::Queued;
use crate::workers::{Ticket, WorkerSpec, WorkerUrl};

const BOUND: u64 = 1_000;

/// A parsed command line, which takes its time.
static CONFIG: LazyLock<Config> = LazyLock::new(Config::default);

/// Milliseconds.
const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Some prefill workers with a line in front of them.
struct Bench {
    queue: Arc<PrefillQueue>,
    registry: Rc<WorkerRegistry>,
    clock: Clock,
    queued: Queued,
    /// The numbers of the requests, as they were dispatched.
    dispatched: RefCell<Vec<usize>>,
}

impl Bench {
    fn new(workers: u32, order: QueueOrder, size: usize) -> Rc<Self> {
        Self::sharing(workers, order, size, Sharing::None)
    }

    fn sharing(workers: u32, order: QueueOrder, size: usize, sharing: Sharing) -> Rc<Self> {
        let mut config = CONFIG.clone();
        config.queue = QueueSettings {
            size,
            order,
            prefill_tokens: NonZeroU64::new(BOUND),
            sharing,
            ..config.queue
        };
        let gauge = |name| IntGauge::new(name, "Something that waits").unwrap();
        let queued = Queued::new(
            gauge("requests"),
            gauge("tokens"),
            IntCounter::new("late", "Those that are late").unwrap(),
        );
        let room = WaitingRoom::new(&config.queue, queued.clone());
        let model = WorkerModel::default().prefill;
        let queue = PrefillQueue::new(&config, model, 7, room).unwrap();
        let watched = Arc::clone(&queue);
        let registry = WorkerRegistry::new(config.breaker, move |_| watched.room_may_be());
        for number in 0..workers {
            let url = WorkerUrl::parse(&format!("http://p{number}:1")).unwrap();
            let added = registry.add(&WorkerSpec::new(url, Role::Prefill)).unwrap();
            registry.apply(added.id, WorkerEvent::Passed).unwrap();
        }
        Rc::new(Self {
            queue,
            registry: Rc::new(registry),
            clock: Clock::start(),
            queued,
            dispatched: RefCell::default(),
        })
    }

    /// The ticket of the worker with the least before it, of those that serve.
    fn take(&self, bound: NonZeroU64, tokens: u32) -> Result<Option<Ticket>, NoWorker> {
        let set = self.registry.snapshot();
        let serving = set.serving(Role::Prefill);
        let pending = |worker: &Worker| worker.stats.pending_prompt_tokens();
        let least = serving.iter().map(|member| &member.worker);
        let Some(least) = least.min_by_key(|worker| pending(worker)) else {
            return Err(NoWorker {
                role: Role::Prefill,
                circuits_open: false,
            });
        };
        let has_room = pending(least) < bound.get();
        Ok(has_room.then(|| least.enter().unwrap().carrying(tokens)))
    }

    /// A request: it waits, is prefilled for `takes` and is gone.
    async fn request(
        self: Rc<Self>,
        number: usize,
        tokens: u32,
        takes: Duration,
    ) -> Result<Duration, RouteError> {
        self.request_of(Tenant::default(), number, tokens, takes)
            .await
    }

    async fn request_of(
        self: Rc<Self>,
        tenant: Tenant,
        number: usize,
        tokens: u32,
        takes: Duration,
    ) -> Result<Duration, RouteError> {
        let arrived = Instant::now();
        let wanting = Wanting {
            registry: &self.registry,
            clock: self.clock,
            arrived: self.clock.at(arrived),
            standing: Standing {
                tenant,
                ..Standing::default()
            },
            prompt_tokens: tokens,
            patience: CONFIG.queue.timeout,
        };
        let ticket = self
            .queue
            .dispatch(&wanting, |room| self.take(room.prompts, tokens))
            .await?;
        let mut turn = self.queue.turn(ticket.worker(), tokens);
        self.dispatched.borrow_mut().push(number);
        let waited = arrived.elapsed();
        tokio::time::sleep(takes).await;
        turn.prefilled();
        drop((ticket, turn));
        Ok(waited)
    }

    fn most_pending(&self) -> u64 {
        let set = self.registry.snapshot();
        let workers = set.members().iter().map(|member| &member.worker);
        let pending = workers.map(|worker| worker.stats.pending_prompt_tokens());
        pending.max().unwrap_or(0)
    }

    fn told(&self, worker: u64, event: WorkerEvent) {
        self.registry.apply(WorkerId(worker), event);
    }

    fn is_empty(&self) -> bool {
        self.queue.line.lock().waiting.is_empty() && self.queued.requests() == 0
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_gets_no_more_than_the_bound_before_it_and_one_prompt() {
    let local = LocalSet::new();
    let bench = Bench::new(2, QueueOrder::FreshFirst, 1_000);
    for number in 0..100 {
        local.spawn_local(Rc::clone(&bench).request(number, 300, ms(100)));
    }
    let watch = async {
        let mut most = 0;
        while !bench.is_empty() || bench.dispatched.borrow().is_empty() {
            most = most.max(bench.most_pending());
            tokio::time::sleep(ms(10)).await;
        }
        most
    };
    // 0, 300, 600 and 900 are below the bound.
    assert_eq!(local.run_until(watch).await, 1_200);
    local.await;
    assert_eq!(bench.dispatched.borrow().len(), 100);
    assert_eq!((bench.most_pending(), bench.queued.prompt_tokens()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_oversize_prompt_goes_to_an_empty_worker() {
    let bench = Bench::new(1, QueueOrder::FreshFirst, 10);
    let waited = Rc::clone(&bench).request(0, 50 * BOUND as u32, ms(1));
    assert_eq!(waited.await.unwrap(), Duration::ZERO);
}

/// Seven prompts on a worker that takes one at a time, half a second each: the fourth can't have its first token in two
/// seconds any more once the queue has grown to it.
#[tokio::test(start_paused = true)]
async fn the_order_is_seen_by_those_that_are_late() {
    for (order, expected) in [
        (QueueOrder::Fifo, vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (QueueOrder::FreshFirst, vec![0, 1, 2, 3, 6, 7, 4, 5]),
    ] {
        let local = LocalSet::new();
        let bench = Bench::new(1, order, 100);
        for number in 0..6 {
            local.spawn_local(Rc::clone(&bench).request(number, BOUND as u32, ms(500)));
        }
        let rest = async {
            tokio::time::sleep(ms(1_900)).await;
            let later = [6, 7].map(|number| Rc::clone(&bench).request(number, BOUND as u32, ms(1)));
            futures_util::future::join_all(later).await;
        };
        local.run_until(rest).await;
        local.await;
        assert_eq!(*bench.dispatched.borrow(), expected, "{order:?}");
    }
}

/// Eight that come at once to a worker that takes one at a time are late, all but five, and three clients that ask again
/// as soon as they are answered leave it no moment for the others.
#[tokio::test(start_paused = true)]
async fn a_few_that_are_late_are_answered_in_time_to_wait_though_fresh_ones_keep_coming() {
    let local = LocalSet::new();
    let bench = Bench::new(1, QueueOrder::FreshFirst, 100);
    let request = |number| Rc::clone(&bench).request(number, BOUND as u32, ms(400));
    let crowd: Vec<_> = (0..8)
        .map(|number| local.spawn_local(request(number)))
        .collect();
    for client in 0..3 {
        let bench = Rc::clone(&bench);
        local.spawn_local(async move {
            tokio::time::sleep(ms(2_000)).await;
            for number in (100..300).map(|number| number + 1_000 * client) {
                let answer = Rc::clone(&bench).request(number, BOUND as u32, ms(400));
                answer.await.unwrap();
            }
        });
    }
    let answers = local.run_until(futures_util::future::join_all(crowd)).await;
    for answer in answers {
        assert!(answer.unwrap().unwrap() < CONFIG.queue.timeout);
    }
}

/// The call goes to whoever was first when the line was last looked at, and from there to whoever is.
#[tokio::test(start_paused = true)]
async fn a_call_to_one_that_has_become_late_is_passed_on() {
    let local = LocalSet::new();
    let bench = Bench::new(1, QueueOrder::FreshFirst, 100);
    let request = |number, takes| Rc::clone(&bench).request(number, BOUND as u32, ms(takes));
    local.spawn_local(request(0, 1_990));
    local.spawn_local(request(1, 1));
    let fresh = async {
        tokio::time::sleep(ms(1_000)).await;
        request(2, 1).await
    };
    let waited = local.run_until(fresh).await.unwrap();
    assert_eq!(waited, ms(990), "as soon as there was room");
    local.await;
    assert_eq!(*bench.dispatched.borrow(), [0, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn over_the_bounds_of_the_queue_requests_are_refused() {
    let local = LocalSet::new();
    let bench = Bench::new(1, QueueOrder::FreshFirst, 1);
    local.spawn_local(Rc::clone(&bench).request(0, BOUND as u32, Duration::from_secs(300)));
    let refused = async {
        tokio::task::yield_now().await;
        tokio::join!(
            Rc::clone(&bench).request(1, 1, ms(1)),
            Rc::clone(&bench).request(2, 1, ms(1)),
        )
    };
    let (timed_out, full) = local.run_until(refused).await;
    let is = |error: Result<Duration, RouteError>, refused| matches!(error, Err(RouteError::Refused(why)) if why == refused);
    assert!(is(timed_out, Refused::TimedOut));
    assert!(is(full, Refused::QueueFull));
    assert!(bench.is_empty());
}

/// One tenant fills the queue and keeps it full; another sends one request at a time. Each of those is answered, after no
/// more than what runs and one prompt of the other, and those that were crowded out are told at once.
#[tokio::test(start_paused = true)]
async fn who_fills_the_queue_keeps_no_other_tenant_out_of_it() {
    let (places, takes) = (20, 100);
    for (sharing, answered) in [(Sharing::None, 0), (Sharing::Fair, 30)] {
        let local = LocalSet::new();
        let bench = Bench::sharing(1, QueueOrder::FreshFirst, places, sharing);
        let request = |tenant, number| {
            Rc::clone(&bench).request_of(Tenant(tenant), number, BOUND as u32, ms(takes))
        };
        let crowd: Vec<_> = (0..100)
            .map(|client| {
                let bench = Rc::clone(&bench);
                local.spawn_local(async move {
                    let mut refused = 0;
                    for number in 0..200 {
                        let request = Rc::clone(&bench).request_of(
                            Tenant(1),
                            client * 1_000 + number,
                            BOUND as u32,
                            ms(takes),
                        );
                        if request.await.is_err() {
                            refused += 1;
                            tokio::time::sleep(ms(1)).await;
                        }
                        assert!(
                            bench.queued.requests() <= places as u64 + 1,
                            "one more for a moment"
                        );
                    }
                    refused
                })
            })
            .collect();
        let other = async {
            tokio::time::sleep(ms(50)).await;
            let mut waits = Vec::new();
            for number in 0..30 {
                if let Ok(waited) = request(2, 1_000_000 + number).await {
                    waits.push(waited);
                }
                tokio::time::sleep(ms(7)).await;
            }
            waits
        };
        let waits = local.run_until(other).await;
        assert_eq!(waits.len(), answered, "{sharing:?}");
        assert!(waits.iter().all(|wait| *wait <= ms(2 * takes)), "{waits:?}");
        for client in &crowd {
            client.abort();
        }
        local.await;
        assert!(bench.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn without_workers_nobody_waits() {
    let local = LocalSet::new();
    let bench = Bench::new(1, QueueOrder::FreshFirst, 100);
    local.spawn_local(Rc::clone(&bench).request(0, BOUND as u32, Duration::from_secs(300)));
    let waiting: Vec<_> = (1..20)
        .map(|number| local.spawn_local(Rc::clone(&bench).request(number, 1, ms(1))))
        .collect();
    let answers = async {
        tokio::time::sleep(ms(10)).await;
        assert_eq!(bench.queued.requests(), 19);
        let began = Instant::now();
        bench.told(1, WorkerEvent::DrainRequested);
        let answers = futures_util::future::join_all(waiting).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        answers
    };
    for answer in local.run_until(answers).await {
        assert!(matches!(answer.unwrap(), Err(RouteError::NoWorker(_))));
    }
}

/// What happens to the fleet of the property below.
#[derive(Debug, Clone)]
enum Happens {
    Arrives {
        tokens: u32,
        takes: u64,
    },
    /// The client of one that came before leaves.
    Leaves {
        which: usize,
    },
    Closes {
        worker: u64,
    },
    Opens {
        worker: u64,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (1_u32..3_000, 1_u64..400).prop_map(|(tokens, takes)| Happens::Arrives { tokens, takes }),
        2 => (0_usize..64).prop_map(|which| Happens::Leaves { which }),
        1 => (1_u64..4).prop_map(|worker| Happens::Closes { worker }),
        1 => (1_u64..4).prop_map(|worker| Happens::Opens { worker }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, leaves, closes and opens: each request ends in exactly one way, nobody waits while there is
    /// room, and nothing is left behind.
    #[test]
    fn every_request_ends_once_and_none_waits_beside_an_idle_worker(
        script in prop::collection::vec((happens(), 0_u64..60), 1..64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let local = LocalSet::new();
        let bench = Bench::new(3, QueueOrder::FreshFirst, 1_000);
        let run = async {
            let mut tasks = Vec::new();
            for (event, pause) in script {
                match event {
                    Happens::Arrives { tokens, takes } => {
                        let request = Rc::clone(&bench).request(tasks.len(), tokens, ms(takes));
                        tasks.push(local.spawn_local(request));
                    }
                    Happens::Leaves { which } => {
                        if let Some(task) = tasks.get(which) {
                            task.abort();
                        }
                    }
                    Happens::Closes { worker } => bench.told(worker, WorkerEvent::DrainRequested),
                    Happens::Opens { worker } => {
                        bench.told(worker, WorkerEvent::Emptied);
                        bench.told(worker, WorkerEvent::Switched);
                        bench.told(worker, WorkerEvent::Passed);
                    }
                }
                // The tasks have run by the time that the clock moves.
                tokio::time::sleep(ms(pause).max(Duration::from_micros(1))).await;
                let set = bench.registry.snapshot();
                let idle = set.serving(Role::Prefill).iter()
                    .any(|member| member.worker.stats.pending_prompt_tokens() < BOUND);
                let unserved = set.serving(Role::Prefill).is_empty();
                if idle || unserved {
                    assert_eq!(bench.queued.requests(), 0, "somebody waits for nothing");
                }
            }
            let mut dispatched = 0;
            for task in tasks {
                match task.await {
                    Ok(Ok(_)) => dispatched += 1,
                    Ok(Err(error)) => assert!(matches!(error, RouteError::NoWorker(_)), "{error:?}"),
                    Err(left) => assert!(left.is_cancelled()),
                }
            }
            // Those that left after their dispatch were dispatched, too.
            assert!(dispatched <= bench.dispatched.borrow().len());
            assert!(bench.is_empty());
            assert_eq!((bench.most_pending(), bench.queued.prompt_tokens()), (0, 0));
        };
        runtime.block_on(local.run_until(run));
    }
}
