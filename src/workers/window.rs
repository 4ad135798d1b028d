//! Latencies of the last minute, by quantile.
//!
//! A ring of slices of ten seconds: what is recorded goes into the newest, and each slice is emptied when its time comes
//! round again. Quantiles are good to 1 % (two significant digits), memory is constant once the largest value was seen,
//! and the lock is held for one increment by whoever records and for a copy by whoever looks.

use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use policies::time::Timestamp;

const SLICES: usize = 6;
const SLICE: Duration = Duration::from_secs(10);

/// What a unit of the histograms is: fine enough that an ITL of 2 ms is known to 1 %.
const UNIT_NANOS: u32 = 10_000;

const UNITS_PER_SECOND: u64 = 1_000_000_000 / UNIT_NANOS as u64;

/// No request lasts longer, as far as this is concerned.
const LONGEST: u64 = 360_000_000;

/// Latencies of the last 50 to 60 seconds.
#[derive(Debug)]
pub struct LatencyWindow {
    slices: Mutex<Slices>,
}

#[derive(Debug)]
struct Slices {
    ring: [Histogram<u32>; SLICES],
    /// Number of the newest slice, counted from the clock's origin.
    newest: u64,
}

impl Default for LatencyWindow {
    fn default() -> Self {
        Self {
            slices: Mutex::new(Slices {
                ring: std::array::from_fn(|_| empty()),
                newest: 0,
            }),
        }
    }
}

impl LatencyWindow {
    /// Records `latency` as that of `count` tokens (or requests) at `now`.
    pub fn record(&self, now: Timestamp, latency: Duration, count: u32) {
        let mut slices = self.slices.lock();
        let newest = slices.advance_to(now);
        newest
            .record_n(units(latency), count)
            .expect("a histogram that resizes takes every value below LONGEST");
    }

    /// Adds what the window holds at `now` to `total`.
    pub fn add_to(&self, now: Timestamp, total: &mut Latencies) {
        let mut slices = self.slices.lock();
        slices.advance_to(now);
        for slice in slices.ring.iter().filter(|slice| !slice.is_empty()) {
            total
                .0
                .add(slice)
                .expect("a histogram that resizes can be added to");
        }
    }

    /// What the window holds at `now`.
    pub fn latencies(&self, now: Timestamp) -> Latencies {
        let mut total = Latencies::default();
        self.add_to(now, &mut total);
        total
    }

    /// Forgets everything: the worker begins a new life.
    pub fn clear(&self) {
        for slice in &mut self.slices.lock().ring {
            slice.reset();
        }
    }
}

impl Slices {
    /// Empties the slices whose time has passed; the newest one.
    fn advance_to(&mut self, now: Timestamp) -> &mut Histogram<u32> {
        let number = now.as_micros() / SLICE.as_micros() as u64;
        let passed = number.saturating_sub(self.newest).min(SLICES as u64);
        // Somebody with an older clock reading records into what is newest by now.
        self.newest = self.newest.max(number);
        for number in self.newest + 1 - passed..=self.newest {
            self.ring[number as usize % SLICES].reset();
        }
        &mut self.ring[self.newest as usize % SLICES]
    }
}

/// A set of latencies, to be asked for quantiles.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u32>);

impl Default for Latencies {
    fn default() -> Self {
        Self(empty())
    }
}

impl Latencies {
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that a share of `quantile` (0 to 1) doesn't exceed; `None` of nothing.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| {
            let highest = self.0.value_at_quantile(quantile);
            // Values are known by their bucket: its middle is nearest.
            let units = self.0.median_equivalent(highest);
            Duration::from_nanos(units.saturating_mul(u64::from(UNIT_NANOS)))
        })
    }
}

fn empty() -> Histogram<u32> {
    Histogram::new(2).expect("two significant digits are allowed")
}

fn units(latency: Duration) -> u64 {
    let whole = latency.as_secs().saturating_mul(UNITS_PER_SECOND);
    let rest = (latency.subsec_nanos() + UNIT_NANOS / 2) / UNIT_NANOS;
    whole.saturating_add(u64::from(rest)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn ms(latency: Option<Duration>) -> f64 {
        latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }

    #[test]
    fn quantiles_are_good_to_a_percent_from_microseconds_to_minutes() {
        for millis in [0.05, 0.5, 2.0, 25.0, 333.0, 2_000.0, 60_000.0, 300_000.0] {
            let window = LatencyWindow::default();
            window.record(at(1), Duration::from_secs_f64(millis / 1000.0), 3);
            let seen = ms(window.latencies(at(1)).quantile(0.5));
            assert!(
                (seen - millis).abs() <= millis * 0.01 + 0.01,
                "{millis}: {seen}"
            );
        }
    }

    #[test]
    fn a_count_weighs_as_that_many_records() {
        let window = LatencyWindow::default();
        window.record(at(1), Duration::from_millis(10), 98);
        window.record(at(1), Duration::from_millis(500), 2);
        let latencies = window.latencies(at(1));
        assert_eq!(latencies.count(), 100);
        assert!((ms(latencies.quantile(0.9)) - 10.0).abs() < 0.2);
        assert!((ms(latencies.quantile(0.99)) - 500.0).abs() < 5.0);
    }

    #[test]
    fn what_is_older_than_a_minute_is_gone_and_what_is_younger_than_fifty_seconds_is_there() {
        let window = LatencyWindow::default();
        window.record(at(3), Duration::from_millis(1), 1);
        window.record(at(30), Duration::from_millis(1), 1);
        assert_eq!(window.latencies(at(53)).count(), 2);
        assert_eq!(window.latencies(at(63)).count(), 1);
        assert_eq!(window.latencies(at(100)).count(), 0);
        window.record(at(1_000_000), Duration::from_millis(1), 1);
        assert_eq!(window.latencies(at(1_000_000)).count(), 1);
        assert_eq!(window.latencies(at(1_000_070)).count(), 0);
    }

    #[test]
    fn a_late_writer_loses_nothing() {
        let window = LatencyWindow::default();
        window.record(at(25), Duration::from_millis(1), 1);
        window.record(at(19), Duration::from_millis(1), 1);
        assert_eq!(window.latencies(at(25)).count(), 2);
    }

    #[test]
    fn windows_of_workers_add_up_to_the_fleets() {
        let windows = [LatencyWindow::default(), LatencyWindow::default()];
        windows[0].record(at(1), Duration::from_millis(10), 1);
        windows[1].record(at(1), Duration::from_secs(20), 1);
        let mut fleet = Latencies::default();
        for window in &windows {
            window.add_to(at(2), &mut fleet);
        }
        assert_eq!(fleet.count(), 2);
        assert!((ms(fleet.quantile(0.5)) - 10.0).abs() < 0.2);
        windows[0].clear();
        assert_eq!(windows[0].latencies(at(2)).quantile(0.5), None);
    }

    #[test]
    fn an_absurd_latency_is_the_longest() {
        let window = LatencyWindow::default();
        window.record(at(1), Duration::MAX, u32::MAX);
        assert!(ms(window.latencies(at(1)).quantile(1.0)) >= 3_550_000.0);
    }
}
