//! One connection to a worker, driven by whoever waits for its answer.
//!
//! hyper's client wants its connection polled beside the answer. With a task for each connection every piece of a
//! stream passes from task to task, with a wake-up each way, and pieces that came in one read go out one by one. Here
//! the request's own task polls the connection: it gets all that a read brought, and dropping it closes the socket.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::segments::Segments;

type Io = TokioIo<TcpStream>;

pub(super) struct Connection {
    /// Of the worker, `host:port`.
    pub authority: Arc<str>,
    sender: http1::SendRequest<Segments>,
    /// `None` once the connection has ended.
    driver: Option<Pin<Box<http1::Connection<Io, Segments>>>>,
}

impl Connection {
    pub async fn over(io: Io, authority: Arc<str>) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(io).await?;
        Ok(Self {
            authority,
            sender,
            driver: Some(Box::pin(driver)),
        })
    }

    /// Reads and writes what can be; errors reach the request or the body that is under way.
    pub fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(context).is_ready()
        {
            self.driver = None;
        }
    }

    /// Whether the connection is open and has nothing to do, as far as is known without asking the worker.
    pub fn is_idle(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends and waits for the response head. An error has the request with it where none of it was sent.
    pub async fn send(
        mut self,
        request: Request<Segments>,
    ) -> Result<(Response<Incoming>, Self), TrySendError<Request<Segments>>> {
        let response = self.sender.try_send_request(request);
        let mut response = pin!(response);
        let response = std::future::poll_fn(|context| -> Poll<_> {
            self.drive(context);
            response.as_mut().poll(context)
        })
        .await?;
        Ok((response, self))
    }
}
