//! The largest number of requests that were under way at once, and of tokens that came in one second.

use super::answer::Gap;
use std::time::Duration;

/// Tokens by second since the start of the run.
#[derive(Debug, Default)]
pub(super) struct TokenRate {
    seconds: Vec<u64>,
}

impl TokenRate {
    /// Counts an answer's tokens: those of the first chunk came at `first`, the others after their gaps.
    pub(super) fn add(&mut self, first: Duration, output_tokens: u32, gaps: &[Gap]) {
        let later: u32 = gaps.iter().map(|gap| gap.tokens).sum();
        self.count(first, output_tokens.saturating_sub(later).max(1));
        let mut at = first;
        for gap in gaps {
            at += Duration::from_micros(gap.micros.into());
            self.count(at, gap.tokens);
        }
    }

    fn count(&mut self, at: Duration, tokens: u32) {
        let second = at.as_secs() as usize;
        if second >= self.seconds.len() {
            self.seconds.resize(second + 1, 0);
        }
        self.seconds[second] += u64::from(tokens);
    }

    pub(super) fn peak(&self) -> u64 {
        self.seconds.iter().copied().max().unwrap_or(0)
    }
}

/// How many of the spans (start, end), without their ends, have a moment in common.
pub(super) fn most_at_once(spans: impl Iterator<Item = (Duration, Duration)>) -> u64 {
    let mut changes: Vec<(Duration, i64)> = spans
        .flat_map(|(start, end)| [(start, 1), (end, -1)])
        .collect();
    // An end comes before a start of the same moment.
    changes.sort_unstable();
    let mut now = 0;
    let mut most = 0;
    for (_, change) in changes {
        now += change;
        most = most.max(now);
    }
    most.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_touch_are_not_at_once() {
        let spans = |spans: &[(u64, u64)]| {
            let seconds = |&(start, end)| (Duration::from_secs(start), Duration::from_secs(end));
            most_at_once(spans.iter().map(seconds))
        };
        assert_eq!(spans(&[]), 0);
        assert_eq!(spans(&[(0, 2), (2, 4)]), 1);
        assert_eq!(spans(&[(0, 3), (2, 4), (1, 5)]), 3);
    }

    #[test]
    fn tokens_count_in_the_second_in_which_they_came() {
        let mut rate = TokenRate::default();
        let gap = Gap {
            micros: 600_000,
            tokens: 4,
        };
        rate.add(Duration::from_millis(900), 10, &[gap, gap]);
        assert_eq!(rate.seconds, [2, 4, 4]);
        assert_eq!(rate.peak(), 4);
    }
}
