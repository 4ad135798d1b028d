//! Bodies that are too long, too many, no JSON, or the wrong thing.

use super::rig::{BODY, LAST, Rig, generate};

const MIB: usize = 1024 * 1024;

/// The head of a request whose body is to come.
fn announced(length: usize) -> Vec<u8> {
    format!("POST /generate HTTP/1.1\r\nhost: r\r\ncontent-length: {length}\r\n\r\n").into_bytes()
}

fn held(rig: &Rig) -> u64 {
    rig.metric("adaptive_router_request_body_bytes", "")
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_before_it_is_sent() {
    let rig = Rig::simulated(&[]).await;
    let mut client = rig.connect().await;
    client.send(&announced(512 * MIB + 1)).await;
    let answer = client.answer().await.expect("an answer to the head alone");
    assert_eq!(answer.status, 413);
    assert_eq!(held(&rig), 0);
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_is_refused_there_and_held_no_longer() {
    let rig = Rig::simulated(&["--max-payload-size=3000000"]).await;
    let mut client = rig.connect().await;
    client
        .send(b"POST /generate HTTP/1.1\r\nhost: r\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 65_536], b"\r\n".to_vec()].concat();
    let mut chunks = 0;
    while client.send(&chunk).await && chunks < 1_000 {
        chunks += 1;
    }
    assert!(chunks < 1_000, "it goes on reading");
    // The answer may be lost to the connection's end, for the client was still sending.
    if let Some(answer) = client.answer().await {
        assert_eq!(answer.status, 413);
    }
    rig.is_empty_in_the_end().await;
}

#[tokio::test]
async fn what_a_body_grows_to_in_the_router_counts_as_its_memory() {
    let rig = Rig::simulated(&["--max-request-memory=300000"]).await;
    let text = "x".repeat(10_000);
    let with_samples = |samples: u32| {
        let body = format!(
            r#"{{"text":"{text}","sampling_params":{{"max_new_tokens":1,"n":{samples}}}}}"#
        );
        [&generate(&body, "")[..], LAST].concat()
    };
    // A prompt for each sample.
    let refused = rig.told(&with_samples(64)).await;
    assert_eq!(refused[0].status, 503);
    assert_eq!(refused[0].header("x-smg-error-code"), Some("memory_full"));
    assert_eq!(rig.told(&with_samples(4)).await[0].status, 200);
    rig.is_empty_in_the_end().await;
}

#[tokio::test]
async fn over_the_memory_for_bodies_a_request_is_refused_unread_and_let_in_when_there_is_room() {
    let rig = Rig::simulated(&["--max-request-memory=300000"]).await;
    let text = "x".repeat(200_000);
    let body = format!(r#"{{"text":"{text}","sampling_params":{{"max_new_tokens":1}}}}"#);
    let request = generate(&body, "");
    let mut slow = rig.connect().await;
    slow.send(&request[..1_000]).await;
    rig.until("its memory is held", || held(&rig) == body.len() as u64)
        .await;

    let mut refused = rig.connect().await;
    refused.send(&announced(body.len())).await;
    let answer = refused.answer().await.expect("an answer to the head alone");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("x-smg-error-code"), Some("memory_full"));
    assert_eq!(
        rig.metric("adaptive_router_request_bodies_refused_total", ""),
        1
    );
    let small = rig.told(&[&generate(BODY, "")[..], LAST].concat()).await;
    assert_eq!(small[0].status, 200, "what fits is let in");

    slow.send(&request[1_000..]).await;
    assert_eq!(slow.answer().await.expect("an answer").status, 200);
    rig.is_empty_in_the_end().await;
    let again = rig.told(&[&request[..], LAST].concat()).await;
    assert_eq!(again[0].status, 200);
    let never = rig.told(&announced(300_001)).await;
    assert_eq!(never[0].status, 413, "there can never be room for it");
}

/// However many come at once: never more than there is room for, each answered, nothing left behind.
#[tokio::test]
async fn the_memory_for_bodies_is_never_exceeded_and_never_lost() {
    let rig = Rig::simulated(&["--max-request-memory=1000000"]).await;
    let text = "x".repeat(100_000);
    let body = format!(r#"{{"text":"{text}","sampling_params":{{"max_new_tokens":1}}}}"#);
    let request = [generate(&body, ""), LAST.to_vec()].concat();
    let clients = (0..60).map(|number| {
        let (rig, request) = (&rig, &request);
        async move {
            if number % 5 == 0 {
                // It leaves in the midst of it.
                let mut client = rig.connect().await;
                client.send(&request[..50_000 + number]).await;
                return 0;
            }
            let answers = rig.told(request).await;
            assert!(held(rig) <= 1_000_000);
            answers.first().map_or(503, |answer| answer.status)
        }
    });
    let statuses = futures_util::future::join_all(clients).await;
    assert!(
        statuses.iter().all(|status| [0, 200, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&200));
    rig.is_empty_in_the_end().await;
}

#[tokio::test]
async fn what_is_no_request_is_told_so_and_nothing_worse_happens() {
    let rig = Rig::simulated(&[]).await;
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(MIB), close.repeat(MIB));
    let within =
        |value: &str| format!(r#"{{"text":{value},"sampling_params":{{"max_new_tokens":1}}}}"#);
    let members = (0..100_000).fold(String::new(), |members, n| {
        members + &format!(r#""m{n}":{n},"#)
    });
    let table = [
        ("nothing", String::new(), 400),
        ("no JSON", "text=a".to_owned(), 400),
        ("half of it", BODY[..20].to_owned(), 400),
        ("something behind it", format!("{BODY}}}"), 400),
        ("a list", "[1]".to_owned(), 400),
        ("a mebibyte of brackets", "[".repeat(MIB), 400),
        ("a mebibyte of braces", r#"{"a":"#.repeat(MIB), 400),
        ("lists in lists", nested("[", "]"), 400),
        (
            "objects in objects",
            format!(
                "{{\"x\":{},{}",
                nested(r#"{"a":"#, "}").replace(":}", ":1}"),
                &BODY[1..]
            ),
            400,
        ),
        ("lists in lists as a prompt", within(&nested("[", "]")), 400),
        ("100,000 members", format!("{{{members}{}", &BODY[1..]), 200),
        (
            "1,000 bootstrap members",
            format!("{{{}{}", r#""bootstrap_room":1,"#.repeat(1_000), &BODY[1..]),
            400,
        ),
        ("a number without end", within(&"9".repeat(MIB)), 400),
        ("a zero byte", BODY.replace('a', "\0"), 400),
        (
            "half a surrogate",
            BODY.replace("\"a\"", r#""\ud800""#),
            400,
        ),
    ];
    // Nesting is refused by the worker, whose parser has a limit; the router has no use for one.
    let mut wrong = Vec::new();
    for (name, body, status) in table {
        let answers = rig.told(&[&generate(&body, "")[..], LAST].concat()).await;
        let got: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        if got != [status, 200] {
            wrong.push(format!("{name}: {got:?} and not {status}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let mut bytes = generate(&"a".repeat(BODY.len()), "");
    let body = bytes.len() - BODY.len();
    bytes[body..].fill(0xff);
    assert_eq!(
        rig.told(&[&bytes[..], LAST].concat()).await[0].status,
        400,
        "no UTF-8"
    );
    rig.is_empty_in_the_end().await;
}

/// As the peer has it, and SGLang for `/generate`: what is in the body counts, not what it is called.
#[tokio::test]
async fn a_wrong_content_type_changes_nothing() {
    let rig = Rig::simulated(&[]).await;
    for kind in [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "",
    ] {
        let request = generate(BODY, &format!("content-type: {kind}\r\n"));
        let answers = rig.told(&[&request[..], LAST].concat()).await;
        let got: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(got, [200, 200], "{kind}");
    }
}
