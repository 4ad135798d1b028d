//! A worker's response body, from a socket or from this process.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use super::error::UpstreamError;
use super::pool::PooledBody;

/// Dropping it before its end closes the connection: that is how a worker is told that nobody listens any more.
#[derive(Debug)]
pub struct UpstreamBody(Kind);

#[derive(Debug)]
enum Kind {
    Pooled(PooledBody),
    Tls(reqwest::Body),
    InMemory(UnsyncBoxBody<Bytes, UpstreamError>),
}

impl UpstreamBody {
    pub(super) fn pooled(body: PooledBody) -> Self {
        Self(Kind::Pooled(body))
    }

    pub(super) fn tls(body: reqwest::Body) -> Self {
        Self(Kind::Tls(body))
    }

    pub fn in_memory<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        use http_body_util::BodyExt as _;
        Self(Kind::InMemory(UnsyncBoxBody::new(
            body.map_err(|error| UpstreamError::Body(error.to_string())),
        )))
    }

    /// The next data frame; `None` at the end. Trailers are skipped: no worker sends any.
    pub fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        if let Kind::Pooled(body) = &mut self.0 {
            return body.poll_data(context);
        }
        loop {
            match ready!(Pin::new(&mut *self).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }

    pub async fn data(&mut self) -> Option<Result<Bytes, UpstreamError>> {
        std::future::poll_fn(|context| self.poll_data(context)).await
    }

    /// Reads to the end, or to the frame with which `limit` bytes are reached.
    pub async fn collect_up_to(&mut self, limit: usize) -> Result<Bytes, UpstreamError> {
        let mut all = Vec::new();
        while all.len() < limit {
            match self.data().await {
                None => break,
                Some(Err(error)) => return Err(error),
                Some(Ok(data)) => all.extend_from_slice(&data),
            }
        }
        Ok(all.into())
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.0 {
            Kind::Pooled(body) => Pin::new(body).poll_frame(context),
            Kind::Tls(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|result| result.map_err(UpstreamError::from))),
            Kind::InMemory(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Pooled(body) => body.is_end_stream(),
            Kind::Tls(body) => body.is_end_stream(),
            Kind::InMemory(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Pooled(body) => body.size_hint(),
            Kind::Tls(body) => body.size_hint(),
            Kind::InMemory(body) => body.size_hint(),
        }
    }
}
