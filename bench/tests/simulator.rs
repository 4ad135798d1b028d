//! The simulator keeps what it promises: nothing lost, time that adds up, capacities that are the model's.

use std::time::Duration;

use pd_bench::sim::{Dispatch, End, Failure, Outcome, RoleChange, Setup, run};
use pd_bench::workload::{Job, Workload};
use policies::model::WorkerModel;
use policies::queue::QueueOrder;
use policies::ratio::Drain;
use policies::time::Timestamp;
use policies::worker::Role;
use proptest::prelude::*;

const fn job(prompt_tokens: u32, output_tokens: u32) -> Job {
    Job {
        prompt_tokens,
        cached_tokens: 0,
        output_tokens,
        class: 0,
    }
}

fn closed(job: Job, count: usize, concurrency: usize) -> Workload {
    Workload::Closed {
        jobs: vec![job; count],
        concurrency,
    }
}

/// `count` jobs, one each `gap`.
fn paced(job: Job, count: u64, gap: Duration) -> Workload {
    let at = |number| Timestamp::ZERO.after(gap * number as u32);
    Workload::Open {
        arrivals: (0..count).map(|number| (at(number), job)).collect(),
    }
}

fn study(prefill: u32, decode: u32) -> Setup {
    let mut model = WorkerModel::default();
    // Where arrivals are not what a test is about, they disturb nobody.
    model.decode.arrival_per_token = 0.0;
    Setup {
        warm: true,
        ..Setup::study(model, prefill, decode)
    }
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn assert_near(value: f64, expected: f64, share: f64, what: &str) {
    assert!(
        (value - expected).abs() <= expected * share,
        "{what}: {value} instead of {expected}"
    );
}

fn all_completed(outcome: &Outcome) -> bool {
    outcome
        .requests
        .iter()
        .all(|request| request.end == End::Completed)
}

#[test]
fn a_request_alone_takes_what_the_model_says() {
    let (setup, job) = (study(1, 1), job(2048, 129));
    let outcome = run(&setup, &closed(job, 1, 1));
    let model = &setup.model;
    let ttft = model.prefill.batch_seconds(2048) + model.prefill.transfer_seconds(2048);
    assert_near(outcome.mean_ttft().as_secs_f64(), ttft, 1e-4, "TTFT");
    // The sequence's KV grows from 2,049 tokens by one a step.
    let steps: f64 = (0..128)
        .map(|step| model.decode.step_seconds(1, 2049 + step))
        .sum();
    let total = outcome.makespan.as_secs_f64();
    assert_near(total, ttft + steps, 1e-3, "all of it");
    assert_eq!(outcome.itl.len(), 128);
}

#[test]
fn throughput_at_saturation_is_the_models_capacity() {
    // Prefill-bound: one prefill worker under a deep queue.
    let setup = study(1, 3);
    let outcome = run(&setup, &closed(job(2048, 2), 4_000, 256));
    let capacity = setup.model.prefill.capacity(2048, 0.0);
    assert_near(outcome.requests_per_second(), capacity, 0.03, "prefill");
    // Decode-bound: one decode worker with as many sequences as keep 25 ms.
    let setup = study(3, 1);
    let batch = setup.model.decode.max_batch_within(0.025, 128.0 + 512.0);
    let outcome = run(&setup, &closed(job(128, 1024), 3_000, batch as usize));
    let capacity = setup.model.decode.capacity(0.025, 128, 1024);
    assert_near(outcome.requests_per_second(), capacity, 0.05, "decode");
}

#[test]
fn a_batch_is_filled_to_its_last_token() {
    let setup = study(1, 3);
    // 5,000 tokens: eight batches for every 13 prompts, as the capacity has it.
    let outcome = run(&setup, &closed(job(5_000, 2), 1_000, 64));
    let capacity = setup.model.prefill.capacity(5_000, 0.0);
    assert_near(outcome.requests_per_second(), capacity, 0.03, "prefill");
    // One of 20,000 alone takes three.
    let alone = run(&setup, &closed(job(20_000, 2), 1, 1));
    let model = &setup.model.prefill;
    let ttft = model.batch_seconds(20_000) + model.transfer_seconds(20_000);
    assert_near(alone.mean_ttft().as_secs_f64(), ttft, 1e-3, "TTFT");
}

#[test]
fn a_full_pool_is_waited_for_before_the_first_token() {
    let mut setup = study(2, 1);
    let roomy = run(&setup, &closed(job(2_048, 512), 200, 64));
    setup.model.decode.kv_pool_tokens = 40_000;
    let full = run(&setup, &closed(job(2_048, 512), 200, 64));
    assert!(full.mean_ttft() > roomy.mean_ttft() * 5);
    assert!(full.mean_itl() < roomy.mean_itl() * 2);
}

#[test]
fn arrivals_hold_up_the_running() {
    let mut setup = study(3, 1);
    let calm = run(&setup, &closed(job(2048, 64), 500, 32));
    setup.model.decode.arrival_per_token = 5e-6;
    let held_up = run(&setup, &closed(job(2048, 64), 500, 32));
    // 10 ms an arrival, one for each of the others in 63 steps. Of 32 some are being prefilled.
    let more = held_up.mean_itl().as_secs_f64() - calm.mean_itl().as_secs_f64();
    let at_most = 0.010_24 * 32.0 / 63.0;
    assert!(
        (at_most * 0.7..at_most).contains(&more),
        "{more} of {at_most}"
    );
}

#[test]
fn a_cold_worker_is_late_once() {
    let mut setup = study(1, 1);
    setup.model.prefill.warm_up_per_request = 0.1;
    setup.warm = false;
    let outcome = run(&setup, &closed(job(128, 2), 100, 10));
    let first = outcome.requests[0].ttft().unwrap();
    assert!(first > Duration::from_secs(1), "{first:?}");
    assert!(outcome.ttft_quantile(0.5) < Duration::from_millis(300));
}

#[test]
fn cached_prompts_cost_little() {
    let setup = study(1, 3);
    let cached = Job {
        cached_tokens: 2048,
        ..job(2048, 2)
    };
    let cold = run(&setup, &closed(job(2048, 2), 1_000, 64));
    let warm = run(&setup, &closed(cached, 1_000, 64));
    // Then the sending of KV is what limits.
    let limit = 1.0 / setup.model.prefill.sending_seconds(2048);
    assert_near(warm.requests_per_second(), limit, 0.05, "cached");
    assert!(cold.requests_per_second() < warm.requests_per_second() / 2.0);
}

#[test]
fn a_role_change_drains_is_away_and_serves_and_loses_nothing() {
    let mut setup = study(2, 2);
    setup.changes = vec![RoleChange {
        at: seconds(10),
        from: Role::Decode,
        dark: Duration::from_secs(30),
    }];
    let outcome = run(
        &setup,
        &paced(job(512, 256), 1_000, Duration::from_millis(100)),
    );
    assert!(all_completed(&outcome));
    let changed: Vec<_> = outcome
        .workers
        .iter()
        .filter(|worker| worker.role_changes == 1)
        .collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(
        (changed[0].role, changed[0].away),
        (Role::Prefill, Duration::from_secs(30))
    );
    assert!(!changed[0].prefill_busy.is_zero(), "it prefills afterwards");
}

#[test]
fn a_drain_that_migrates_is_short_and_keeps_every_first_token() {
    let outcome = |drain| {
        let mut setup = study(2, 2);
        setup.drain = drain;
        setup.changes = vec![RoleChange {
            at: seconds(20),
            from: Role::Decode,
            dark: Duration::from_secs(5),
        }];
        // Answers of some 30 s, which begin all the time.
        run(
            &setup,
            &paced(job(512, 3_000), 400, Duration::from_millis(100)),
        )
    };
    let (waited, migrated) = (outcome(Drain::Wait), outcome(Drain::Migrate));
    assert!(all_completed(&waited) && all_completed(&migrated));
    assert_eq!(waited.migrations, 0);
    assert!(
        (90..=110).contains(&migrated.migrations),
        "{}",
        migrated.migrations
    );
    // A token for each token that was asked for, and none twice.
    assert_eq!(migrated.itl.len(), 400 * 2_999);
    let began = |outcome: &Outcome, number: usize| outcome.requests[number].first_token;
    for begun_before in 0..180 {
        assert_eq!(began(&waited, begun_before), began(&migrated, begun_before));
    }
    let prefilled = |outcome: &Outcome| {
        let changed = outcome.workers.iter().find(|one| one.role_changes > 0);
        changed.unwrap().prefill_busy
    };
    assert!(prefilled(&migrated) > prefilled(&waited) + Duration::from_millis(500));
}

#[test]
fn the_last_worker_of_a_role_stays() {
    let mut setup = study(1, 1);
    setup.changes = vec![RoleChange {
        at: seconds(1),
        from: Role::Decode,
        dark: Duration::from_secs(1),
    }];
    let outcome = run(&setup, &paced(job(128, 16), 50, Duration::from_millis(100)));
    assert!(all_completed(&outcome));
    assert!(
        outcome
            .workers
            .iter()
            .all(|worker| worker.role_changes == 0)
    );
}

#[test]
fn a_dead_worker_fails_what_it_streamed_and_the_rest_runs_elsewhere() {
    for worker in 0..4 {
        let mut setup = study(2, 2);
        setup.failures = vec![Failure {
            at: seconds(5),
            worker,
            down: Duration::from_secs(20),
        }];
        let outcome = run(
            &setup,
            &paced(job(2048, 512), 600, Duration::from_millis(50)),
        );
        let failed = outcome
            .requests
            .iter()
            .filter(|request| request.end == End::Failed)
            .count();
        let is_decode = worker >= 2;
        assert_eq!(failed > 0, is_decode, "worker {worker}: {failed} failed");
        assert!(outcome.retries > 0, "worker {worker}");
        let stranded = |request: &&pd_bench::sim::Served| request.end == End::Stranded;
        assert_eq!(outcome.requests.iter().filter(stranded).count(), 0);
    }
}

#[test]
fn fresh_first_serves_more_in_time_under_overload() {
    let with = |order| {
        let setup = Setup {
            dispatch: Dispatch::WhenThereIsRoom {
                order,
                pending_tokens: 16_384,
                decode_places: false,
            },
            ..study(1, 3)
        };
        // Some 24 a second is what one prefill worker can; 30 come.
        let outcome = run(
            &setup,
            &paced(job(2048, 32), 3_000, Duration::from_millis(33)),
        );
        assert!(all_completed(&outcome));
        outcome.attainment(&setup.slo)
    };
    let (fifo, fresh) = (with(QueueOrder::Fifo), with(QueueOrder::FreshFirst));
    assert!(fifo < 0.3 && fresh > 0.6, "{fifo} {fresh}");
}

#[test]
fn who_waits_too_long_is_sent_away_at_that_moment_and_makes_room() {
    let with = |queue_timeout| {
        let setup = Setup {
            dispatch: Dispatch::WhenThereIsRoom {
                order: QueueOrder::Fifo,
                pending_tokens: 16_384,
                decode_places: false,
            },
            queue_timeout,
            ..study(1, 3)
        };
        run(
            &setup,
            &paced(job(2048, 32), 3_000, Duration::from_millis(33)),
        )
    };
    let timeout = Duration::from_secs(5);
    let outcome = with(Some(timeout));
    let timed_out: Vec<_> = outcome
        .requests
        .iter()
        .filter(|request| request.end == End::TimedOut)
        .collect();
    // Some 24 of 30 a second can be served.
    assert!((300..900).contains(&timed_out.len()), "{}", timed_out.len());
    for request in &timed_out {
        assert_eq!(request.first_token, None);
        assert_eq!(request.ended.since(request.arrived), timeout);
    }
    assert_eq!(outcome.completed().count() + timed_out.len(), 3_000);
    // Nobody who was served waited for longer, and with nobody sent away they do.
    let longest = |outcome: &Outcome| outcome.ttft_quantile(1.0);
    assert!(longest(&outcome) < timeout + Duration::from_secs(2));
    assert!(longest(&with(None)) > 3 * timeout);
}

#[test]
fn a_client_that_is_sent_away_asks_again() {
    let setup = Setup {
        dispatch: Dispatch::WhenThereIsRoom {
            order: QueueOrder::Fifo,
            pending_tokens: 1,
            decode_places: false,
        },
        queue_timeout: Some(Duration::from_millis(100)),
        ..study(1, 1)
    };
    let outcome = run(&setup, &closed(job(8_192, 2), 200, 20));
    let timed_out = |request: &&pd_bench::sim::Served| request.end == End::TimedOut;
    let away = outcome.requests.iter().filter(timed_out).count();
    assert!(away > 100, "{away}");
    assert_eq!(outcome.completed().count() + away, 200);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let setup = Setup {
        prefill_policy: policies::route::PolicyKind::PowerOfTwo,
        decode_policy: policies::route::PolicyKind::Random,
        seed: 7,
        ..study(2, 2)
    };
    let workload = closed(job(700, 90), 500, 32);
    let (one, other) = (run(&setup, &workload), run(&setup, &workload));
    assert_eq!(one.requests, other.requests);
    let another = run(&Setup { seed: 8, ..setup }, &workload);
    assert_ne!(one.requests, another.requests);
}

/// What fresh-first attains, where requests wait for decode in the router or not.
fn attained(setup: &Setup, workload: &Workload, decode_places: bool) -> f64 {
    let dispatch = Dispatch::WhenThereIsRoom {
        order: QueueOrder::FreshFirst,
        pending_tokens: 16_384,
        decode_places,
    };
    let setup = Setup {
        dispatch,
        ..setup.clone()
    };
    run(&setup, workload).attainment(&setup.slo)
}

#[test]
fn where_decode_is_short_fresh_requests_are_in_time_only_if_all_wait_in_the_router() {
    // Answers of 400 tokens for 1.2 times as many requests as 16 places on one decode worker serve.
    let mut setup = study(3, 1);
    setup.model.decode.max_running = 16;
    let step = setup.model.decode.step_seconds(16, 16 * 300);
    let gap = Duration::from_secs_f64(400.0 * step / 16.0 / 1.2);
    let workload = paced(job(100, 400), 2_000, gap);
    let [waiting_at_decode, waiting_in_the_router] =
        [false, true].map(|waiting| attained(&setup, &workload, waiting));
    assert!(waiting_at_decode < 0.1, "{waiting_at_decode}");
    assert!(waiting_in_the_router > 0.7, "{waiting_in_the_router}");
}

#[test]
fn a_decode_worker_that_may_run_thousands_keeps_the_target_where_requests_wait_for_it() {
    // 1.2 times as many as one decode worker serves within the target, which would run 4,096 at a time, ever slower.
    let mut setup = study(3, 1);
    setup.model.decode.max_running = 4_096;
    let fits = setup.model.decode.capacity(0.025, 100, 400);
    let gap = Duration::from_secs_f64(1.0 / (1.2 * fits));
    let workload = paced(job(100, 400), 6_000, gap);
    let [at_once, waiting] = [false, true].map(|waiting| attained(&setup, &workload, waiting));
    assert!(at_once < 0.3, "{at_once}");
    assert!(waiting > 0.75, "{waiting}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_every_request_ends_once_and_every_token_is_counted(
        jobs in proptest::collection::vec((1_u32..9_000, 1_u32..300, 0_u64..200_000), 1..80),
        prefill in 1_u32..4, decode in 1_u32..4,
        pool in 20_000_u64..60_000, largest in 1_u32..40,
        changes in proptest::collection::vec((0_u64..20, any::<bool>(), 0_u64..5), 0..4),
        failures in proptest::collection::vec((0_u64..20, 0_usize..6, 1_u64..5), 0..3),
        late_binding: bool, decode_places: bool, migrate: bool, timeout in proptest::option::of(0_u64..5_000),
    ) {
        let mut setup = study(prefill, decode);
        setup.model.decode.kv_pool_tokens = pool;
        setup.model.decode.max_running = largest;
        setup.changes = changes.iter().map(|&(at, decode, dark)| RoleChange {
            at: seconds(at),
            from: if decode { Role::Decode } else { Role::Prefill },
            dark: Duration::from_secs(dark),
        }).collect();
        setup.failures = failures.iter().map(|&(at, worker, down)| Failure {
            at: seconds(at), worker, down: Duration::from_secs(down),
        }).collect();
        setup.queue_timeout = timeout.map(Duration::from_millis);
        setup.drain = if migrate { Drain::Migrate } else { Drain::Wait };
        if late_binding {
            setup.dispatch = Dispatch::WhenThereIsRoom { order: QueueOrder::FreshFirst, pending_tokens: 4_096, decode_places };
        }
        let mut at = Timestamp::ZERO;
        let arrivals: Vec<_> = jobs.iter().map(|&(prompt, output, gap)| {
            at = at.after(Duration::from_micros(gap));
            (at, job(prompt, output))
        }).collect();
        let outcome = run(&setup, &Workload::Open { arrivals: arrivals.clone() });
        prop_assert_eq!(outcome.requests.len(), arrivals.len());
        let mut tokens = 0;
        for (request, (arrived, job)) in outcome.requests.iter().zip(&arrivals) {
            prop_assert_eq!((request.arrived, request.job), (*arrived, *job));
            // Nobody is left behind: workers come back, and no role ever lacks one for good.
            prop_assert_ne!(request.end, End::Stranded);
            if let Some(first) = request.first_token {
                prop_assert!(request.arrived <= first && first <= request.ended);
            }
            if request.end == End::TimedOut {
                let timeout = setup.queue_timeout.expect("nobody is sent away without");
                prop_assert_eq!(request.first_token, None);
                prop_assert!(request.ended.since(request.arrived) >= timeout);
            }
            if request.end == End::Completed {
                prop_assert!(request.first_token.is_some());
                tokens += u64::from(job.output_tokens) - 1;
            }
        }
        prop_assert!(outcome.itl.len() >= tokens);
        if failures.is_empty() {
            prop_assert!(outcome.requests.iter().all(|request| request.end != End::Failed));
            prop_assert_eq!(outcome.itl.len(), tokens);
        }
    }
}
