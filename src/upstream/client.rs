//! The client that sends.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};
use url::Url;

use super::body::UpstreamBody;
use super::error::UpstreamError;
use super::pool::Pool;
use super::segments::Segments;
use crate::config::UpstreamTlsSettings;

/// Idle connections kept to one worker: as many as requests may run on it at once, so that a burst reuses them.
pub(super) const IDLE_CONNECTIONS_PER_WORKER: usize = 1024;

/// SGLang's HTTP server drops a connection that was idle for 5 s. A client that keeps it longer races that close and
/// loses a request now and then, so ours lets go first.
pub(super) const IDLE_CONNECTION_LIFE: Duration = Duration::from_secs(4);

/// How often the idle ones are looked at: they go before the worker's 5 s are over.
const IDLE_CHECK: Duration = Duration::from_millis(500);

pub(super) const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// One request to one worker.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Segments,
}

impl UpstreamRequest {
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Segments::default(),
        }
    }

    pub fn post_json(url: Url, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        Self {
            method: Method::POST,
            url,
            headers,
            body: Segments::from(body.into()),
        }
    }

    /// Adds `Authorization: Bearer` where there is a key that fits in a header.
    #[must_use]
    pub fn bearer(mut self, key: Option<&str>) -> Self {
        if let Some(Ok(value)) = key.map(|key| http::HeaderValue::try_from(format!("Bearer {key}")))
        {
            self.headers.insert(http::header::AUTHORIZATION, value);
        }
        self
    }
}

/// A worker in this process: takes what would go over the wire and answers with what would come back.
#[derive(Clone)]
pub struct InMemoryService(
    BoxCloneSyncService<Request<Segments>, Response<UpstreamBody>, UpstreamError>,
);

impl InMemoryService {
    /// Wraps a tower service such as an axum `Router`.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Segments>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: fmt::Display,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: fmt::Display,
    {
        Self(BoxCloneSyncService::new(
            service
                .map_response(|response: Response<B>| response.map(UpstreamBody::in_memory))
                .map_err(|error: S::Error| UpstreamError::Send(error.to_string())),
        ))
    }
}

impl fmt::Debug for InMemoryService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemoryService")
    }
}

/// Why the client could not be built: the TLS files.
#[derive(Debug)]
pub enum UpstreamBuildError {
    Read {
        path: PathBuf,
        cause: std::io::Error,
    },
    Parse {
        path: PathBuf,
        cause: reqwest::Error,
    },
    Client(reqwest::Error),
}

impl fmt::Display for UpstreamBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, cause } => write!(f, "cannot read {}: {cause}", path.display()),
            Self::Parse { path, cause } => {
                write!(f, "{} is not a usable PEM file: {cause}", path.display())
            }
            Self::Client(cause) => write!(f, "cannot set up the HTTP client: {cause}"),
        }
    }
}

impl Error for UpstreamBuildError {}

#[derive(Debug, Clone)]
pub struct Upstream {
    /// For workers behind plain HTTP, which is nearly all: the cheaper way (ADR 3).
    pool: Arc<Pool>,
    /// For workers behind TLS.
    client: reqwest::Client,
    /// By authority, `host:port`.
    in_memory: HashMap<String, InMemoryService>,
}

impl Upstream {
    pub fn new(
        connect_timeout: Duration,
        tls: &UpstreamTlsSettings,
    ) -> Result<Self, UpstreamBuildError> {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION_LIFE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_WORKER)
            .tcp_keepalive(TCP_KEEPALIVE)
            .tcp_nodelay(true)
            .http1_only();
        for path in &tls.ca_cert_paths {
            let certificate = reqwest::Certificate::from_pem(&read(path)?).map_err(|cause| {
                UpstreamBuildError::Parse {
                    path: path.clone(),
                    cause,
                }
            })?;
            builder = builder.tls_certs_merge([certificate]);
        }
        if let (Some(certificate), Some(key)) = (&tls.client_cert_path, &tls.client_key_path) {
            let pem = [read(certificate)?, read(key)?].concat();
            let identity =
                reqwest::Identity::from_pem(&pem).map_err(|cause| UpstreamBuildError::Parse {
                    path: certificate.clone(),
                    cause,
                })?;
            builder = builder.identity(identity);
        }
        Ok(Self {
            pool: Arc::new(Pool::new(connect_timeout)),
            client: builder.build().map_err(UpstreamBuildError::Client)?,
            in_memory: HashMap::new(),
        })
    }

    /// From now on requests to `authority` (`host:port`) are answered by `service` in this process. Names are found in
    /// any letter case, as a resolver finds them: a URL has its host in small letters.
    pub fn serve_in_memory(&mut self, authority: impl AsRef<str>, service: InMemoryService) {
        let authority = authority.as_ref().to_ascii_lowercase();
        self.in_memory.insert(authority, service);
    }

    /// Sends and waits for the response head.
    pub async fn send(
        &self,
        request: UpstreamRequest,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        match self.in_memory_service(&request.url) {
            Some(service) => send_in_memory(service.clone(), request).await,
            None if request.url.scheme() == "http" => {
                let response = self.pool.send(request).await?;
                Ok(response.map(UpstreamBody::pooled))
            }
            None => self.send_over_tls(request).await,
        }
    }

    /// Closes connections that have been idle for too long, until cancelled.
    pub async fn close_idle(self, cancel: CancellationToken) {
        let mut ticks = tokio::time::interval(IDLE_CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => self.pool.let_go(),
            }
        }
    }

    fn in_memory_service(&self, url: &Url) -> Option<&InMemoryService> {
        if self.in_memory.is_empty() {
            return None;
        }
        self.in_memory.get(url.authority())
    }

    async fn send_over_tls(
        &self,
        request: UpstreamRequest,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let mut outgoing = reqwest::Request::new(request.method, request.url);
        *outgoing.headers_mut() = request.headers;
        if !request.body.is_empty() {
            *outgoing.body_mut() = Some(reqwest::Body::wrap(request.body));
        }
        let response = self.client.execute(outgoing).await?;
        Ok(Response::<reqwest::Body>::from(response).map(UpstreamBody::tls))
    }
}

async fn send_in_memory(
    service: InMemoryService,
    request: UpstreamRequest,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let mut outgoing = Request::builder()
        .method(request.method)
        .uri(request.url.as_str())
        .body(request.body)
        .map_err(|error| UpstreamError::Send(error.to_string()))?;
    *outgoing.headers_mut() = request.headers;
    service.0.oneshot(outgoing).await
}

fn read(path: &Path) -> Result<Vec<u8>, UpstreamBuildError> {
    fs::read(path).map_err(|cause| UpstreamBuildError::Read {
        path: path.to_owned(),
        cause,
    })
}
