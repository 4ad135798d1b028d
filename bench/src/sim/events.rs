//! What is going to happen, by time and then by the order in which it was decided.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use policies::queue::Place;
use policies::time::Timestamp;

/// Something that comes to pass. A worker's events carry its epoch: those of one that died since mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A prefill batch was computed.
    Computed {
        worker: usize,
        epoch: u32,
    },
    /// One request's KV has left a prefill worker.
    Sent {
        worker: usize,
        epoch: u32,
    },
    /// It has arrived at the decode worker.
    Landed {
        request: usize,
        attempt: u32,
    },
    /// A decode step is done.
    Stepped {
        worker: usize,
        epoch: u32,
    },
    /// A step is done of a worker that does both.
    Mixed {
        worker: usize,
        epoch: u32,
    },
    /// A worker is back, from a role change or a failure.
    Back {
        worker: usize,
        epoch: u32,
    },
    /// The change of this number is due.
    ChangeDue {
        change: usize,
    },
    FailureDue {
        failure: usize,
    },
    /// A request has waited in the router for as long as it may, where it still waits at that place.
    TimedOut {
        request: usize,
        place: Place,
    },
    /// The planner is asked.
    Tick,
}

/// The events to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    /// Events decided on so far: the order among those of one moment.
    decided: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Timestamp, event: Event) {
        self.decided += 1;
        self.heap.push(Reverse((at, self.decided, event)));
    }

    /// When the next event is.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next event, if it is at `now`.
    pub(super) fn pop_at(&mut self, now: Timestamp) -> Option<Event> {
        self.next_at().filter(|at| *at == now)?;
        self.heap.pop().map(|Reverse((.., event))| event)
    }

    pub(super) fn decided(&self) -> u64 {
        self.decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_those_of_one_moment_as_they_were_decided() {
        let mut agenda = Agenda::default();
        let at = |micros| Timestamp::from_micros(micros);
        let back = |worker| Event::Back { worker, epoch: 0 };
        for (micros, worker) in [(5, 0), (3, 9), (5, 1), (3, 2)] {
            agenda.add(at(micros), back(worker));
        }
        assert_eq!(agenda.next_at(), Some(at(3)));
        assert_eq!(agenda.pop_at(at(5)), None);
        let order = [(3, 9), (3, 2), (5, 0), (5, 1)];
        for (micros, worker) in order {
            assert_eq!(agenda.pop_at(at(micros)), Some(back(worker)));
        }
        assert_eq!(agenda.next_at(), None);
    }
}
