//! Starts, crashes, role changes and removals under one router.

use std::time::Instant;

use adaptive_router::launch::process::LaunchError;
use adaptive_router::telemetry::LaunchReason;
use policies::lifecycle::{WorkerEvent as E, WorkerState as S};
use policies::worker::{Role, WorkerId};

use super::rig::{Folder, STOP_TIMEOUT, kill, runs, until};

/// The worker is started again after its main process `before`, and runs.
async fn started_after(folder: &Folder, worker: &str, before: i32) -> (i32, i32, String) {
    until(&format!("{worker} is started"), || {
        folder
            .started(worker)
            .is_some_and(|(main, ..)| main != before)
    })
    .await;
    folder.started(worker).expect("it was just seen")
}

#[tokio::test]
async fn every_worker_is_registered_at_once_and_started_in_its_role() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    assert_eq!(
        [router.member(0).state, router.member(1).state],
        [S::Starting; 2]
    );
    let (main, child, role) = started_after(&folder, "a", 0).await;
    assert_eq!(role, "prefill");
    assert!(runs(main) && runs(child));
    assert_eq!(started_after(&folder, "b", 0).await.2, "decode");
    router.stop().await;
    assert!(
        runs(main) && runs(child),
        "workers run on when the router stops"
    );
}

#[tokio::test]
async fn a_worker_that_is_killed_is_started_again_and_its_child_is_not_left_behind() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let (main, child, _) = started_after(&folder, "a", 0).await;
    router.apply(router.id(0), &[E::Passed]);
    kill(main);
    let (again, ..) = started_after(&folder, "a", main).await;
    assert!(runs(again) && !runs(child));
    router.state_becomes(0, S::Starting).await;
    let crashes = || {
        let worker = router.member(0).worker;
        router
            .surroundings
            .metrics
            .launches
            .count(&worker, LaunchReason::Crash)
    };
    until("the crash is counted", || crashes() == 1).await;
    router.stop().await;
}

#[tokio::test]
async fn a_worker_whose_child_is_killed_ends_and_is_started_again() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let (main, child, _) = started_after(&folder, "b", 0).await;
    kill(child);
    let (again, ..) = started_after(&folder, "b", main).await;
    assert!(runs(again) && !runs(main));
    router.stop().await;
}

#[tokio::test]
async fn a_worker_that_crashes_again_and_again_is_given_up_until_somebody_wants_it() {
    let folder = Folder::new("crash");
    let router = folder.route().await.unwrap();
    let worker = router.member(0).worker;
    let line = format!(
        "adaptive_router_worker_given_up{{worker=\"{}\"}} 1",
        worker.url
    );
    until("a is given up", || router.shown().contains(&line)).await;
    assert_eq!(router.member(0).state, S::Failed);
    let launches = &router.surroundings.metrics.launches;
    assert_eq!(launches.count(&worker, LaunchReason::Start), 1);
    assert_eq!(launches.count(&worker, LaunchReason::Crash), 2);
    let (_, child, _) = folder.started("a").unwrap();
    until("its last child is gone", || !runs(child)).await;

    folder.behave("");
    router
        .launcher
        .restart(router.id(0), Role::Prefill)
        .await
        .unwrap();
    router.apply(router.id(0), &[E::Relaunched]);
    assert_eq!(router.member(0).state, S::Starting);
    router.stop().await;
}

#[tokio::test]
async fn a_worker_that_served_is_given_up_as_failed_too() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let mut before = 0;
    for _ in 0..3 {
        (before, ..) = started_after(&folder, "a", before).await;
        router.state_becomes(0, S::Starting).await;
        router.apply(router.id(0), &[E::Passed]);
        kill(before);
    }
    router.state_becomes(0, S::Failed).await;
    router.stop().await;
}

#[tokio::test]
async fn a_role_change_ends_the_process_and_all_its_children_and_applies_nothing() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let id = router.id(0);
    let (main, child, _) = started_after(&folder, "a", 0).await;
    router.apply(id, &[E::Passed, E::DrainRequested, E::Emptied]);
    router.launcher.restart(id, Role::Decode).await.unwrap();
    assert!(!runs(main) && !runs(child));
    assert_eq!(router.member(0).state, S::Switching);
    let (again, _, role) = started_after(&folder, "a", main).await;
    assert_eq!(role, "decode");
    assert_eq!(folder.state()["workers"]["a"]["role"], "decode");

    // A crash while it is verified: failed, then started again in the role that it is registered with.
    assert!(router.surroundings.registry.set_role(id, Role::Decode));
    router.apply(id, &[E::Switched]);
    kill(again);
    let (_, _, role) = started_after(&folder, "a", again).await;
    assert_eq!(role, "decode");
    router.state_becomes(0, S::Starting).await;
    router.stop().await;
}

#[tokio::test]
async fn a_worker_that_ignores_sigterm_is_killed() {
    let folder = Folder::new("stubborn");
    let router = folder.route().await.unwrap();
    let (main, child, _) = started_after(&folder, "a", 0).await;
    let began = Instant::now();
    router
        .launcher
        .restart(router.id(0), Role::Decode)
        .await
        .unwrap();
    assert!(began.elapsed() >= STOP_TIMEOUT, "it was asked first");
    assert!(!runs(main) && !runs(child));
    router.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_removed_is_stopped_and_forgotten() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let id = router.id(0);
    let (main, child, _) = started_after(&folder, "a", 0).await;
    router.apply(id, &[E::Removed]);
    until("it is gone", || !runs(main) && !runs(child)).await;
    until("it is forgotten", || {
        folder.state()["workers"].get("a").is_none()
    })
    .await;
    let error = router.launcher.restart(id, Role::Decode).await.unwrap_err();
    assert!(matches!(error, LaunchError::Ended), "{error}");
    router.stop().await;
}

#[tokio::test]
async fn workers_end_with_the_router_where_that_is_wanted() {
    let folder = Folder::new("");
    let router = folder.route_with(true).await.unwrap();
    let (main, child, _) = started_after(&folder, "a", 0).await;
    router.stop().await;
    assert!(!runs(main) && !runs(child));
    assert_eq!(folder.state()["workers"], serde_json::json!({}));
}

#[tokio::test]
async fn a_log_that_grows_begins_anew_while_its_worker_writes() {
    let folder = Folder::new("chatty");
    let router = folder.route().await.unwrap();
    let old = folder.state_dir().join("a.log.2");
    until("the log was emptied twice", || old.exists()).await;
    router.stop().await;
}

#[tokio::test]
async fn nobody_else_s_worker_is_started_anew() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    assert!(router.launcher.launches(router.id(0)));
    assert!(!router.launcher.launches(WorkerId(99)));
    let error = router
        .launcher
        .restart(WorkerId(99), Role::Decode)
        .await
        .unwrap_err();
    assert!(matches!(error, LaunchError::NotOurs), "{error}");
    router.stop().await;
}
