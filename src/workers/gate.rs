//! Admission to a worker and the number of requests in flight on it, in one atomic word.
//!
//! One word, because the two must change together: once `close` has returned, no request can slip in, so the count
//! can only fall and "closed and zero" means drained for good. Every interleaving is checked by
//! `tests/gate_interleavings.rs`, which compiles this very file against loom's atomics.

use super::atomic::{AtomicU32, Ordering};

/// The top bit closes the gate; the next says that there is more to know before somebody is sent here; those below count
/// who is inside.
const CLOSED: u32 = 1 << 31;
const DOUBTED: u32 = 1 << 30;
const INSIDE: u32 = DOUBTED - 1;

/// A gate starts closed: a worker must be seen ready before it is given a request.
#[derive(Debug)]
pub struct Gate(AtomicU32);

impl Gate {
    pub fn new_closed() -> Self {
        Self(AtomicU32::new(CLOSED))
    }

    /// Goes in unless the gate is closed. Whoever got `true` must `leave` exactly once.
    #[must_use]
    pub fn enter(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return false;
            }
            match self
                .0
                .compare_exchange_weak(word, word + 1, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(actual) => word = actual,
            }
        }
    }

    /// Leaves. `true` where this was the last one inside a closed gate: the drain is over.
    pub fn leave(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) & !DOUBTED == CLOSED + 1
    }

    /// Admits nobody from now on. `true` where nobody is inside: drained already.
    pub fn close(&self) -> bool {
        self.0.fetch_or(CLOSED, Ordering::AcqRel) & INSIDE == 0
    }

    pub fn open(&self) {
        self.0.fetch_and(!CLOSED, Ordering::AcqRel);
    }

    /// Requests inside.
    pub fn in_flight(&self) -> u32 {
        self.0.load(Ordering::Acquire) & INSIDE
    }

    pub fn is_drained(&self) -> bool {
        self.0.load(Ordering::Acquire) & !DOUBTED == CLOSED
    }

    /// Whether more has to be known than that the gate is open, before somebody is sent here.
    pub fn doubt(&self, doubted: bool) {
        if doubted {
            self.0.fetch_or(DOUBTED, Ordering::AcqRel);
        } else {
            self.0.fetch_and(!DOUBTED, Ordering::AcqRel);
        }
    }

    /// Requests inside, where the gate is open and nothing else has to be known.
    pub fn undoubted(&self) -> Option<u32> {
        let word = self.0.load(Ordering::Relaxed);
        (word <= INSIDE).then_some(word)
    }
}
