//! The head of a request as it is written, and of an answer as it is read.

use std::mem::MaybeUninit;

use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};
use url::{Position, Url};

use super::Malformed;
use super::framing::Framing;

/// Headers of an answer; SGLang sends five.
const MOST_HEADERS: usize = 100;

/// Bytes of an answer's head, those of interim answers before it included. Proxies take less. It is read from its start with
/// each piece of it that comes, so that this also bounds what one that comes byte by byte costs.
const LONGEST_HEAD: usize = 64 * 1024;

/// The head of a request with a body of `length` bytes.
pub(in crate::upstream) fn write_request(
    method: &Method,
    url: &Url,
    headers: &HeaderMap,
    length: usize,
) -> Vec<u8> {
    // What the lines of a chat request come to, so that the buffer is made once.
    let mut head = Vec::with_capacity(512);
    let mut put = |parts: &[&[u8]]| {
        for part in parts {
            head.extend_from_slice(part);
        }
    };
    // A URL's path and host hold no byte that could end the line: the `url` crate has encoded them.
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let host = &url[Position::BeforeHost..Position::AfterPort];
    put(&[method.as_str().as_bytes(), b" ", target.as_bytes()]);
    put(&[b" HTTP/1.1\r\nhost: ", host.as_bytes(), b"\r\n"]);
    for (name, value) in headers {
        put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    if !headers.contains_key(ACCEPT) {
        put(&[b"accept: */*\r\n"]);
    }
    if length > 0 || *method == Method::POST {
        put(&[b"content-length: ", length.to_string().as_bytes(), b"\r\n"]);
    }
    put(&[b"\r\n"]);
    head
}

/// The head of an answer.
#[derive(Debug)]
pub(in crate::upstream) struct Head {
    pub response: Response<()>,
    pub framing: Framing,
    /// Whether the worker takes another request on this connection.
    pub keep_alive: bool,
    /// Bytes of what was read that it took.
    pub length: usize,
}

impl Head {
    /// The final answer's head at the beginning of `bytes`; `None` as long as it is not whole.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut begins = 0;
        while let Some(mut head) = Self::parse_one(&bytes[begins..])? {
            if head.response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Malformed::Upgrade);
            }
            begins += head.length;
            if !head.response.status().is_informational() {
                head.length = begins;
                return Ok(Some(head));
            }
        }
        if bytes.len() > LONGEST_HEAD {
            return Err(Malformed::LongHead);
        }
        Ok(None)
    }

    fn parse_one(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut memory = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut parsed = httparse::Response::new(&mut []);
        let status = ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            bytes,
            &mut memory,
        );
        let Status::Complete(length) = status.map_err(Malformed::Head)? else {
            return Ok(None);
        };
        let mut headers = HeaderMap::with_capacity(parsed.headers.len());
        for header in parsed.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| Malformed::Head(httparse::Error::HeaderName))?;
            let value = HeaderValue::from_bytes(header.value)
                .map_err(|_| Malformed::Head(httparse::Error::HeaderValue))?;
            headers.append(name, value);
        }
        let status = parsed
            .code
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or(Malformed::Head(httparse::Error::Status))?;
        let version = if parsed.version == Some(0) {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        let framing = Framing::of(status, &headers)?;
        let keep_alive = keeps_alive(version, &headers);
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = version;
        *response.headers_mut() = headers;
        Ok(Some(Self {
            response,
            framing,
            keep_alive,
            length,
        }))
    }
}

fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let says = |option: &[u8]| {
        let values = headers.get_all(CONNECTION).iter();
        values
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .any(|each| each.trim_ascii().eq_ignore_ascii_case(option))
    };
    // Who names two ends of one body may be understood in two ways: nothing that follows is trusted.
    let ambiguous = headers.contains_key(TRANSFER_ENCODING)
        && (headers.contains_key(CONTENT_LENGTH) || version == Version::HTTP_10);
    !ambiguous && !says(b"close") && (version == Version::HTTP_11 || says(b"keep-alive"))
}
