//! A circuit breaker for one worker.
//!
//! Closed until so many failures in a row, then open for a while, then half open: requests pass, so many successes in
//! a row close it and any failure opens it again. Only the leg that failed is charged, and a client's own mistake
//! charges nobody (who calls decides that). The path of a request that succeeds on a healthy worker is one atomic
//! load.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use policies::time::Timestamp;

use super::gates::Place;
use crate::config::BreakerSettings;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

impl BreakerState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A change of state, for the log and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub from: BreakerState,
    pub to: BreakerState,
}

#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    /// 0 while closed with no failure on record: the fast path of `allows` and `succeeded`.
    alert: AtomicU8,
    /// Microseconds at which an open breaker becomes half open; 0 while it isn't open.
    open_until: AtomicU64,
    counts: Mutex<Counts>,
    /// Whoever is sent past it is to ask the breaker as long as that isn't closed.
    gate: Place,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    enabled: bool,
    failure_threshold: u32,
    success_threshold: u32,
    open_for: Duration,
}

#[derive(Debug, Default)]
struct Counts {
    failures: u32,
    successes: u32,
}

impl Breaker {
    pub(super) fn new(settings: &BreakerSettings, gate: Place) -> Self {
        Self {
            settings: Settings {
                enabled: settings.enabled,
                failure_threshold: settings.failure_threshold,
                success_threshold: settings.success_threshold,
                open_for: settings.open_for,
            },
            alert: AtomicU8::new(0),
            open_until: AtomicU64::new(0),
            counts: Mutex::default(),
            gate,
        }
    }

    /// Whether a request may be sent now.
    pub fn allows(&self, now: Timestamp) -> bool {
        self.open_until.load(Ordering::Acquire) <= now.as_micros()
    }

    pub fn state(&self, now: Timestamp) -> BreakerState {
        match self.open_until.load(Ordering::Acquire) {
            0 => BreakerState::Closed,
            until if until > now.as_micros() => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    /// Failures in a row, and successes in a row while half open.
    pub fn consecutive(&self) -> (u32, u32) {
        let counts = self.counts.lock();
        (counts.failures, counts.successes)
    }

    pub fn succeeded(&self, now: Timestamp) -> Option<Transition> {
        if self.alert.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut counts = self.counts.lock();
        match self.state(now) {
            BreakerState::Closed => {
                counts.failures = 0;
                self.alert.store(0, Ordering::Release);
                None
            }
            // A late success of a request sent before the breaker opened: no reason to trust the worker again.
            BreakerState::Open => None,
            from @ BreakerState::HalfOpen => {
                counts.successes += 1;
                (counts.successes >= self.settings.success_threshold).then(|| {
                    *counts = Counts::default();
                    self.closes();
                    Transition {
                        from,
                        to: BreakerState::Closed,
                    }
                })
            }
        }
    }

    /// The worker began anew: what it did before speaks for and against nobody.
    pub fn reset(&self) {
        let mut counts = self.counts.lock();
        *counts = Counts::default();
        self.closes();
    }

    fn closes(&self) {
        self.open_until.store(0, Ordering::Release);
        self.alert.store(0, Ordering::Release);
        self.gate.doubt(false);
    }

    pub fn failed(&self, now: Timestamp) -> Option<Transition> {
        if !self.settings.enabled {
            return None;
        }
        let mut counts = self.counts.lock();
        let from = self.state(now);
        counts.failures = counts.failures.saturating_add(1);
        counts.successes = 0;
        self.alert.store(1, Ordering::Release);
        let opens = match from {
            BreakerState::Closed => counts.failures >= self.settings.failure_threshold,
            BreakerState::HalfOpen => true,
            BreakerState::Open => false,
        };
        opens.then(|| {
            self.gate.doubt(true);
            self.open_until.store(
                now.after(self.settings.open_for).as_micros().max(1),
                Ordering::Release,
            );
            Transition {
                from,
                to: BreakerState::Open,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::gates::Gates;

    fn breaker(failures: u32, successes: u32) -> Breaker {
        let settings = BreakerSettings {
            enabled: true,
            failure_threshold: failures,
            success_threshold: successes,
            open_for: Duration::from_secs(60),
            window: Duration::from_secs(120),
        };
        Breaker::new(&settings, Gates::default().take().place().clone())
    }

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let breaker = breaker(3, 2);
        breaker.failed(at(1));
        breaker.failed(at(2));
        breaker.succeeded(at(3));
        assert_eq!(breaker.failed(at(4)), None);
        assert_eq!(breaker.failed(at(5)), None);
        let opened = breaker.failed(at(6)).expect("the third failure in a row");
        assert_eq!(
            (opened.from, opened.to),
            (BreakerState::Closed, BreakerState::Open)
        );
        assert!(!breaker.allows(at(65)));
        assert!(breaker.allows(at(66)));
    }

    #[test]
    fn half_open_closes_after_successes_and_opens_on_any_failure() {
        let breaker = breaker(1, 2);
        breaker.failed(at(0));
        assert_eq!(breaker.state(at(60)), BreakerState::HalfOpen);
        assert_eq!(breaker.succeeded(at(61)), None);
        assert!(breaker.failed(at(62)).is_some());
        assert!(!breaker.allows(at(121)));
        breaker.succeeded(at(122));
        let closed = breaker.succeeded(at(123)).expect("the second success");
        assert_eq!(closed.to, BreakerState::Closed);
        assert_eq!(breaker.consecutive(), (0, 0));
    }

    #[test]
    fn a_late_success_does_not_close_an_open_breaker() {
        let breaker = breaker(1, 1);
        breaker.failed(at(0));
        assert_eq!(breaker.succeeded(at(1)), None);
        assert_eq!(breaker.state(at(1)), BreakerState::Open);
    }

    #[test]
    fn a_disabled_breaker_never_opens() {
        let settings = BreakerSettings {
            enabled: false,
            failure_threshold: 1,
            success_threshold: 1,
            open_for: Duration::from_secs(1),
            window: Duration::from_secs(1),
        };
        let breaker = Breaker::new(&settings, Gates::default().take().place().clone());
        assert_eq!(breaker.failed(at(0)), None);
        assert!(breaker.allows(at(0)));
    }

    #[test]
    fn whoever_is_sent_asks_it_until_it_has_closed_again() {
        let taken = Gates::default().take();
        let settings = crate::config::Config::default().breaker;
        let breaker = Breaker::new(&settings, taken.place().clone());
        taken.open();
        while breaker.failed(at(0)).is_none() {
            assert_eq!(taken.undoubted(), Some(0));
        }
        assert_eq!(taken.undoubted(), None);
        assert!(taken.enter(), "the gate itself stays open");
        let later = at(0).after(settings.open_for);
        while breaker.succeeded(later).is_none() {
            assert_eq!(taken.undoubted(), None);
        }
        assert_eq!(taken.undoubted(), Some(1));
        assert!(!taken.close());
        assert!(taken.leave());
    }
}
