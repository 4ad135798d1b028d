//! The order in which waiting requests are taken.
//!
//! Under overload a queue that is taken in order serves everybody late: by the time a request comes to its turn, its
//! target has passed. Fresh-first takes those that can still meet their target before those that can't, so that the
//! overload is borne by the requests that it has cost their target already, and not by all that follow.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueOrder {
    /// As they came.
    #[default]
    Fifo,
    /// Those that can still meet their target, as they came; then the others, as they came.
    FreshFirst,
}

/// Requests that wait, each with the same target for its time to first token.
#[derive(Debug, Clone)]
pub struct WaitQueue<T> {
    order: QueueOrder,
    target: Duration,
    fresh: VecDeque<(Timestamp, T)>,
    late: VecDeque<(Timestamp, T)>,
}

impl<T> WaitQueue<T> {
    /// `target` is the time to first token that a request is to have.
    pub fn new(order: QueueOrder, target: Duration) -> Self {
        Self {
            order,
            target,
            fresh: VecDeque::new(),
            late: VecDeque::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.fresh.len() + self.late.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.late.is_empty()
    }

    /// Adds a request that arrived at `arrived`, which is not before that of any added earlier.
    pub fn push(&mut self, arrived: Timestamp, request: T) {
        self.fresh.push_back((arrived, request));
    }

    /// Takes the next request at `now`, where the first token comes `lead` after a request is taken.
    pub fn pop(&mut self, now: Timestamp, lead: Duration) -> Option<T> {
        self.settle(now, lead);
        let (_, request) = self.fresh.pop_front().or_else(|| self.late.pop_front())?;
        Some(request)
    }

    /// The request that [`Self::pop`] would take.
    pub fn peek(&mut self, now: Timestamp, lead: Duration) -> Option<&T> {
        self.settle(now, lead);
        let (_, request) = self.fresh.front().or_else(|| self.late.front())?;
        Some(request)
    }

    /// Moves those that have become late. They are in the order of their arrival, so the first that isn't late ends it.
    fn settle(&mut self, now: Timestamp, lead: Duration) {
        if self.order == QueueOrder::Fifo {
            return;
        }
        while let Some((arrived, _)) = self.fresh.front()
            && now.since(*arrived) + lead > self.target
        {
            self.late.extend(self.fresh.pop_front());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    fn queue(order: QueueOrder) -> WaitQueue<u64> {
        let mut queue = WaitQueue::new(order, TARGET);
        for millis in [0, 500, 1_000, 1_500] {
            queue.push(at(millis), millis);
        }
        queue
    }

    fn drain(mut queue: WaitQueue<u64>, now: Timestamp, lead: Duration) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop(now, lead)).collect()
    }

    #[test]
    fn fifo_takes_them_as_they_came_however_late() {
        let taken = drain(queue(QueueOrder::Fifo), at(60_000), Duration::ZERO);
        assert_eq!(taken, [0, 500, 1_000, 1_500]);
    }

    #[test]
    fn fresh_first_takes_those_in_time_before_those_too_late() {
        let table = [
            (at(1_600), 0, [0, 500, 1_000, 1_500]),
            (at(2_600), 0, [1_000, 1_500, 0, 500]),
            // With half a second to go, one more is too late.
            (at(2_600), 500, [1_500, 0, 500, 1_000]),
            (at(60_000), 0, [0, 500, 1_000, 1_500]),
        ];
        for (now, lead, order) in table {
            let taken = drain(
                queue(QueueOrder::FreshFirst),
                now,
                Duration::from_millis(lead),
            );
            assert_eq!(taken, order, "{now:?}");
        }
    }

    #[test]
    fn what_is_peeked_is_what_is_popped() {
        let mut queue = queue(QueueOrder::FreshFirst);
        while let Some(&next) = queue.peek(at(2_600), Duration::ZERO) {
            assert_eq!(queue.pop(at(2_600), Duration::ZERO), Some(next));
        }
        assert!(queue.is_empty());
    }
}
