//! Whom a resource wakes.

use std::task::Context;

/// The waker with which a resource was last found not to be ready, so that it need not be told again whom to wake: whoever
/// relays a stream is asked several times for each event, by the layers above it, and only once something has come.
///
/// Remembered is where the waker points to, not the waker: the resource keeps that until it wakes it, and as long as it is
/// kept no other task has its place. So it has to be known besides that the resource wasn't ready in between.
#[derive(Debug, Default)]
pub(crate) struct Woken(Option<[usize; 2]>);

impl Woken {
    /// For a resource that has just answered that it is not ready. Not for one that answered so because its task has had its
    /// share for now: that one keeps no waker (`tokio::task::coop::has_budget_remaining`, asked before).
    pub(crate) fn of(context: &Context<'_>) -> Self {
        Self(Some(address(context)))
    }

    /// Whether it is the task of `context` that will be woken.
    pub(crate) fn is(&self, context: &Context<'_>) -> bool {
        self.0 == Some(address(context))
    }
}

fn address(context: &Context<'_>) -> [usize; 2] {
    let waker = context.waker();
    [
        waker.data().addr(),
        std::ptr::from_ref(waker.vtable()).addr(),
    ]
}
