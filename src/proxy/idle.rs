//! How long a stream may be silent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop;
use tokio::time::{Instant, Sleep};

use crate::woken::Woken;

/// Fires when nothing was touched for the limit. Touching is a store; the timer is only moved when it fires early.
pub(super) struct IdleTimer {
    pub(super) limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
    waiter: Woken,
}

impl IdleTimer {
    pub(super) fn new(limit: Duration) -> Self {
        let last = Instant::now();
        Self {
            limit,
            last,
            sleep: Box::pin(tokio::time::sleep_until(last + limit)),
            waiter: Woken::default(),
        }
    }

    pub(super) fn touch(&mut self, now: Instant) {
        self.last = now;
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waiter.is(context) && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        self.waiter = Woken::default();
        loop {
            let asked = coop::has_budget_remaining();
            let polled = self.sleep.as_mut().poll(context);
            if polled.is_pending() && asked {
                self.waiter = Woken::of(context);
            }
            ready!(polled);
            let due = self.last + self.limit;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(due);
        }
    }
}
