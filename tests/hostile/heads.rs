//! Heads that are too much, and sockets that are closed by half.

use tokio::io::AsyncWriteExt as _;

use super::rig::{BODY, LAST, Rig, generate};

/// The head of a GET with these headers, its last request of the connection.
fn head(headers: &str) -> Vec<u8> {
    format!("GET /liveness HTTP/1.1\r\nhost: r\r\nconnection: close\r\n{headers}\r\n").into_bytes()
}

#[tokio::test]
async fn heads_are_bounded_by_number_and_by_bytes() {
    let rig = Rig::simulated(&[]).await;
    let lines =
        |count: usize| (0..count).fold(String::new(), |lines, n| lines + &format!("x-{n}: y\r\n"));
    let of = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    let table = [
        ("98 headers and two", head(&lines(98)), 200),
        ("99 headers and two", head(&lines(99)), 431),
        ("100,000 headers", head(&lines(100_000)), 431),
        ("a header of 64 KiB", head(&of(64 * 1024)), 200),
        ("a header of 256 KiB", head(&of(256 * 1024)), 431),
        ("a header of 8 MiB", head(&of(8 * 1024 * 1024)), 431),
        (
            "a target of 32 KiB",
            format!(
                "GET /{} HTTP/1.1\r\nconnection: close\r\n\r\n",
                "a".repeat(32 * 1024)
            )
            .into_bytes(),
            404,
        ),
        (
            "a target of 8 MiB",
            format!(
                "GET /{} HTTP/1.1\r\nconnection: close\r\n\r\n",
                "a".repeat(8 * 1024 * 1024)
            )
            .into_bytes(),
            431,
        ),
    ];
    for (name, bytes, status) in table {
        let mut client = rig.connect().await;
        // Who goes on sending after the answer may lose it to the connection's end: nothing else may come.
        let all_sent = client.send(&bytes).await;
        let answers = client.answers().await;
        let got: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert!(
            got == [status] || (!all_sent && got.is_empty() && status >= 400),
            "{name}: {got:?}"
        );
    }
    let answers = rig.told(LAST).await;
    assert_eq!(answers[0].status, 200, "others see nothing of it");
}

/// Nobody can tell a client that has only ended its own side from one that has left. It is taken to have left, since that
/// is what frees workers.
#[tokio::test]
async fn a_client_that_closes_its_side_has_left() {
    let rig = Rig::simulated(&["--simulate-time-scale=100"]).await;
    let mut client = rig.connect().await;
    client.send(&generate(BODY, "")).await;
    let in_flight = || rig.metric("adaptive_router_requests_in_flight", "");
    rig.until("it is under way", || in_flight() == 1).await;
    client.stream.shutdown().await.expect("it was open");
    rig.is_empty_in_the_end().await;
    let gone = rig.metric(
        "adaptive_router_requests_finished_total",
        "outcome=\"client_gone\"",
    );
    assert_eq!(gone, 1);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_midst_of_its_request_was_never_there() {
    let rig = Rig::simulated(&[]).await;
    let whole = generate(&BODY.repeat(1_000), "");
    for length in [1, 10, 60, 200, whole.len() - 1] {
        let mut client = rig.connect().await;
        client.send(&whole[..length]).await;
        drop(client);
    }
    rig.until("the connections are closed", || {
        rig.metric("smg_http_connections_active", "") == 0
    })
    .await;
    rig.is_empty_in_the_end().await;
    assert_eq!(rig.metric("adaptive_router_requests_finished_total", ""), 0);
    assert_eq!(rig.metric("adaptive_router_workers_retired_total", ""), 0);
}
