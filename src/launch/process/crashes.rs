//! Crashes in a row: how long to wait before the next start, and when to stop trying.

use std::time::Duration;

use tokio::time::Instant;

/// With what patience a crashing worker is started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// Before the first start after a crash; doubled at each.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// Crashes in a row after which it is given up.
    pub crashes: u32,
    /// A worker that served this long was well: its next crash is a first one.
    pub well_after: Duration,
}

impl Default for Patience {
    /// A crash that was an accident (an Xid error, the OOM killer) costs a second beside the loading. Five in a row are
    /// none: with SGLang's start of about a minute, that is known after six minutes.
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            crashes: 5,
            well_after: Duration::from_secs(60),
        }
    }
}

/// What is remembered of a worker's crashes.
#[derive(Debug)]
pub(super) struct Crashes {
    patience: Patience,
    in_a_row: u32,
    serving_since: Option<Instant>,
}

impl Crashes {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            in_a_row: 0,
            serving_since: None,
        }
    }

    /// Somebody wants it started: whatever was before doesn't count.
    pub(super) fn forget(&mut self) {
        self.in_a_row = 0;
        self.serving_since = None;
    }

    pub(super) fn notice(&mut self, serves: bool, now: Instant) {
        if !serves {
            self.serving_since = None;
            return;
        }
        let since = *self.serving_since.get_or_insert(now);
        if now.duration_since(since) >= self.patience.well_after {
            self.in_a_row = 0;
        }
    }

    /// One more. How long to wait before the next start; `None` where there is to be none.
    pub(super) fn another(&mut self) -> Option<Duration> {
        self.serving_since = None;
        self.in_a_row += 1;
        if self.in_a_row >= self.patience.crashes {
            return None;
        }
        let doubled = self
            .patience
            .first_pause
            .saturating_mul(1 << (self.in_a_row - 1).min(20));
        Some(doubled.min(self.patience.longest_pause))
    }

    pub(super) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crashes() -> Crashes {
        Crashes::new(Patience {
            crashes: 9,
            ..Patience::default()
        })
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_the_last_crash_is_the_end() {
        let mut crashes = crashes();
        let pauses: Vec<_> = (0..9)
            .map(|_| crashes.another().map(|pause| pause.as_secs()))
            .collect();
        let expected = [1, 2, 4, 8, 16, 32, 60, 60].map(Some);
        assert_eq!(pauses[..8], expected);
        assert_eq!(pauses[8], None);
    }

    #[test]
    fn a_worker_that_served_for_a_while_begins_anew_and_one_that_only_loaded_for_long_does_not() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut crashes = crashes();
        crashes.another();
        crashes.notice(false, start + 3600 * second);
        assert_eq!(crashes.another(), Some(2 * second));
        crashes.notice(true, start);
        crashes.notice(true, start + 59 * second);
        assert_eq!(crashes.another(), Some(4 * second));
        crashes.notice(true, start);
        crashes.notice(true, start + 60 * second);
        assert_eq!(crashes.another(), Some(second));
    }
}
