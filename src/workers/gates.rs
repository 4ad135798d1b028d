//! Where gates stand: side by side.
//!
//! A policy that compares the loads of all workers reads one word of each. In a thousand workers' own memory these are a
//! thousand cache misses; here sixteen words are in a line. Threads that write to one line wait for each other, so
//! workers get gates in lines of their own as long as there are some: few workers share none.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;

use super::gate::Gate;

/// Gates that are made at once.
const IN_BLOCK: usize = 256;

/// So many are in a line of 64 bytes.
const IN_LINE: usize = 64 / size_of::<Gate>();
const LINES: usize = IN_BLOCK / IN_LINE;

/// Where the gate stands that is taken as the `number`th of its block: each in another line than the one before.
const fn within_block(number: usize) -> usize {
    number % LINES * IN_LINE + number / LINES
}

/// Gates that nobody has, the next one last.
#[derive(Debug, Clone, Default)]
pub(super) struct Gates(Arc<Mutex<Vec<Place>>>);

impl Gates {
    /// A closed gate for a worker, which is given back when it is dropped.
    pub fn take(&self) -> Taken {
        let mut free = self.0.lock();
        if free.is_empty() {
            let block = Arc::new(std::array::from_fn(|_| Gate::new_closed()));
            let place = |number| Place {
                block: Arc::clone(&block),
                within: within_block(number),
            };
            free.extend((0..IN_BLOCK).rev().map(place));
        }
        let place = free.pop().expect("a block has gates");
        Taken {
            place,
            gates: self.clone(),
        }
    }
}

/// Where a gate stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    block: Arc<[Gate; IN_BLOCK]>,
    within: usize,
}

impl Deref for Place {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.block[self.within % IN_BLOCK]
    }
}

/// A worker's gate.
#[derive(Debug)]
pub(super) struct Taken {
    place: Place,
    gates: Gates,
}

impl Taken {
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl Deref for Taken {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.place
    }
}

/// Nobody is inside: who is has the worker.
impl Drop for Taken {
    fn drop(&mut self) {
        self.place.close();
        self.place.doubt(false);
        self.gates.0.lock().push(self.place.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_gate_that_was_given_back_is_taken_again_and_closed() {
        let gates = Gates::default();
        let first = gates.take();
        assert_eq!(first.place.within, 0);
        first.open();
        first.doubt(true);
        drop(first);
        let again = gates.take();
        assert_eq!(again.place.within, 0);
        assert!(again.is_drained() && !again.enter());
        again.open();
        assert_eq!(again.undoubted(), Some(0));
    }

    #[test]
    fn there_are_as_many_as_are_asked_for_and_few_share_no_line() {
        let gates = Gates::default();
        let taken: Vec<_> = (0..=IN_BLOCK).map(|_| gates.take()).collect();
        let lines = |few: &[Taken]| -> HashSet<_> {
            few.iter().map(|gate| gate.place.within / IN_LINE).collect()
        };
        assert_eq!(lines(&taken[..LINES]).len(), LINES);
        for (number, gate) in taken.iter().enumerate() {
            gate.open();
            assert!((0..number).all(|_| gate.enter()));
        }
        for (number, gate) in taken.iter().enumerate() {
            assert_eq!(gate.undoubted(), Some(number as u32));
            (0..number).for_each(|_| {
                gate.leave();
            });
        }
    }
}
