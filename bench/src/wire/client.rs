//! The HTTP client: as little as possible between a request and its socket, so that it is not what is measured.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header, uri};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::fmt;

/// Why nothing can be sent to a URL.
#[derive(Debug)]
pub enum UrlError {
    Invalid(uri::InvalidUri),
    NotPlainHttp,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => write!(f, "the url is not valid: {error}"),
            Self::NotPlainHttp => f.write_str("the url must start with http://"),
        }
    }
}

impl std::error::Error for UrlError {}

/// Keeps connections and uses them again.
pub(crate) struct HttpClient {
    http: Client<HttpConnector, Full<Bytes>>,
}

/// Where to POST and with which headers: the same for many bodies.
pub(crate) struct Prepared {
    url: Uri,
    headers: HeaderMap,
}

impl Prepared {
    /// JSON to `path` under `base`; `headers` go along.
    pub(crate) fn new(base: &str, path: &str, mut headers: HeaderMap) -> Result<Self, UrlError> {
        let url: Uri = format!("{}{path}", base.trim_end_matches('/'))
            .parse()
            .map_err(UrlError::Invalid)?;
        if url.scheme_str() != Some("http") {
            return Err(UrlError::NotPlainHttp);
        }
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Ok(Self { url, headers })
    }
}

impl HttpClient {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// Sends a body and waits for the head of the answer.
    pub(crate) async fn post(
        &self,
        to: &Prepared,
        body: Bytes,
    ) -> Result<Response<hyper::body::Incoming>, legacy::Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = to.url.clone();
        *request.headers_mut() = to.headers.clone();
        self.http.request(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_is_spoken() {
        let to = |base| Prepared::new(base, "/generate", HeaderMap::new());
        assert_eq!(
            to("http://localhost:1/").unwrap().url,
            "http://localhost:1/generate"
        );
        assert!(matches!(
            to("https://localhost"),
            Err(UrlError::NotPlainHttp)
        ));
        assert!(to("localhost:80").is_err());
        assert!(matches!(to("http://"), Err(UrlError::Invalid(_))));
    }
}
