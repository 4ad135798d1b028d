use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::*;

/// The body of an answer that comes in pieces of at most `piece` bytes, and how many bytes stood behind it.
fn body(framing: &mut Framing, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize), Malformed> {
    let mut body = Vec::new();
    let mut at = 0;
    while at < bytes.len() && !framing.is_done() {
        let end = bytes.len().min(at + piece);
        let mut read = bytes[at..end].to_vec();
        let decoded = framing.decode(&mut read)?;
        assert!(decoded.taken == read.len() || framing.is_done());
        body.extend_from_slice(&read[..decoded.data]);
        at += decoded.taken;
    }
    Ok((body, bytes.len() - at))
}

fn head(text: &str) -> Head {
    let head = Head::parse(text.as_bytes()).unwrap();
    head.unwrap_or_else(|| panic!("not whole: {text}"))
}

fn chunked() -> Framing {
    let mut headers = HeaderMap::new();
    headers.insert("transfer-encoding", "chunked".parse().unwrap());
    Framing::of(StatusCode::OK, &headers).unwrap()
}

#[test]
fn chunks_are_taken_apart_wherever_reads_split_them() {
    let answer = b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n00c \r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\ntrailer: x\r\n\r\nrest";
    for piece in 1..answer.len() {
        let (body, behind) = body(&mut chunked(), answer, piece).unwrap();
        assert_eq!(
            body, b"abc0123456789\r\n\r\n\r\n\r\n\r\n\r\n",
            "pieces of {piece}"
        );
        assert_eq!(behind, 4, "pieces of {piece}");
    }
}

#[test]
fn chunks_that_are_none_are_refused() {
    let cases: [(&[u8], Malformed); 9] = [
        (b"x\r\n", Malformed::ChunkSize),
        (b"\r\n", Malformed::ChunkSize),
        (b" 1\r\na\r\n", Malformed::ChunkSize),
        (b"-1\r\n", Malformed::ChunkSize),
        (b"10000000000000000\r\n", Malformed::ChunkSize),
        (b"1\na\r\n", Malformed::ChunkSize),
        (b"1\r\nab\r\n", Malformed::ChunkEnd),
        (b"1;a\nb\r\n", Malformed::ChunkEnd),
        (b"0\r\na: b\nc: d\r\n\r\n", Malformed::ChunkEnd),
    ];
    for (bytes, malformed) in cases {
        let text = bytes.escape_ascii();
        for piece in [1, 2, bytes.len()] {
            let refused = body(&mut chunked(), bytes, piece);
            assert_eq!(refused, Err(malformed.clone()), "{text} by {piece}");
        }
    }
    let long = [b"1;".to_vec(), vec![b'x'; 20_000]].concat();
    assert_eq!(body(&mut chunked(), &long, 4096), Err(Malformed::Skipped));
}

#[test]
fn a_body_ends_where_its_head_says() {
    let until_close = Framing::UntilClose;
    let cases = [
        ("200 OK\r\ncontent-length: 7", Framing::Length(7)),
        (
            "200 OK\r\ncontent-length: 7\r\ncontent-length: 7, 7",
            Framing::Length(7),
        ),
        ("204 No Content", Framing::Length(0)),
        ("304 Not Modified\r\ncontent-length: 7", Framing::Length(0)),
        ("200 OK", until_close),
        ("200 OK\r\ntransfer-encoding: gzip, Chunked", chunked()),
        (
            "200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked",
            chunked(),
        ),
        ("200 OK\r\ntransfer-encoding: chunked, gzip", until_close),
        (
            "200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 7",
            chunked(),
        ),
    ];
    for (lines, framing) in cases {
        let head = head(&format!("HTTP/1.1 {lines}\r\n\r\n"));
        assert_eq!(head.framing, framing, "{lines}");
    }
    for length in ["x", "-1", "+1", "", "1, 2", "18446744073709551616"] {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let refused = Head::parse(answer.as_bytes());
        assert_eq!(refused.err(), Some(Malformed::ContentLength), "{length}");
    }
}

#[test]
fn a_connection_is_kept_where_the_answer_lets_it() {
    for (lines, kept) in [
        ("HTTP/1.1 200 OK", true),
        ("HTTP/1.1 200 OK\r\nconnection: te, Close", false),
        ("HTTP/1.0 200 OK", false),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 7",
            false,
        ),
    ] {
        let head = head(&format!("{lines}\r\n\r\n"));
        assert_eq!(head.keep_alive, kept, "{lines}");
    }
}

#[test]
fn a_head_is_whole_or_not_there_and_interim_answers_are_none() {
    let answer = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\n\r\n";
    for end in 0..answer.len() {
        let parsed = Head::parse(&answer.as_bytes()[..end]).unwrap();
        assert!(parsed.is_none(), "{end} bytes");
    }
    let parsed = head(&format!("{answer}body"));
    assert_eq!(parsed.length, answer.len());
    assert_eq!(parsed.response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(parsed.response.headers()["retry-after"], "3");
}

#[test]
fn a_head_that_is_none_is_refused() {
    let refused = |bytes: &[u8]| Head::parse(bytes).err();
    let upgrade = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n";
    assert_eq!(refused(upgrade), Some(Malformed::Upgrade));
    assert!(matches!(
        refused(b"SSH-2.0-OpenSSH_9.2\r\n"),
        Some(Malformed::Head(_))
    ));
    let endless = [b"HTTP/1.1 200 OK\r\na: ".to_vec(), vec![b'x'; 300_000]].concat();
    assert_eq!(refused(&endless), Some(Malformed::LongHead));
}

#[test]
fn a_request_is_written_as_workers_read_it() {
    let url = Url::parse("http://[::1]:30000/v1/a b?c=d#e").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", "1".parse().unwrap());
    let written =
        |method, length| String::from_utf8(write_request(method, &url, &headers, length)).unwrap();
    assert_eq!(
        written(&Method::POST, 0),
        "POST /v1/a%20b?c=d HTTP/1.1\r\nhost: [::1]:30000\r\nx-request-id: 1\r\naccept: */*\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(
        written(&Method::GET, 0),
        "GET /v1/a%20b?c=d HTTP/1.1\r\nhost: [::1]:30000\r\nx-request-id: 1\r\naccept: */*\r\n\r\n"
    );
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(
        bytes in proptest::collection::vec(proptest::sample::select(&b"HTP/1.02 \r\n:;,0aFchunked"[..]), 0..300),
        piece in 1_usize..40,
    ) {
        let _ = Head::parse(&bytes);
        let _ = body(&mut chunked(), &bytes, piece);
        let (all, behind) = body(&mut Framing::Length(20), &bytes, piece).unwrap();
        proptest::prop_assert_eq!(all.len() + behind, bytes.len());
        proptest::prop_assert!(all.len() <= 20);
    }

    #[test]
    fn what_a_worker_puts_into_chunks_comes_out(
        chunks in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 1..60), 0..20),
        piece in 1_usize..100,
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        let (all, behind) = body(&mut chunked(), &wire, piece).unwrap();
        proptest::prop_assert_eq!((all, behind), (chunks.concat(), 0));
    }
}
