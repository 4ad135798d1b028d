//! How long to wait before another attempt.

use std::time::Duration;

use crate::config::RetrySettings;

/// The pause before retry `retry` (from 0): exponential, bounded, and spread by the jitter so that requests which
/// failed together don't come back together. `draw` is uniform in 0..1.
pub fn backoff(settings: &RetrySettings, retry: u32, draw: f64) -> Duration {
    let growth = settings
        .backoff_multiplier
        .powi(i32::try_from(retry).unwrap_or(i32::MAX));
    let seconds =
        (settings.initial_backoff.as_secs_f64() * growth).min(settings.max_backoff.as_secs_f64());
    let spread = 1.0 + settings.jitter_factor * (2.0 * draw - 1.0);
    Duration::try_from_secs_f64(seconds * spread.max(0.0)).unwrap_or(settings.max_backoff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn pauses_grow_up_to_the_bound_and_spread_around_it() {
        let settings = Config::default().retry;
        let millis = |retry, draw| backoff(&settings, retry, draw).as_millis();
        assert_eq!(
            [millis(0, 0.5), millis(1, 0.5), millis(2, 0.5)],
            [50, 75, 112]
        );
        assert_eq!([millis(0, 0.0), millis(0, 1.0)], [40, 60]);
        assert_eq!(millis(1000, 0.5), 30_000);
    }
}
