//! What must hold for any bytes from a client or a worker, as functions of those bytes.
//!
//! The fuzz targets of `fuzz/` call these, and so does a test with every file of their corpora; they stand here because
//! what they look at is private. Each panics where its property does not hold.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::bootstrap::{self, Pairing, Rid};
use super::chunk::{self, Template};
use super::endpoint::Endpoint;
use super::headers;
use super::request::{BOOTSTRAP_MEMBERS, RequestView};
use super::sse::{self, EventScanner};
use crate::workers::Bootstrap;

/// A body that is routed reaches the workers as the same JSON, but for the members that pair them. The first byte picks
/// the endpoint and whether the prefill worker has a bootstrap port.
pub fn request(bytes: &[u8]) {
    let Some((&choice, body)) = bytes.split_first() else {
        return;
    };
    let endpoint = Endpoint::ALL[usize::from(choice >> 1) % Endpoint::ALL.len()];
    let body = Bytes::copy_from_slice(body);
    let Ok(view) = RequestView::parse(endpoint, &body) else {
        return;
    };
    let pairing = Pairing {
        bootstrap: Bootstrap {
            host: "prefill.example".into(),
            port: (choice & 1 == 1).then_some(9000),
        },
        room: bootstrap::draw_room(u64::from(choice), view.batch),
        rid: Rid(7),
    };
    let spliced = bootstrap::splice(&body, &view, &pairing).to_vec();
    // A body that serde_json can't build as a whole (a number beyond f64, nesting beyond its bound) is not compared.
    let Ok(Value::Object(mut before)) = serde_json::from_slice(&body) else {
        return;
    };
    let Ok(Value::Object(mut after)) = serde_json::from_slice(&spliced) else {
        panic!("spliced into something else: {}", spliced.escape_ascii());
    };
    for member in BOOTSTRAP_MEMBERS {
        before.remove(member);
        let added = after.remove(member);
        assert!(added.is_some(), "{member} is missing");
    }
    if before.get("rid").is_none_or(Value::is_null) {
        before.remove("rid");
        let added = after.remove("rid");
        assert!(
            added.is_some_and(|rid| rid.is_string()),
            "no rid to abort by"
        );
    }
    assert_eq!(before, after);
}

/// The events of a stream are the same however it is cut, and so are the bytes that belong to them. The first byte is
/// the length of the pieces, the second that of the first one.
pub fn events(bytes: &[u8]) {
    let [length, first, stream @ ..] = bytes else {
        return;
    };
    let whole = scanned([stream]);
    let (start, rest) = stream.split_at(usize::from(*first).min(stream.len()));
    let pieces = rest.chunks(usize::from(*length).max(1));
    assert_eq!(whole, scanned([start].into_iter().chain(pieces)));
    for event in &whole.0 {
        // What it says is judged without a panic, and a stream's end is no error.
        assert!(sse::error_in(event).is_none() || event != b"data: [DONE]");
    }
    for endpoint in [Endpoint::Chat, Endpoint::Completions] {
        known_by_templates(endpoint, &whole.0);
    }
}

/// What is known of an event because it is like the one before is what a look at all of it finds.
fn known_by_templates(endpoint: Endpoint, events: &[Vec<u8>]) {
    let mut template = Template::default();
    for event in events {
        let brought = chunk::brought(endpoint, event);
        if let Some(known) = template.brought(event) {
            assert_eq!(brought, Some(known));
            assert!(sse::is_event(event) && !sse::is_done(event));
            assert_eq!(sse::error_in(event), None);
        }
        template.take(event, brought);
    }
}

/// Events, and how many bytes of the stream belong to them.
fn scanned<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, usize) {
    let mut scanner = EventScanner::default();
    let (mut events, mut fed, mut ended) = (Vec::new(), 0, 0);
    for piece in pieces {
        let here = scanner.feed(piece, |event| events.push(event.to_vec()));
        assert!(here <= piece.len());
        if here > 0 {
            ended = fed + here;
        }
        fed += piece.len();
    }
    (events, ended)
}

/// Workers get the listed headers only and clients none of a connection's, whatever was sent. A line is a header.
pub fn header_filter(bytes: &[u8]) {
    let mut sent = HeaderMap::new();
    // As many as a server lets in.
    for line in bytes.split(|&byte| byte == b'\n').take(100) {
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        ) {
            sent.append(name, value);
        }
    }
    let to_worker = headers::to_worker(&sent);
    assert_eq!(to_worker["content-type"], "application/json");
    for private in [
        "cookie",
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
    ] {
        assert!(!to_worker.contains_key(private), "{private}");
    }
    for (name, value) in &to_worker {
        let same = sent.get_all(name).iter().any(|sent| sent == value);
        assert!(same || name == "content-type", "{name} was not sent");
    }
    let to_client = headers::to_client(&sent);
    for private in [
        "connection",
        "transfer-encoding",
        "content-length",
        "upgrade",
    ] {
        assert!(!to_client.contains_key(private), "{private}");
    }
    let names = ["x-request-id".to_owned()];
    let id = headers::request_id(&sent, &names, Endpoint::Chat);
    assert!(sent.get("x-request-id").is_none_or(|sent| sent == id));
}
