//! Connections to workers over plain HTTP, kept for the next request.
//!
//! The newest is taken first, so that those beyond what is needed grow old and go.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::ServiceExt as _;
use url::{Position, Url};

use super::client::{
    IDLE_CONNECTION_LIFE, IDLE_CONNECTIONS_PER_WORKER, TCP_KEEPALIVE, UpstreamRequest,
};
use super::connection::Connection;
use super::error::{UpstreamError, innermost};
use super::segments::Segments;

pub(super) struct Pool {
    connector: HttpConnector,
    connect_timeout: Duration,
    /// By authority; the newest of a worker last.
    idle: Mutex<HashMap<Arc<str>, Vec<Idle>>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < IDLE_CONNECTION_LIFE
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

impl Pool {
    pub fn new(connect_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_keepalive(Some(TCP_KEEPALIVE));
        connector.set_connect_timeout(Some(connect_timeout));
        Self {
            connector,
            connect_timeout,
            idle: Mutex::default(),
        }
    }

    /// Sends and waits for the response head.
    pub async fn send(
        self: &Arc<Self>,
        request: UpstreamRequest,
    ) -> Result<Response<PooledBody>, UpstreamError> {
        let url = request.url.clone();
        let mut outgoing = to_http(request)?;
        // Each turn takes a connection out of the pool; the last makes a new one.
        loop {
            let kept = self.take(url.authority());
            let reused = kept.is_some();
            let connection = match kept {
                Some(connection) => connection,
                None => self.connect(&url).await?,
            };
            match connection.send(outgoing).await {
                Ok((head, connection)) => {
                    return Ok(head.map(|body| PooledBody {
                        body,
                        connection: Some(connection),
                        pool: Arc::clone(self),
                    }));
                }
                Err(mut error) => match error.take_message() {
                    // The worker had closed it: nothing was sent, and another connection is no retry.
                    Some(request) if reused => outgoing = request,
                    Some(_) | None => {
                        return Err(UpstreamError::Send(innermost(&error.into_error())));
                    }
                },
            }
        }
    }

    fn take(&self, authority: &str) -> Option<Connection> {
        let now = Instant::now();
        loop {
            let mut idle = self.idle.lock().get_mut(authority)?.pop()?;
            if idle.is_young(now) && idle.connection.is_idle() {
                return Some(idle.connection);
            }
        }
    }

    fn put(&self, mut connection: Connection) {
        if !connection.is_idle() {
            return;
        }
        let mut idle = self.idle.lock();
        let kept = idle.entry(Arc::clone(&connection.authority)).or_default();
        if kept.len() < IDLE_CONNECTIONS_PER_WORKER {
            kept.push(Idle {
                connection,
                since: Instant::now(),
            });
        }
    }

    /// Lets go of the connections that nobody took in time.
    pub fn let_go(&self) {
        let now = Instant::now();
        self.idle.lock().retain(|_, kept| {
            kept.retain(|idle| idle.is_young(now));
            !kept.is_empty()
        });
    }

    async fn connect(&self, url: &Url) -> Result<Connection, UpstreamError> {
        let uri = Uri::try_from(url.as_str())
            .map_err(|error| UpstreamError::Connect(error.to_string()))?;
        let connecting = self.connector.clone().oneshot(uri);
        // The connector's own limit is for each address and leaves out the name's resolution.
        let io = tokio::time::timeout(self.connect_timeout, connecting)
            .await
            .map_err(|elapsed| UpstreamError::Connect(elapsed.to_string()))?
            .map_err(|error| UpstreamError::Connect(innermost(&error)))?;
        Connection::over(io, url.authority().into())
            .await
            .map_err(|error| UpstreamError::Send(innermost(&error)))
    }
}

/// The request as it stands on the wire: a path, and the host apart.
fn to_http(request: UpstreamRequest) -> Result<Request<Segments>, UpstreamError> {
    let UpstreamRequest {
        method,
        url,
        mut headers,
        body,
    } = request;
    let unfit = |error: http::Error| UpstreamError::Send(error.to_string());
    let uri = Uri::try_from(&url[Position::BeforePath..Position::AfterQuery])
        .map_err(|error| unfit(error.into()))?;
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort])
        .map_err(|error| unfit(error.into()))?;
    headers.insert(HOST, host);
    headers
        .entry(ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"));
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

/// An answer's body with the connection that it comes over, which goes back into the pool at its end.
pub(super) struct PooledBody {
    body: Incoming,
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl fmt::Debug for PooledBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledBody")
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        let mut next = Pin::new(&mut this.body).poll_frame(context);
        if next.is_pending()
            && let Some(connection) = &mut this.connection
        {
            // The body has said that it wants more: now the connection reads it.
            connection.drive(context);
            next = Pin::new(&mut this.body).poll_frame(context);
        }
        next.map(|next| match next {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => {
                this.connection = None;
                Some(Err(UpstreamError::Body(innermost(&error))))
            }
            None => {
                if let Some(connection) = this.connection.take() {
                    this.pool.put(connection);
                }
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
