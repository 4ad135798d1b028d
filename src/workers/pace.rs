//! How many requests a worker may have, so that it keeps the target between tokens: the bound of [`policies::queue::Pace`].
//!
//! What it gives is known from its own report, which counts every step with the sequences in it. A worker that reports no
//! steps shows it by its streams, of which each event is taken for a token where it doesn't say how many it holds
//! (`--stream-interval` over 1 then looks slower than it is).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use policies::queue::Pace;
use policies::time::Timestamp;

#[derive(Debug)]
pub(super) struct DecodePace {
    target: Duration,
    state: Mutex<State>,
    /// Whether the worker reports its steps: then no token of a stream waits for the lock.
    reports: AtomicBool,
    /// What the bound is; 0 where there is none.
    most: AtomicU64,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// As the worker last reported them.
    steps: Option<Steps>,
}

/// Decode steps since the worker began.
#[derive(Debug, Clone, Copy)]
struct Steps {
    /// Tokens: the sequences of each step, added up.
    tokens: f64,
    /// Microseconds of each step times its sequences, added up.
    micros: f64,
}

impl Steps {
    /// Of a report's `decode_moments`: with b sequences and t microseconds a step, sums of 1, b, t, b² and b·t.
    fn of(moments: &[f64]) -> Option<Self> {
        let [_, tokens, _, _, micros, ..] = *moments else {
            return None;
        };
        Some(Self { tokens, micros })
    }
}

impl DecodePace {
    pub(super) const fn new(target: Duration) -> Self {
        Self {
            target,
            state: Mutex::new(State {
                pace: Pace::new(target),
                steps: None,
            }),
            reports: AtomicBool::new(false),
            most: AtomicU64::new(0),
        }
    }

    /// A stream had `tokens` tokens, each `gap` after the one before it.
    pub(super) fn streamed(&self, now: Timestamp, tokens: u32, gap: Duration, in_flight: u32) {
        if !self.reports.load(Ordering::Relaxed) {
            let mut state = self.state.lock();
            state.pace.gave(now, tokens, gap, in_flight);
            self.publish(&state);
        }
    }

    /// It has not reported when it was asked: until it does again its streams have to tell.
    pub(super) fn unreported(&self) {
        self.state.lock().steps = None;
        self.reports.store(false, Ordering::Relaxed);
    }

    /// The worker has reported at `now`, with its `decode_moments`.
    pub(super) fn reported(&self, now: Timestamp, moments: &[f64], in_flight: u32) {
        let mut state = self.state.lock();
        let steps = Steps::of(moments);
        self.reports.store(steps.is_some(), Ordering::Relaxed);
        let before = std::mem::replace(&mut state.steps, steps);
        let (Some(before), Some(steps)) = (before, steps) else {
            return;
        };
        let (tokens, micros) = (steps.tokens - before.tokens, steps.micros - before.micros);
        // Fewer are those of a worker that was started anew, and nothing that a worker says is a reason to panic.
        let gap = Duration::try_from_secs_f64(micros / tokens / 1e6);
        if let (true, Ok(gap)) = (tokens >= 1.0, gap) {
            state.pace.gave(now, tokens as u32, gap, in_flight);
            self.publish(&state);
        }
    }

    fn publish(&self, state: &State) {
        let most = state.pace.most().unwrap_or(0);
        self.most.store(most, Ordering::Relaxed);
    }

    /// A worker in a new role has shown nothing yet.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        state.pace = Pace::new(self.target);
        state.steps = None;
        self.reports.store(false, Ordering::Relaxed);
        self.publish(&state);
    }

    pub(super) fn most(&self) -> Option<u64> {
        Some(self.most.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }
}
