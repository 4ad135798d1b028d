//! The process clock: tokio's, so that tests can pause it, as the `Timestamp` that policies take.

use std::time::{Duration, SystemTime};

use policies::time::Timestamp;
use tokio::time::Instant;

/// Monotonic time since the process (or the test) began.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    /// The same moment by the wall clock.
    wall_origin: SystemTime,
}

impl Clock {
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
            wall_origin: SystemTime::now(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// Seconds since 1970, for people and other programs. Steps of the wall clock after the start don't show.
    pub fn unix_seconds(&self, at: Timestamp) -> f64 {
        let origin = self.wall_origin.duration_since(SystemTime::UNIX_EPOCH);
        (origin.unwrap_or(Duration::ZERO) + at.since(Timestamp::ZERO)).as_secs_f64()
    }

    pub fn at(&self, instant: Instant) -> Timestamp {
        let micros = instant.saturating_duration_since(self.origin).as_micros();
        Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}
