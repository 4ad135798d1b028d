//! How many requests a worker may have, so that it keeps the target between tokens: the bound of [`policies::queue::Pace`],
//! written by whoever relays a token and read by whoever looks for a place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use policies::queue::Pace;
use policies::time::Timestamp;

#[derive(Debug)]
pub(super) struct DecodePace {
    target: Duration,
    pace: Mutex<Pace>,
    /// What the bound is; 0 where there is none.
    most: AtomicU64,
}

impl DecodePace {
    pub(super) const fn new(target: Duration) -> Self {
        Self {
            target,
            pace: Mutex::new(Pace::new(target)),
            most: AtomicU64::new(0),
        }
    }

    pub(super) fn gave(&self, now: Timestamp, tokens: u32, gap: Duration, in_flight: u32) {
        let mut pace = self.pace.lock();
        pace.gave(now, tokens, gap, in_flight);
        self.most.store(pace.most().unwrap_or(0), Ordering::Relaxed);
    }

    /// A worker in a new role has shown nothing yet.
    pub(super) fn clear(&self) {
        let mut pace = self.pace.lock();
        *pace = Pace::new(self.target);
        self.most.store(0, Ordering::Relaxed);
    }

    pub(super) fn most(&self) -> Option<u64> {
        Some(self.most.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }
}
