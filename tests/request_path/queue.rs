//! Requests that wait in the router for a prefill worker with room.

use std::num::NonZeroU64;
use std::time::Duration;

use adaptive_router::telemetry::{FinishedRequest, Outcome};
use adaptive_router::workers::LoadReport;
use futures_util::future::join_all;
use http::StatusCode;
use policies::lifecycle::WorkerEvent;
use policies::worker::Role;
use simulated_worker::{Fault, answer};
use tokio::time::Instant;

use super::rig::{Ledger, Rig, within};
use super::{TOKENS, generate};

/// About a quarter of the workers' prompts below: each has one in hand and the next before it.
const BOUND: [&str; 2] = ["--prefill-queue-tokens", "1000"];

/// Some 750 tokens.
fn long(number: usize) -> String {
    format!("{number} {}", "word ".repeat(600))
}

/// The most that was pending on a prefill worker until `done`.
async fn most_pending(rig: &Rig, done: impl Fn() -> bool) -> u64 {
    let mut most = 0;
    while !done() {
        for member in rig.proxy.registry.snapshot().serving(Role::Prefill).iter() {
            most = most.max(member.worker.stats.pending_prompt_tokens());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    most
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_in_the_router_and_every_answer_is_right() {
    let rig = Rig::new(&BOUND);
    let requests = join_all(
        (0..40).map(|number| rig.post("/generate", generate(&long(number), number % 2 == 0))),
    );
    let watch = most_pending(&rig, || rig.ledger().completed == 40);
    let look = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        (
            rig.proxy.telemetry.queued.requests(),
            rig.proxy.telemetry.queued.prompt_tokens(),
        )
    };
    let (answers, most, (waiting, tokens)) = tokio::join!(requests, watch, look);
    for (number, answer) in answers.into_iter().enumerate() {
        let expected = answer::expected_text(&long(number), TOKENS);
        let text = if number % 2 == 0 {
            answer.events().last().expect("events")["text"].clone()
        } else {
            answer.json()["text"].clone()
        };
        assert_eq!(text, expected);
    }
    // Two on each of two workers, the rest in the router.
    assert_eq!(waiting, 36);
    assert!((36 * 700..36 * 800).contains(&tokens), "{tokens}");
    assert!((1_000..2_000).contains(&most), "{most}");
    assert_eq!(rig.proxy.telemetry.queued.requests(), 0);
    assert_eq!(rig.in_flight(), 0);
    let finished = rig.proxy.telemetry.finished.drain();
    let waited = finished
        .iter()
        .filter(|request| !request.queue_wait.is_zero());
    assert_eq!(waited.count(), 36, "waiting for room is waiting");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_leaves_the_queue() {
    let rig = Rig::new(&BOUND);
    let stay = join_all((0..6).map(|number| rig.post("/generate", generate(&long(number), false))));
    let leave = async {
        let leaving =
            join_all((6..12).map(|number| rig.open("/generate", generate(&long(number), false))));
        assert!(
            tokio::time::timeout(Duration::from_millis(2), leaving)
                .await
                .is_err()
        );
        rig.proxy.telemetry.queued.requests()
    };
    let (answers, waiting) = tokio::join!(stay, leave);
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert_eq!(waiting, 2);
    assert_eq!(
        rig.ledger(),
        Ledger {
            completed: 6,
            client_gone: 6,
            ..Ledger::default()
        }
    );
    assert_eq!(rig.in_flight(), 0);
    let finished = rig.proxy.telemetry.finished.drain();
    let waited = |request: &&FinishedRequest| {
        request.outcome == Outcome::ClientGone && !request.queue_wait.is_zero()
    };
    assert_eq!(finished.iter().filter(waited).count(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_drained_prefill_worker_takes_nobody_with_it() {
    let rig = Rig::new(&BOUND);
    let requests =
        join_all((0..12).map(|number| rig.post("/generate", generate(&long(number), true))));
    let drained = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let registry = &rig.proxy.registry;
        let worker = std::sync::Arc::clone(
            &registry
                .snapshot()
                .serving(Role::Prefill)
                .get(0)
                .expect("two")
                .worker,
        );
        registry.apply(worker.id, WorkerEvent::DrainRequested);
        let began = Instant::now();
        worker.drained().await;
        (began.elapsed(), rig.ledger().completed)
    };
    let (answers, (took, completed)) = tokio::join!(requests, drained);
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == StatusCode::OK && answer.is_done())
    );
    // Only what it had begun.
    assert!(
        took < Duration::from_secs(2) && completed < 12,
        "{took:?} {completed}"
    );
    assert_eq!(
        rig.ledger(),
        Ledger {
            completed: 12,
            ..Ledger::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn over_the_bounds_of_the_queue_the_client_is_told_to_come_back() {
    let flags = [
        &BOUND[..],
        &["--queue-size", "1", "--queue-timeout-secs", "5"],
    ]
    .concat();
    let rig = Rig::new(&flags);
    Rig::fault(
        &rig.prefill,
        &Fault::StallBeforeHead {
            stall_ms: Some(30_000),
        },
    );
    let answers =
        join_all((0..6).map(|number| rig.post("/generate", generate(&long(number), false)))).await;
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    assert_eq!(codes, [200, 200, 200, 200, 408, 429]);
    for refused in &answers[4..] {
        assert_eq!(refused.headers["retry-after"], "1");
    }
    assert_eq!(
        rig.ledger(),
        Ledger {
            completed: 4,
            failed: 2,
            ..Ledger::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_a_worker_that_it_has_not_tried_and_is_answered() {
    let rig = Rig::new(&BOUND);
    rig.prefill[0]
        .faults()
        .set([Fault::ResetBeforeHead.times(3)]);
    let answers =
        join_all((0..20).map(|number| rig.post("/generate", generate(&long(number), false)))).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(
            answer.json()["text"],
            answer::expected_text(&long(number), TOKENS)
        );
    }
    assert_eq!(rig.metric("smg_worker_retries_total", &[]) as u64, 3);
    assert_eq!(rig.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_prefill_workers_the_answer_is_the_same_as_without_a_queue() {
    let rig = Rig::new(&[&BOUND[..], &["--disable-retries"]].concat());
    Rig::fault(&rig.prefill, &Fault::StallBeforeHead { stall_ms: None });
    let requests =
        join_all((0..8).map(|number| rig.post("/generate", generate(&long(number), false))));
    let gone = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let set = rig.proxy.registry.snapshot();
        for member in set.serving(Role::Prefill).iter() {
            rig.proxy
                .registry
                .apply(member.worker.id, WorkerEvent::Removed);
        }
        within(Duration::from_millis(2), || rig.ledger().failed == 4).await
    };
    let ended = tokio::select! {
        _ = requests => panic!("four are stalled"),
        ended = gone => ended,
    };
    assert!(ended, "who waited was told at once");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_worker_that_is_on_its_way_as_long_as_for_room() {
    for (role, back_after, status) in [
        (Role::Prefill, 290, 200),
        (Role::Decode, 290, 200),
        (Role::Prefill, 310, 408),
    ] {
        let rig = Rig::new(&BOUND);
        let registry = &rig.proxy.registry;
        let gone: Vec<_> = {
            let set = registry.snapshot();
            let serving = set.serving(role);
            serving.iter().map(|member| member.worker.id).collect()
        };
        for id in &gone {
            registry.apply(*id, WorkerEvent::GaveUp);
        }
        let back = async {
            tokio::time::sleep(Duration::from_secs(back_after)).await;
            for id in &gone {
                registry.apply(*id, WorkerEvent::Passed);
            }
        };
        let (answer, ()) = tokio::join!(rig.post("/generate", generate("q", false)), back);
        assert_eq!(answer.status.as_u16(), status, "{role}: {}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn with_wait_for_decode_nobody_waits_on_a_decode_worker_that_is_full() {
    // Sixteen requests at once, all prompts together below the bound.
    for (flags, most) in [(&[][..], 8), (&["--wait-for-decode"][..], 2)] {
        let flags = [&["--prefill-queue-tokens", "100000"], flags].concat();
        let rig = Rig::new(&flags);
        let set = rig.proxy.registry.snapshot();
        let decode: Vec<_> = set.serving(Role::Decode).iter().collect();
        for member in &decode {
            member.worker.record_report(Some(LoadReport {
                most_running: NonZeroU64::new(2),
                ..LoadReport::default()
            }));
        }
        let requests =
            join_all((0..16).map(|number| rig.post("/generate", generate(&long(number), true))));
        let watch = async {
            let mut seen = 0;
            while rig.ledger().completed < 16 {
                let in_flight = decode.iter().map(|member| member.worker.in_flight());
                seen = seen.max(in_flight.max().unwrap_or(0));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            seen
        };
        let (answers, seen) = tokio::join!(requests, watch);
        for (number, answer) in answers.iter().enumerate() {
            let events = answer.events();
            let text = &events.last().expect("events")["text"];
            assert_eq!(*text, answer::expected_text(&long(number), TOKENS));
        }
        assert_eq!(seen, most, "{flags:?}");
        assert_eq!(
            (rig.in_flight(), rig.proxy.telemetry.queued.requests()),
            (0, 0)
        );
    }
}
