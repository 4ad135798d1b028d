//! Workers whose answers are not what they say they are.

use std::sync::atomic::Ordering;

use super::rig::{BODY, LIMIT, Liar, Rig, Script, Then, generate};

const HONEST: Script = Script {
    says: b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"text\":\"yes\"}",
    then: Then::Waits,
};

const fn script(says: &'static [u8], then: Then) -> Script {
    Script { says, then }
}

/// What answers without end are made of.
static FILLING: [u8; 0x8000] = [b'x'; 0x8000];

/// What can't be an answer is none: the client gets one from another worker, or is told that there is none.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_is_no_answer_is_retried_on_another_worker() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n";
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    let table = [
        ("nothing", script(b"", Then::Closes)),
        (
            "half a head",
            script(b"HTTP/1.1 200 OK\r\ncontent-le", Then::Closes),
        ),
        ("a head without a body", script(head, Then::Closes)),
        (
            "less than its length",
            script(
                b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"text\":",
                Then::Closes,
            ),
        ),
        (
            "chunks without an end",
            script(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n",
                Then::Closes,
            ),
        ),
        (
            "a chunk that is longer than it says",
            script(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{\"a\":1}\r\n0\r\n\r\n",
                Then::Waits,
            ),
        ),
        (
            "a chunk of a negative size",
            script(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
                Then::Waits,
            ),
        ),
        (
            "two lengths",
            script(
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
                Then::Waits,
            ),
        ),
        (
            "a length that is none",
            script(
                b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
                Then::Waits,
            ),
        ),
        (
            "another protocol",
            script(b"SSH-2.0-OpenSSH_9.6\r\n", Then::Waits),
        ),
        (
            "a switch of protocols",
            script(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
                Then::Waits,
            ),
        ),
        (
            "a status beyond all",
            script(b"HTTP/1.1 9999 Much\r\n\r\n", Then::Waits),
        ),
        (
            "headers without end",
            script(
                b"HTTP/1.1 200 OK\r\n",
                Then::Repeats(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"),
            ),
        ),
        (
            "a header without end",
            script(b"HTTP/1.1 200 OK\r\nx: ", Then::Repeats(&[b'y'; 4_096])),
        ),
        (
            "interim heads without end",
            script(interim, Then::Repeats(interim)),
        ),
    ];
    for (name, script) in table {
        let (liar, honest) = (Liar::start(script).await, Liar::start(HONEST).await);
        let rig = Rig::before(&[&liar, &honest], &[]).await;
        // Round robin: a retry is the next one's turn, so that each request asks the liar first.
        for _ in 0..4 {
            let mut client = rig.connect().await;
            client.send(&generate(BODY, "")).await;
            let answer = client.answer().await.expect("an answer");
            assert_eq!(
                (answer.status, &answer.body[..]),
                (200, &b"{\"text\":\"yes\"}"[..]),
                "{name}"
            );
        }
        assert_eq!(liar.requests.load(Ordering::SeqCst), 4, "{name}");
        assert!(
            liar.sent.load(Ordering::SeqCst) < 8 * 1024 * 1024,
            "{name}: it was read on"
        );
        rig.until("its connections are closed", || {
            liar.open.load(Ordering::SeqCst) == 0
        })
        .await;

        let alone = Rig::before(&[&liar], &[]).await;
        let mut client = alone.connect().await;
        client.send(&generate(BODY, "")).await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!(answer.status, 502, "{name}");
        alone.is_empty_in_the_end().await;
    }
}

/// What is behind an answer belongs to no other.
#[tokio::test]
async fn more_than_its_length_is_nobodys_answer() {
    let surplus = script(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale",
        Then::Waits,
    );
    let liar = Liar::start(surplus).await;
    let rig = Rig::before(&[&liar], &[]).await;
    let mut client = rig.connect().await;
    for _ in 0..3 {
        client.send(&generate(BODY, "")).await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
    }
    rig.until("no connection is kept", || {
        liar.open.load(Ordering::SeqCst) == 0
    })
    .await;
}

/// A worker that says that it is well and says nothing else, and one that never comes to an end of saying.
#[tokio::test]
async fn a_head_and_then_silence_is_given_up_within_the_limit() {
    let silent = script(
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n",
        Then::Waits,
    );
    let events = script(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        Then::Waits,
    );
    let stream = r#"{"text":"a","stream":true}"#;
    for (script, body) in [(silent, BODY), (events, stream)] {
        let (liar, honest) = (Liar::start(script).await, Liar::start(HONEST).await);
        let limits = [
            "--request-timeout-secs=0.2",
            "--first-byte-timeout-secs=0.2",
        ];
        let rig = Rig::before(&[&liar, &honest], &limits).await;
        for _ in 0..2 {
            let mut client = rig.connect().await;
            client.send(&generate(body, "")).await;
            let answer = client.answer().await.expect("an answer");
            assert_eq!(
                (answer.status, &answer.body[..]),
                (200, &b"{\"text\":\"yes\"}"[..])
            );
        }
        assert_eq!(liar.requests.load(Ordering::SeqCst), 2);
        rig.until("it is left", || liar.open.load(Ordering::SeqCst) == 0)
            .await;
    }
}

/// What has no end is passed on as far as the client takes it, and ends with the client: in between are some buffers of
/// sockets, and no more of it is taken from the worker.
#[tokio::test]
async fn an_answer_without_end_is_read_no_faster_than_its_client_reads_it() {
    const PIECE: &[u8] = b"8000\r\n";
    // The most that Linux keeps in a socket's buffers: 6 MiB for reading and 4 MiB for writing, at both connections.
    const SOCKETS: usize = 2 * 10 * 1024 * 1024;
    let chunk: &'static [u8] =
        Box::leak([PIECE, &FILLING[..], b"\r\n"].concat().into_boxed_slice());
    let event: &'static [u8] = Box::leak(
        [PIECE, b"data: ", &FILLING[8..], b"\n\n\r\n"]
            .concat()
            .into_boxed_slice(),
    );
    let whole = script(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        Then::Repeats(chunk),
    );
    let until_close = script(b"HTTP/1.1 200 OK\r\n\r\n", Then::Repeats(&FILLING));
    let head =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let events = script(head, Then::Repeats(event));
    let one_event = script(head, Then::Repeats(chunk));
    let stream = r#"{"text":"a","stream":true}"#;
    for (name, script, body) in [
        ("an answer", whole, BODY),
        ("an answer that ends with its connection", until_close, BODY),
        ("a stream", events, stream),
        ("an event", one_event, stream),
    ] {
        let liar = Liar::start(script).await;
        let rig = Rig::before(&[&liar], &[]).await;
        let mut client = rig.connect().await;
        client.send(&generate(body, "")).await;
        // It begins and stops reading; the worker is then read until all is full.
        let (mut before, mut still) = (0, 0);
        let stops = async {
            while still < 200 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                let sent = liar.sent.load(Ordering::SeqCst);
                still = if sent > 0 && sent == before {
                    still + 1
                } else {
                    0
                };
                before = sent;
                assert!(sent < SOCKETS + 32 * 1024 * 1024, "{name}: {sent} bytes");
            }
        };
        tokio::time::timeout(LIMIT, stops).await.expect("it stops");
        drop(client);
        rig.until("the worker is left", || {
            liar.open.load(Ordering::SeqCst) == 0
        })
        .await;
        rig.is_empty_in_the_end().await;
    }
}

/// But for its blank lines nothing of it reaches the client, and no token is counted.
#[tokio::test]
async fn a_stream_of_bytes_that_are_no_events_is_an_error_of_its_worker() {
    let garbage = script(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 40\r\n\r\n\n\n\xff\xfe: \x00data:data: {\r\n\r\n{\"error\":\n\n[DONE]",
        Then::Waits,
    );
    let liar = Liar::start(garbage).await;
    let rig = Rig::before(&[&liar], &[]).await;
    let mut client = rig.connect().await;
    client
        .send(&generate(r#"{"text":"a","stream":true}"#, ""))
        .await;
    let answer = client.answer().await.expect("an answer");
    let error = String::from_utf8(answer.body).expect("text");
    let error = error.trim_start_matches('\n');
    assert!(error.starts_with("data: {\"error\":{"), "{error}");
    assert_eq!(error.matches("\n\n").count(), 1, "{error}");
    rig.is_empty_in_the_end().await;
    assert_eq!(rig.metric("adaptive_router_ttft_seconds_count", ""), 0);
}

/// Its health is beyond doubt, and it answers nothing: it costs as many requests their first try as open its breaker.
#[tokio::test]
async fn a_worker_that_is_well_and_answers_nothing_is_left_alone_after_a_few_tries() {
    let (dead, honest) = (
        Liar::start(script(b"", Then::Waits)).await,
        Liar::start(HONEST).await,
    );
    let flags = ["--request-timeout-secs=0.1", "--cb-failure-threshold=3"];
    let rig = Rig::before(&[&dead, &honest], &flags).await;
    for _ in 0..12 {
        let mut client = rig.connect().await;
        client.send(&generate(BODY, "")).await;
        assert_eq!(client.answer().await.expect("an answer").status, 200);
    }
    assert_eq!(dead.requests.load(Ordering::SeqCst), 3);
    assert_eq!(honest.requests.load(Ordering::SeqCst), 12);
}
