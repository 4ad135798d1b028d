//! Connections to workers over plain HTTP, kept for the next request.
//!
//! The newest is taken first, so that those beyond what is needed grow old and go.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::ServiceExt as _;
use url::Url;

use super::client::{
    IDLE_CONNECTION_LIFE, IDLE_CONNECTIONS_PER_WORKER, TCP_KEEPALIVE, UpstreamRequest,
};
use super::connection::{Begun, Connection, Outgoing, Read};
use super::error::{UpstreamError, innermost};
use super::http1::Framing;

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
        let mut outgoing = Outgoing::new(request);
        // Each turn takes a connection out of the pool; the last makes a new one.
        loop {
            let kept = self.take(url.authority());
            let reused = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(&url).await?,
            };
            match connection.send(&mut outgoing).await {
                Ok(begun) => return Ok(self.answer(connection, begun, outgoing)),
                // The worker had closed it: nothing was sent, and another connection is no retry.
                Err(_) if reused && !outgoing.is_begun() => {}
                Err(cause) => return Err(UpstreamError::Send(cause)),
            }
        }
    }

    fn answer(
        self: &Arc<Self>,
        connection: Connection,
        begun: Begun,
        outgoing: Outgoing,
    ) -> Response<PooledBody> {
        let Begun {
            head,
            framing,
            start,
            reusable,
        } = begun;
        let mut body = PooledBody {
            connection: Some(connection),
            framing,
            reusable,
            start,
            unwritten: (!outgoing.is_over()).then(|| Box::new(outgoing)),
            pool: Arc::clone(self),
        };
        if framing.is_done() {
            body.ended(true);
        }
        head.map(|()| body)
    }

    fn take(&self, authority: &str) -> Option<Connection> {
        let now = Instant::now();
        loop {
            let idle = self.idle.lock().get_mut(authority)?.pop()?;
            if idle.is_young(now) && idle.connection.is_idle() {
                return Some(idle.connection);
            }
        }
    }

    fn put(&self, connection: Connection) {
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
        Ok(Connection::over(io.into_inner(), url.authority().into()))
    }
}

/// An answer's body with the connection that it comes over, which goes back into the pool at its end.
pub(super) struct PooledBody {
    /// `None` once nothing more comes.
    connection: Option<Connection>,
    framing: Framing,
    /// Whether the connection can be used again.
    reusable: bool,
    /// What came with the head.
    start: Bytes,
    /// Of the request, where the worker answered before it had read all.
    unwritten: Option<Box<Outgoing>>,
    pool: Arc<Pool>,
}

impl PooledBody {
    /// The answer is over; `clean` where nothing stands behind it.
    fn ended(&mut self, clean: bool) {
        if let Some(connection) = self.connection.take()
            && self.reusable
            && clean
        {
            self.pool.put(connection);
        }
    }

    /// Goes on with a request that its worker began to answer early. Where that fails, the answer is still read.
    fn write_on(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Some(unwritten) = &mut self.unwritten
            && connection.poll_write(unwritten, context).is_ready()
        {
            self.unwritten = None;
        }
    }
}

impl fmt::Debug for PooledBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledBody")
    }
}

impl PooledBody {
    /// The next data; `None` at the end.
    pub fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        if !self.start.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.start))));
        }
        self.write_on(context);
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(None);
        };
        Poll::Ready(
            match ready!(connection.poll_data(&mut self.framing, context)) {
                Ok(Read::Data(data)) => Some(Ok(data)),
                Ok(Read::End { last, clean }) => {
                    self.ended(clean);
                    (!last.is_empty()).then(|| Ok(last))
                }
                Err(cause) => {
                    self.connection = None;
                    Some(Err(UpstreamError::Body(cause)))
                }
            },
        )
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.poll_data(context)
            .map(|data| data.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() && self.start.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length(left) => SizeHint::with_exact(left + self.start.len() as u64),
            Framing::Chunked(_) | Framing::UntilClose => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
