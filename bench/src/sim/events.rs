//! What is going to happen, by time and then by the order in which it was decided.
//!
//! Every request that waits has a time-out minutes ahead, and nearly none comes to pass: thousands of them are known at
//! any time, and a few dozen of everything else. In one heap each step of a worker would sink past all of those, so
//! they stand in a line of their own, which is in order since each is as far ahead as the one before.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use policies::queue::Place;
use policies::time::Timestamp;

/// Something that comes to pass. A worker's events carry its epoch: those of one that died since mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// An event with its time. Of two the greater is the one that comes first: a heap has its greatest on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    at: Timestamp,
    /// Which decision it was: no two are the same.
    number: u64,
    event: Event,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The events to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Due>,
    /// Those that were put behind all others of the line.
    line: VecDeque<Due>,
    /// Events decided on so far: the order among those of one moment.
    decided: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Timestamp, event: Event) {
        let due = self.decide(at, event);
        self.heap.push(due);
    }

    /// The same for an event that is likely to come after all that were added like this.
    pub(super) fn add_behind(&mut self, at: Timestamp, event: Event) {
        let due = self.decide(at, event);
        if self.line.back().is_none_or(|last| last.at <= at) {
            self.line.push_back(due);
        } else {
            self.heap.push(due);
        }
    }

    fn decide(&mut self, at: Timestamp, event: Event) -> Due {
        self.decided += 1;
        let number = self.decided;
        Due { at, number, event }
    }

    /// When the next event is.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let next = self.heap.peek().max(self.line.front());
        next.map(|due| due.at)
    }

    /// The next event, if it is at `now`.
    pub(super) fn pop_at(&mut self, now: Timestamp) -> Option<Event> {
        let (in_heap, in_line) = (self.heap.peek(), self.line.front());
        in_heap.max(in_line).filter(|due| due.at == now)?;
        let due = if in_line > in_heap {
            self.line.pop_front()
        } else {
            self.heap.pop()
        };
        due.map(|due| due.event)
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

    #[test]
    fn it_makes_no_difference_where_an_event_stands() {
        let at = |micros| Timestamp::from_micros(micros);
        let decided = [5, 7, 7, 6, 9, 3, 9, 8, 7].into_iter().zip(0..);
        let back = |worker| Event::Back { worker, epoch: 0 };
        // Which of them stand in the line is all ways that there are.
        for ways in 0_u32..1 << 9 {
            let mut agenda = Agenda::default();
            for (micros, worker) in decided.clone() {
                if ways >> worker & 1 == 1 {
                    agenda.add_behind(at(micros), back(worker));
                } else {
                    agenda.add(at(micros), back(worker));
                }
            }
            let mut order = Vec::new();
            while let Some(now) = agenda.next_at() {
                order.extend(agenda.pop_at(now));
            }
            assert_eq!(order, [5, 0, 3, 1, 2, 8, 7, 4, 6].map(back), "{ways:b}");
        }
    }
}
