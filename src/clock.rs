//! The process clock: tokio's, so that tests can pause it, as the `Timestamp` that policies take.

use policies::time::Timestamp;
use tokio::time::Instant;

/// Monotonic time since the process (or the test) began.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    pub fn at(&self, instant: Instant) -> Timestamp {
        let micros = instant.saturating_duration_since(self.origin).as_micros();
        Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}
