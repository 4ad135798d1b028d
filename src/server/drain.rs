//! Connections that end with the request that they carry.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use tokio::task::coop;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::outlet::Outlet;
use crate::woken::Woken;

/// Tells connections that no more requests are served.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// What the token says, without its lock: each connection looks whenever something comes.
    begun: AtomicBool,
    token: CancellationToken,
}

impl Drain {
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Serves `connection` to its end; once this begins, no further than the request that it carries.
    pub(super) fn ends<I, S: HttpService<Incoming>>(
        self: Arc<Self>,
        connection: http1::Connection<I, S>,
        outlet: Arc<Outlet>,
    ) -> Drained<I, S> {
        Drained {
            connection,
            begins: Some(Box::pin(self.token.clone().cancelled_owned())),
            waiter: Woken::default(),
            drain: self,
            outlet,
        }
    }
}

/// A connection that is served until it ends, or the drain begins.
pub(super) struct Drained<I, S: HttpService<Incoming>> {
    connection: http1::Connection<I, S>,
    /// `None` once it has begun.
    begins: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    waiter: Woken,
    drain: Arc<Drain>,
    outlet: Arc<Outlet>,
}

impl<I, S: HttpService<Incoming>> Drained<I, S> {
    fn poll_begins(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(begins) = &mut self.begins else {
            return Poll::Pending;
        };
        if self.waiter.is(context) && !self.drain.begun.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.waiter = Woken::default();
        let asked = coop::has_budget_remaining();
        let begun = begins.as_mut().poll(context);
        if begun.is_ready() {
            self.begins = None;
        } else if asked {
            self.waiter = Woken::of(context);
        }
        begun
    }
}

impl<I, S> Future for Drained<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Body> + Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let this = &mut *self;
        if this.poll_begins(context).is_ready() {
            Pin::new(&mut this.connection).graceful_shutdown();
        }
        let served = Pin::new(&mut this.connection).poll(context);
        if served.is_pending() && this.outlet.is_stranded() {
            context.waker().wake_by_ref();
        }
        served
    }
}
