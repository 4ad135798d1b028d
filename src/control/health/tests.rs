//! Stories of workers that come, go and come back, in virtual time with the default settings.

use std::sync::Arc;
use std::time::Duration;

use policies::lifecycle::{WorkerEvent, WorkerState};
use policies::worker::{Role, WorkerId};
use tokio::sync::mpsc;

use super::run;
use crate::config::HealthSettings;
use crate::control::stand_in::{Bench, Reply, StandIn};
use crate::workers::{Worker, WorkerSpec};

struct Story {
    bench: Bench,
    suspects: mpsc::Sender<WorkerId>,
}

impl std::ops::Deref for Story {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl Story {
    fn begin(mut bench: Bench, change: impl Fn(&mut HealthSettings)) -> Self {
        let (suspects, receiver) = mpsc::channel(16);
        let mut settings = Bench::settings();
        change(&mut settings);
        let watching = run(
            bench.fleet.clone(),
            settings,
            receiver,
            bench.cancel.clone(),
        );
        bench.tasks.spawn(watching);
        Self { bench, suspects }
    }

    fn trouble(worker: &Worker) -> String {
        worker.metadata().trouble.clone().unwrap_or_default()
    }

    fn checks(&self, role: Role, passed: bool) -> u64 {
        self.fleet.metrics.workers.health_checks(role, passed)
    }
}

/// A story about one worker at `w:1`.
fn one(
    stand_in: &StandIn,
    role: Role,
    change: impl Fn(&mut WorkerSpec),
    settings: impl Fn(&mut HealthSettings),
) -> (Story, Arc<Worker>) {
    let bench = Bench::new([("w:1", stand_in)]);
    let worker = bench.add("w:1", role, change);
    (Story::begin(bench, settings), worker)
}

fn ready() -> StandIn {
    StandIn::default().with("/ready", Reply::Status(200))
}

#[tokio::test(start_paused = true)]
async fn a_worker_serves_after_its_first_pass() {
    let worker_side = StandIn::default().with("/ready", Reply::Status(503));
    let (mut story, worker) = one(&worker_side, Role::Decode, |_| {}, |_| {});
    story.elapse(10.5).await;
    assert_eq!(story.state(&worker), WorkerState::Starting);
    assert_eq!(Story::trouble(&worker), "/ready answered 503");
    worker_side.set("/ready", Reply::Status(200));
    story.elapse(1.2).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
    assert_eq!(Story::trouble(&worker), "");
    assert_eq!(story.checks(Role::Decode, true), 1);
    assert!(story.checks(Role::Decode, false) >= 9);
    story.bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_after_its_startup_time_is_asked_more_rarely_and_serves() {
    let worker_side = StandIn::default().with("/ready", Reply::Refuse);
    let (story, worker) = one(&worker_side, Role::Decode, |_| {}, |_| {});
    story.elapse(1801.5).await;
    let asked = worker_side.asked("/ready");
    story.elapse(300.0).await;
    assert!(worker_side.asked("/ready") - asked <= 11);
    assert_eq!(story.state(&worker), WorkerState::Starting);
    worker_side.set("/ready", Reply::Status(200));
    story.elapse(31.0).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_make_a_worker_unhealthy_and_passes_in_a_row_bring_it_back() {
    let worker_side = ready();
    let (story, worker) = one(&worker_side, Role::Decode, |_| {}, |_| {});
    story.elapse(1.0).await;
    worker_side.set("/ready", Reply::Hang);
    // Two checks, begun at 60 s and after the first one's 5 s and another 60 s: below the threshold of three.
    story.elapse(150.0).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
    assert_eq!(Story::trouble(&worker), "no answer within 5s");
    story.elapse(60.0).await;
    assert_eq!(story.state(&worker), WorkerState::Unhealthy);
    worker_side.set("/ready", Reply::Status(200));
    // Whether a hanging check was under way or not, one pass and not two fit in here.
    story.elapse(9.0).await;
    assert_eq!(story.state(&worker), WorkerState::Unhealthy);
    story.elapse(12.0).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_pass_between_failures_starts_the_count_anew() {
    let worker_side = ready();
    let (story, worker) = one(&worker_side, Role::Decode, |_| {}, |_| {});
    story.elapse(30.0).await;
    for _ in 0..3 {
        worker_side.set("/ready", Reply::Status(503));
        story.elapse(120.0).await;
        worker_side.set("/ready", Reply::Status(200));
        story.elapse(60.0).await;
    }
    assert!(story.checks(Role::Decode, false) >= 5);
    assert_eq!(story.state(&worker), WorkerState::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_checked_at_once() {
    let worker_side = ready();
    let (story, worker) = one(&worker_side, Role::Decode, |_| {}, |_| {});
    story.elapse(10.0).await;
    assert_eq!(worker_side.asked("/ready"), 1);
    story.suspects.send(worker.id).await.unwrap();
    story.elapse(0.01).await;
    assert_eq!(worker_side.asked("/ready"), 2);
    worker_side.set("/ready", Reply::Refuse);
    for _ in 0..4 {
        story.suspects.send(worker.id).await.unwrap();
        story.elapse(1.2).await;
    }
    assert_eq!(story.state(&worker), WorkerState::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_reports_is_one_check_a_second() {
    let worker_side = ready();
    let (story, worker) = one(&worker_side, Role::Decode, |_| {}, |_| {});
    story.elapse(10.0).await;
    worker_side.set("/ready", Reply::Refuse);
    for _ in 0..50 {
        story.suspects.send(worker.id).await.unwrap();
        story.elapse(0.01).await;
    }
    assert_eq!(worker_side.asked("/ready"), 2);
    assert_eq!(story.state(&worker), WorkerState::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_ready_is_asked_for_its_health() {
    let worker_side = StandIn::default().with("/health", Reply::Status(200));
    let (story, worker) = one(&worker_side, Role::Regular, |_| {}, |_| {});
    story.elapse(0.5).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_configured_endpoint_is_the_only_one_asked() {
    let worker_side = ready().with("/livez", Reply::Status(404));
    let endpoint = |settings: &mut HealthSettings| settings.endpoint = Some("/livez".to_owned());
    let (story, worker) = one(&worker_side, Role::Regular, |_| {}, endpoint);
    story.elapse(2.0).await;
    assert_eq!(story.state(&worker), WorkerState::Starting);
    worker_side.set("/livez", Reply::Status(204));
    story.elapse(1.5).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
    assert_eq!(worker_side.asked("/ready"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_prefill_serves_only_with_its_bootstrap_server() {
    let (worker_side, bootstrap) = (ready(), StandIn::default());
    bootstrap.set("/route", Reply::Refuse);
    let bench = Bench::new([("w:1", &worker_side), ("w:9000", &bootstrap)]);
    let worker = bench.add("w:1", Role::Prefill, |spec| {
        spec.bootstrap_port = Some(9000);
        spec.api_key = Some("secret".to_owned());
    });
    let story = Story::begin(bench, |_| {});
    story.elapse(2.0).await;
    assert_eq!(story.state(&worker), WorkerState::Starting);
    assert!(Story::trouble(&worker).contains("bootstrap server on port 9000"));
    bootstrap.set("/route", Reply::Status(503));
    story.elapse(2.0).await;
    assert_eq!(story.state(&worker), WorkerState::Starting);
    bootstrap.set("/route", Reply::Status(404));
    story.elapse(2.0).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
    let ranks = "prefill_dp_rank=-1&prefill_cp_rank=-1&target_tp_rank=-1&target_pp_rank=-1";
    assert_eq!(bootstrap.last("/route"), Some((ranks.to_owned(), None)));
    let (_, key) = worker_side.last("/ready").unwrap();
    assert_eq!(key.as_deref(), Some("Bearer secret"));
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_port_that_nobody_named_is_learned_and_checked_before_the_worker_serves() {
    let worker_side = ready().with(
        "/get_server_info",
        Reply::json(r#"{"disaggregation_bootstrap_port":8998}"#),
    );
    let bootstrap = StandIn::default().with("/route", Reply::Status(503));
    let bench = Bench::new([("w:1", &worker_side), ("w:8998", &bootstrap)]);
    let worker = bench.add("w:1", Role::Prefill, |_| {});
    let story = Story::begin(bench, |_| {});
    story.elapse(2.0).await;
    assert_eq!(story.state(&worker), WorkerState::Starting);
    bootstrap.set("/route", Reply::Status(200));
    story.elapse(1.5).await;
    let set = Arc::clone(&story.fleet.registry.snapshot());
    let member = set.by_id(worker.id).unwrap();
    assert_eq!(member.state, WorkerState::Serving);
    assert_eq!(member.bootstrap.port, Some(8998));
}

#[tokio::test(start_paused = true)]
async fn the_model_is_learned_unless_it_was_named() {
    let info = r#"{"model_path":"/models/m","served_model_name":"m","disaggregation_mode":"null"}"#;
    for (named, expected) in [(None, "m"), (Some("mine".to_owned()), "mine")] {
        let worker_side = ready().with("/model_info", Reply::json(info));
        let name = |spec: &mut WorkerSpec| spec.model_id.clone_from(&named);
        let (story, worker) = one(&worker_side, Role::Decode, name, |_| {});
        story.elapse(0.5).await;
        assert_eq!(story.state(&worker), WorkerState::Serving);
        assert_eq!(worker.metadata().model_id, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_in_the_other_role_is_kept_out_until_it_runs_the_right_one() {
    let worker_side = ready().with(
        "/model_info",
        Reply::json(r#"{"disaggregation_mode":"prefill"}"#),
    );
    let (story, worker) = one(&worker_side, Role::Decode, |_| {}, |_| {});
    story.elapse(5.0).await;
    assert_eq!(story.state(&worker), WorkerState::Starting);
    assert!(Story::trouble(&worker).starts_with("registered as decode, but"));
    worker_side.set(
        "/model_info",
        Reply::json(r#"{"disaggregation_mode":"decode"}"#),
    );
    story.elapse(1.5).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
}

/// It was away for less time than is between two checks: the next one sees what came back, and one is enough.
#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_back_in_another_role_is_kept_out_at_the_next_check() {
    let mode = |role: &str| Reply::json(&format!(r#"{{"disaggregation_mode":"{role}"}}"#));
    let worker_side = ready().with("/model_info", mode("decode"));
    let (story, worker) = one(
        &worker_side,
        Role::Decode,
        |_| {},
        |settings| {
            settings.interval = Duration::from_secs(10);
            settings.failure_threshold = 3;
        },
    );
    story.elapse(0.5).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
    worker_side.set("/model_info", mode("prefill"));
    story.elapse(10.5).await;
    assert_eq!(story.state(&worker), WorkerState::Unhealthy);
    assert!(Story::trouble(&worker).starts_with("registered as decode, but"));
    // One that says nothing of its role for a moment goes on serving.
    worker_side.set("/model_info", mode("decode"));
    story.elapse(30.0).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
    worker_side.set("/model_info", Reply::Refuse);
    story.elapse(60.0).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_back_with_another_model_is_known_by_that_unless_it_was_named() {
    let model = |name: &str| Reply::json(&format!(r#"{{"model_path":"{name}"}}"#));
    for (named, expected) in [(None, "other"), (Some("mine".to_owned()), "mine")] {
        let worker_side = ready().with("/model_info", model("m"));
        let name = |spec: &mut WorkerSpec| spec.model_id.clone_from(&named);
        let (story, worker) = one(&worker_side, Role::Decode, name, |settings| {
            settings.interval = Duration::from_secs(10);
        });
        story.elapse(0.5).await;
        worker_side.set("/model_info", model("other"));
        story.elapse(10.5).await;
        assert_eq!(worker.metadata().model_id, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unchecked_worker_serves_unasked() {
    let worker_side = StandIn::default().with("/ready", Reply::Refuse);
    let unchecked = |spec: &mut WorkerSpec| spec.check_health = false;
    let disabled = |settings: &mut HealthSettings| settings.enabled = false;
    for (story, worker) in [
        one(&worker_side, Role::Decode, unchecked, |_| {}),
        one(&worker_side, Role::Decode, |_| {}, disabled),
    ] {
        story.elapse(300.0).await;
        assert_eq!(story.state(&worker), WorkerState::Serving);
    }
    assert_eq!(worker_side.asked("/ready"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_draining_worker_is_left_alone_also_by_a_check_under_way() {
    let worker_side = ready();
    let (story, worker) = one(&worker_side, Role::Decode, |_| {}, |_| {});
    story.elapse(10.0).await;
    worker_side.set("/ready", Reply::Hang);
    story.suspects.send(worker.id).await.unwrap();
    story.elapse(0.5).await;
    let registry = &story.fleet.registry;
    registry.apply(worker.id, WorkerEvent::DrainRequested);
    let asked = worker_side.asked("/ready");
    story.elapse(300.0).await;
    assert_eq!(worker_side.asked("/ready"), asked);
    assert_eq!(story.checks(Role::Decode, false), 0);
    assert_eq!(story.state(&worker), WorkerState::Draining);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_worker_delays_no_other() {
    let (hanging, healthy) = (
        StandIn::default().with("/ready", Reply::Hang),
        StandIn::default().with("/ready", Reply::Status(200)),
    );
    let bench = Bench::new([("a:1", &hanging), ("b:1", &healthy)]);
    bench.add("a:1", Role::Decode, |_| {});
    let second = bench.add("b:1", Role::Decode, |_| {});
    let story = Story::begin(bench, |_| {});
    story.elapse(0.3).await;
    assert_eq!(story.state(&second), WorkerState::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_failed_worker_that_answers_again_serves_again() {
    let stand_in = ready();
    let (mut story, worker) = one(&stand_in, Role::Decode, |_| {}, |_| {});
    story.elapse(1.0).await;
    stand_in.set("/ready", Reply::Status(503));
    for event in [
        WorkerEvent::DrainRequested,
        WorkerEvent::Emptied,
        WorkerEvent::GaveUp,
    ] {
        story.fleet.registry.apply(worker.id, event);
    }
    story.elapse(300.0).await;
    assert_eq!(story.state(&worker), WorkerState::Failed);
    stand_in.set("/ready", Reply::Status(200));
    story.elapse(65.0).await;
    assert_eq!(story.state(&worker), WorkerState::Serving);
    story.bench.end().await;
}
