//! One router after another.

use std::fs;

use adaptive_router::launch::process::StartError;
use policies::lifecycle::WorkerState as S;
use policies::worker::Role;

use super::rig::{Folder, kill, runs, until};

async fn both_started(folder: &Folder) -> [i32; 2] {
    until("both are written down", || {
        let state = folder.state();
        let written = |worker: &str| {
            let main = folder.started(worker).map(|(main, ..)| main);
            main.is_some()
                && state["workers"][worker]["process"]["pid"].as_i64() == main.map(i64::from)
        };
        written("a") && written("b")
    })
    .await;
    ["a", "b"].map(|worker| folder.started(worker).expect("it was just seen").0)
}

#[tokio::test]
async fn the_next_router_takes_over_what_runs_and_starts_what_is_missing() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let [a, b] = both_started(&folder).await;
    router.surroundings.registry.renew_bootstrap(router.id(0));
    router.launcher.note_role(router.id(0), Role::Decode).await;
    let spelling = router.member(0).bootstrap;
    router.die().await;
    assert!(runs(a) && runs(b));
    let (_, orphan, _) = folder.started("b").unwrap();
    kill(b);

    let router = folder.route().await.unwrap();
    assert_eq!(router.member(0).role, Role::Decode, "as it was noted");
    assert_eq!(router.member(0).bootstrap, spelling);
    until("b is started", || folder.started("b").unwrap().0 != b).await;
    until("what b left behind is gone", || !runs(orphan)).await;
    assert_eq!(folder.started("a").unwrap().0, a);
    assert!(runs(a));
    until("b has a new spelling", || router.member(1).epoch > 0).await;

    // It isn't this router's child, and is watched all the same.
    kill(a);
    until("a is started again", || folder.started("a").unwrap().0 != a).await;
    router.stop().await;
}

#[tokio::test]
async fn a_worker_is_found_that_was_started_and_not_yet_written_down() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let [a, _] = both_started(&folder).await;
    router.die().await;
    let path = folder.state_dir().join("workers.json");
    let mut state = folder.state();
    state["workers"]["a"]["process"] = serde_json::Value::Null;
    fs::write(&path, state.to_string()).unwrap();

    let router = folder.route().await.unwrap();
    assert_eq!(both_started(&folder).await[0], a);
    router.stop().await;
}

#[tokio::test]
async fn a_process_that_has_a_worker_s_number_is_left_alone() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let [a, _] = both_started(&folder).await;
    router.die().await;
    let (_, child, _) = folder.started("a").unwrap();
    // As if the number had been given to a process that began at another time.
    let path = folder.state_dir().join("workers.json");
    let mut state = folder.state();
    let start = state["workers"]["a"]["process"]["start"].as_u64().unwrap();
    state["workers"]["a"]["process"]["start"] = (start - 1).into();
    fs::write(&path, state.to_string()).unwrap();

    let router = folder.route().await.unwrap();
    until("a is started anew", || folder.started("a").unwrap().0 != a).await;
    router
        .launcher
        .restart(router.id(0), Role::Decode)
        .await
        .unwrap();
    assert!(runs(a) && runs(child));
    router.stop().await;
    kill(a);
    kill(child);
}

#[tokio::test]
async fn two_routers_never_keep_the_same_workers() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let error = folder.route().await.err().unwrap();
    assert!(matches!(error, StartError::Locked { .. }), "{error}");
    router.stop().await;
    folder.route().await.unwrap().stop().await;
}

#[tokio::test]
async fn a_worker_that_is_no_longer_in_the_file_is_stopped() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let [a, b] = both_started(&folder).await;
    router.stop().await;
    let (_, child, _) = folder.started("b").unwrap();
    folder.list(&["a", "c"], "another");
    let router = folder.route().await.unwrap();
    until("b is gone", || !runs(b) && !runs(child)).await;
    until("c is started", || folder.started("c").is_some()).await;
    assert!(
        runs(a),
        "another command line takes effect at the next start"
    );
    assert!(folder.state()["workers"].get("b").is_none());
    router.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_to_listen_elsewhere_is_stopped_and_started_there() {
    let mut folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let [a, b] = both_started(&folder).await;
    router.stop().await;
    folder.move_ports();
    folder.list(&["a", "b"], "");
    let router = folder.route().await.unwrap();
    until("both are started anew", || {
        let started = ["a", "b"].map(|worker| folder.started(worker).unwrap().0);
        started[0] != a && started[1] != b
    })
    .await;
    assert!(!runs(a) && !runs(b));
    router.stop().await;
}

#[tokio::test]
async fn a_fleet_of_which_nothing_runs_starts_as_the_file_says() {
    let folder = Folder::new("");
    let router = folder.route().await.unwrap();
    let [a, b] = both_started(&folder).await;
    router.launcher.note_role(router.id(0), Role::Decode).await;
    router.die().await;
    kill(a);
    kill(b);
    until("both are gone", || !runs(a) && !runs(b)).await;
    let router = folder.route().await.unwrap();
    assert_eq!(
        [router.member(0).role, router.member(1).role],
        [Role::Prefill, Role::Decode]
    );
    assert_eq!(router.member(0).state, S::Starting);
    router.stop().await;
}
