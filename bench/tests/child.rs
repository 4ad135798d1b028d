//! Children, with small programs in place of routers.

#![cfg(target_os = "linux")]

use axum::{Router, routing::get};
use pd_bench::child::{Child, ChildError, Launch, free_ports};
use std::{os::unix::process::ExitStatusExt, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};

/// A shell script. That it "serves" is said by a server of the test's.
fn script(script: &str, ready: &str) -> Launch {
    Launch {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        ready: ready.into(),
    }
}

/// A server that answers 200, ended with the set.
async fn server() -> (String, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("port 0 is always free");
    let address = listener.local_addr().expect("it is bound");
    let url = format!("http://{address}/ready");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let routes = Router::new().route("/ready", get(|| async {}));
        // Accept errors are retried inside; the result is always Ok.
        let _ = axum::serve(listener, routes).await;
    });
    (url, tasks)
}

#[tokio::test]
async fn sigterm_ends_a_child() {
    let (ready, _server) = server().await;
    let child = Child::start(&script("exec tail -f /dev/null", &ready))
        .await
        .unwrap();
    let status = child.stop().await.unwrap();
    assert_eq!(status.signal(), Some(15));
}

#[tokio::test]
async fn the_cpu_time_of_a_busy_child_grows() {
    let (ready, _server) = server().await;
    let child = Child::start(&script("while :; do :; done", &ready))
        .await
        .unwrap();
    let before = child.cpu_time().unwrap();
    while child.cpu_time().unwrap() < before + Duration::from_millis(50) {
        tokio::task::yield_now().await;
    }
    child.stop().await.unwrap();
}

#[tokio::test]
async fn a_child_that_ends_early_is_not_waited_for() {
    let [port] = free_ports().unwrap();
    let never = format!("http://127.0.0.1:{port}/ready");
    let error = Child::start(&script("exit 7", &never)).await.unwrap_err();
    let ChildError::EndedEarly(status) = error else {
        panic!("{error}");
    };
    assert_eq!(status.code(), Some(7));
}

#[tokio::test]
async fn a_program_that_isn_t_there_is_named() {
    let mut launch = script("", "http://127.0.0.1:1/");
    launch.program = "/no/such/router".into();
    let error = Child::start(&launch).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/router"), "{error}");
}
