//! Which headers go to a worker and which come back.

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::endpoint::Endpoint;

/// Characters of a request id that the router makes up, behind the endpoint's prefix.
const REQUEST_ID_LENGTH: usize = 24;

/// Headers that go to the workers. Everything else (cookies, the client's software) is not their business.
const FORWARDED: [&str; 6] = [
    "authorization",
    "x-request-id",
    "x-correlation-id",
    "traceparent",
    "tracestate",
    "x-smg-routing-key",
];

/// More of the same: a family of headers by prefix.
const FORWARDED_PREFIX: &str = "x-request-id-";

/// Headers of a worker's answer that belong to its connection and not to the answer.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The headers that a leg's request carries.
pub fn to_worker(client: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    for (name, value) in client {
        if FORWARDED.contains(&name.as_str()) || name.as_str().starts_with(FORWARDED_PREFIX) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// The same headers in memory of their own. A request's lie in the buffer that it was read into, which lives as long as
/// one of them does.
pub fn detached(headers: &HeaderMap) -> HeaderMap {
    let length = headers.values().map(HeaderValue::len).sum();
    let mut values = BytesMut::with_capacity(length);
    let mut own = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        values.extend_from_slice(value.as_bytes());
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_maybe_shared(values.split().freeze());
        if let (Ok(name), Ok(value)) = (name, value) {
            own.append(name, value);
        }
    }
    own
}

/// The headers of a worker's answer that the client gets. The length goes only where the body is relayed unchanged,
/// which whoever builds the response knows: it is not among them.
pub fn to_client(worker: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(worker.len());
    for (name, value) in worker {
        let dropped =
            HOP_BY_HOP.contains(name) || *name == header::CONTENT_LENGTH || *name == header::HOST;
        if !dropped {
            headers.append(name, value.clone());
        }
    }
    headers
}

pub fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// A header's text, where it has one.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .filter(|text| !text.is_empty())
}

/// The client's own request id, by the first of `names` that it sent, or a new one.
pub fn request_id(headers: &HeaderMap, names: &[String], endpoint: Endpoint) -> HeaderValue {
    names
        .iter()
        .find_map(|name| headers.get(name.as_str()).cloned())
        .unwrap_or_else(|| {
            let mut id =
                String::with_capacity(endpoint.request_id_prefix().len() + REQUEST_ID_LENGTH);
            id.push_str(endpoint.request_id_prefix());
            id.extend(std::iter::repeat_with(fastrand::alphanumeric).take(REQUEST_ID_LENGTH));
            HeaderValue::try_from(id).expect("letters, digits and dashes fit in a header")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn detached_headers_say_the_same_and_lie_elsewhere() {
        let read = bytes::Bytes::from_static(b"Bearer x");
        let mut headers = map(&[
            ("x-smg-routing-key", "a"),
            ("cookie", "b=c"),
            ("cookie", "d"),
        ]);
        headers.insert(
            "authorization",
            HeaderValue::from_maybe_shared(read.clone()).unwrap(),
        );
        let own = detached(&headers);
        assert_eq!(own, headers);
        assert!(
            !read
                .as_ptr_range()
                .contains(&own["authorization"].as_bytes().as_ptr())
        );
    }

    #[test]
    fn workers_get_the_listed_headers_only() {
        let client = map(&[
            ("authorization", "Bearer k"),
            ("x-request-id", "1"),
            ("x-request-id-span", "2"),
            ("x-smg-routing-key", "s"),
            ("cookie", "c"),
            ("user-agent", "u"),
            ("content-type", "text/plain"),
            ("content-length", "7"),
            ("x-bootstrap-room", "1"),
        ]);
        let expected = map(&[
            ("authorization", "Bearer k"),
            ("x-request-id", "1"),
            ("x-request-id-span", "2"),
            ("x-smg-routing-key", "s"),
            ("content-type", "application/json"),
        ]);
        assert_eq!(to_worker(&client), expected);
    }

    #[test]
    fn clients_get_the_answers_headers_and_none_of_the_connections() {
        let worker = map(&[
            ("content-type", "application/json"),
            ("content-length", "5"),
            ("connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("x-served-by", "a"),
            ("x-served-by", "b"),
        ]);
        let expected = map(&[
            ("content-type", "application/json"),
            ("x-served-by", "a"),
            ("x-served-by", "b"),
        ]);
        assert_eq!(to_client(&worker), expected);
    }

    #[test]
    fn a_request_id_is_the_clients_or_a_new_one_with_the_endpoints_prefix() {
        let names = ["x-request-id".to_owned(), "x-trace-id".to_owned()];
        assert_eq!(
            request_id(&map(&[("x-trace-id", "mine")]), &names, Endpoint::Chat),
            "mine"
        );
        let made = request_id(&HeaderMap::new(), &names, Endpoint::Chat);
        let made = made.to_str().unwrap();
        assert!(
            made.starts_with("chatcmpl-") && made.len() == "chatcmpl-".len() + REQUEST_ID_LENGTH,
            "{made}"
        );
    }
}
