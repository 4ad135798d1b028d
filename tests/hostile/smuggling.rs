//! Requests that may be understood in two ways: each is refused, or has one meaning that is written down here.
//!
//! Behind every case comes [`LAST`]: its answer is there exactly where the router takes the case to have ended.

use super::rig::{BODY, LAST, Rig, generate};

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    /// Of the answers until the connection is closed.
    statuses: &'static [u16],
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, statuses: &'static [u16]) -> Case {
    Case {
        name,
        bytes: bytes.into(),
        statuses,
    }
}

/// A POST with these framing headers, and what stands behind its head.
fn framed(headers: &str, rest: &str) -> Vec<u8> {
    format!("POST /generate HTTP/1.1\r\nhost: r\r\n{headers}\r\n{rest}").into_bytes()
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_can_be_understood_in_two_ways_is_refused_or_has_one_meaning() {
    let length = format!("content-length: {}\r\n", BODY.len());
    let te = "transfer-encoding: chunked\r\n";
    let hidden = "GET /hidden HTTP/1.1\r\nhost: r\r\n\r\n";
    let with = |value: &str| framed(&format!("content-length: {value}\r\n"), BODY);
    let coded = |value: &str| framed(&format!("transfer-encoding:{value}\r\n"), &chunked(BODY));
    let chunks = |chunks: &str| framed(te, chunks);
    let size = BODY.len();
    let cases = [
        case("a length", generate(BODY, ""), &[200, 200]),
        case(
            "the same length twice",
            framed(&format!("{length}{length}"), BODY),
            &[200, 200],
        ),
        case(
            "two lengths",
            framed(&format!("{length}content-length: 5\r\n"), BODY),
            &[400],
        ),
        case("two lengths in a list", with(&format!("{size}, 5")), &[400]),
        case("a negative length", with("-1"), &[400]),
        case("a length with a sign", with(&format!("+{size}")), &[400]),
        case("a hexadecimal length", with("0x33"), &[400]),
        case("no length", with(""), &[400]),
        case("a length in words", with("many"), &[400]),
        case(
            "a length beyond 64 bits",
            with("99999999999999999999"),
            &[400],
        ),
        case(
            "a length of all 64 bits",
            with("18446744073709551615"),
            &[431],
        ),
        case(
            "a length beyond any memory",
            with("9223372036854775807"),
            &[413],
        ),
        case("a length and an underscore", with("5_1"), &[400]),
        // The chunks count (RFC 9112, 6.3), and the connection ends with the answer: what a length would have made of
        // the rest is never looked at.
        case(
            "chunks and a length",
            framed(&format!("{length}{te}"), &(chunked(BODY) + hidden)),
            &[200],
        ),
        case(
            "a length behind chunks",
            framed(&format!("{te}{length}"), &(chunked(BODY) + hidden)),
            &[200],
        ),
        case(
            "chunks and a length of nothing",
            framed(
                &format!("content-length: 0\r\n{te}"),
                &(chunked(BODY) + hidden),
            ),
            &[200],
        ),
        // So it does for all chunked requests, since it can't be told any more whether there was a length.
        case("chunks", chunks(&chunked(BODY)), &[200]),
        case("chunks in capitals", coded(" CHUNKED"), &[200]),
        case("an unknown coding", coded(" xchunked"), &[400]),
        case(
            "an unknown coding last",
            coded(" chunked, identity"),
            &[400],
        ),
        case("no coding at all", coded(" identity"), &[400]),
        case("no coding named", coded(""), &[400]),
        case(
            "a coding behind a vertical tab",
            coded(" \u{b}chunked"),
            &[400],
        ),
        case("a coding in quotes", coded(" \"chunked\""), &[400]),
        case(
            "two codings in two lines",
            framed(
                &format!("{te}transfer-encoding: identity\r\n"),
                &chunked(BODY),
            ),
            &[400],
        ),
        case(
            "a space before the colon",
            framed("transfer-encoding : chunked\r\n", &chunked(BODY)),
            &[400],
        ),
        case(
            "a length with a space before the colon",
            framed("content-length : 5\r\n", "hello"),
            &[400],
        ),
        case(
            "a folded line",
            framed("transfer-encoding:\r\n chunked\r\n", &chunked(BODY)),
            &[400],
        ),
        case("a folded first line", framed(" x: y\r\n", ""), &[400]),
        case(
            "a line without a colon",
            framed("transfer-encoding\r\n", &chunked(BODY)),
            &[400],
        ),
        case("a zero byte in a value", framed("x: a\0b\r\n", ""), &[400]),
        case(
            "a bare carriage return in a value",
            framed("x: a\rtransfer-encoding: chunked\r\n", ""),
            &[400],
        ),
        case(
            "chunks in HTTP/1.0",
            "POST /generate HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        // A line may end in LF alone (RFC 9112, 2.2).
        case(
            "bare LF",
            format!("POST /generate HTTP/1.1\nhost: r\n{length}\n{BODY}"),
            &[200, 200],
        ),
        case(
            "chunk extensions",
            chunks(&format!("{size:x};a=b;c=\"d\"\r\n{BODY}\r\n0;e\r\n\r\n")),
            &[200],
        ),
        case(
            "trailers",
            chunks(&format!(
                "{size:x}\r\n{BODY}\r\n0\r\nauthorization: x\r\n\r\n"
            )),
            &[200],
        ),
        case(
            "leading zeros of a chunk's size",
            chunks(&format!("000{size:x}\r\n{BODY}\r\n0\r\n\r\n")),
            &[200],
        ),
        case(
            "a negative chunk",
            chunks(&format!("-{size:x}\r\n{BODY}\r\n0\r\n\r\n")),
            &[400],
        ),
        case(
            "a chunk in C's hexadecimal",
            chunks(&format!("0x{size:x}\r\n{BODY}\r\n0\r\n\r\n")),
            &[400],
        ),
        case(
            "a chunk's size beyond 64 bits",
            chunks(&format!("1000000000000000{size:x}\r\n{BODY}\r\n0\r\n\r\n")),
            &[400],
        ),
        case(
            "a chunk without a size",
            chunks(&format!("\r\n{BODY}\r\n0\r\n\r\n")),
            &[400],
        ),
        case(
            "a chunk longer than its size",
            chunks(&format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", size - 1)),
            &[400],
        ),
        case(
            "a chunk's size that ends in LF",
            chunks(&format!("{size:x}\n{BODY}\r\n0\r\n\r\n")),
            &[400],
        ),
        case(
            "a body behind a GET",
            "GET /liveness HTTP/1.1\r\nhost: r\r\ncontent-length: 5\r\n\r\nhello",
            &[200, 200],
        ),
        case(
            "a GET and its chunks",
            format!(
                "GET /liveness HTTP/1.1\r\nhost: r\r\n{te}\r\n{}",
                chunked("hello")
            ),
            &[200],
        ),
        case(
            "an absolute target",
            "GET http://elsewhere/liveness HTTP/1.1\r\nhost: r\r\n\r\n",
            &[200, 200],
        ),
        case(
            "an empty line first",
            "\r\n\r\nGET /liveness HTTP/1.1\r\nhost: r\r\n\r\n",
            &[200, 200],
        ),
        case(
            "a tunnel",
            "CONNECT elsewhere:1 HTTP/1.1\r\nhost: r\r\n\r\n",
            &[404, 200],
        ),
        case(
            "an upgrade",
            "GET /liveness HTTP/1.1\r\nhost: r\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
            &[200, 200],
        ),
        case(
            "HTTP/2 without asking",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[],
        ),
        case("HTTP/0.9", "GET /liveness\r\n", &[400]),
        case(
            "HTTP/1.2",
            "GET /liveness HTTP/1.2\r\nhost: r\r\n\r\n",
            &[400],
        ),
        case(
            "a target with a space",
            "GET /live ness HTTP/1.1\r\nhost: r\r\n\r\n",
            &[400],
        ),
        case(
            "no HTTP",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
            &[400],
        ),
    ];
    let rig = Rig::simulated(&[]).await;
    let mut wrong = Vec::new();
    for Case {
        name,
        bytes,
        statuses,
    } in cases
    {
        let answers = rig.told(&[&bytes, LAST].concat()).await;
        let got: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        if got != statuses {
            wrong.push(format!("{name}: {got:?} and not {statuses:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    // What was hidden was never taken for a request.
    assert_eq!(
        rig.metric("smg_http_requests_total", "path=\"unknown\""),
        1,
        "the tunnel's"
    );
    rig.is_empty_in_the_end().await;
}

#[tokio::test]
async fn requests_one_after_another_are_answered_in_their_order() {
    let rig = Rig::simulated(&[]).await;
    let texts = ["first", "second", "third", "fourth"];
    let requests = texts.map(|text| {
        let body = format!(r#"{{"text":"{text}","sampling_params":{{"max_new_tokens":3}}}}"#);
        generate(&body, "")
    });
    let answers = rig.told(&[requests.concat(), LAST.to_vec()].concat()).await;
    let got: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(got, [200; 5]);
    for (text, answer) in texts.iter().zip(&answers) {
        let json: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let expected = simulated_worker::answer::expected_text(text, 3);
        assert_eq!(json["text"], expected, "{text}");
    }
}
