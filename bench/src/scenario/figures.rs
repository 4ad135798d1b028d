//! What is reported of a run.

use std::time::Duration;

use policies::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sim::{Absence, Outcome, Served, Slo};

/// From the end of an absence on, what came meanwhile is still being worked off.
pub const AFTERMATH: Duration = Duration::from_secs(15);

/// The figures of one run, or the means of several.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    pub requests: f64,
    pub requests_per_second: f64,
    /// Good requests a second: within both targets.
    pub goodput: f64,
    /// Share of good requests.
    pub attainment: f64,
    /// Of those that arrived while every worker served and had for [`AFTERMATH`], and of the others; `None` where there
    /// were none.
    pub steady_attainment: Option<f64>,
    pub transition_attainment: Option<f64>,
    pub ttft_p50_ms: f64,
    pub ttft_p90_ms: f64,
    pub ttft_p99_ms: f64,
    /// Over all tokens.
    pub itl_mean_ms: f64,
    pub itl_p50_ms: f64,
    pub itl_p90_ms: f64,
    pub itl_p99_ms: f64,
    /// Of the requests that were answered and are not good, 0 where all are: how late they are. Each one's ITL is the
    /// mean over its tokens.
    pub late_ttft_p50_ms: f64,
    pub late_ttft_p90_ms: f64,
    pub late_ttft_p99_ms: f64,
    pub late_itl_p50_ms: f64,
    pub late_itl_p90_ms: f64,
    pub late_itl_p99_ms: f64,
    /// Role changes that were made.
    pub moves: f64,
    /// Seconds that workers were between roles or dead, added up, without the drain before.
    pub away_worker_seconds: f64,
    /// Requests that got no whole answer.
    pub failed: f64,
}

impl Figures {
    pub fn of(outcome: &Outcome, slo: &Slo) -> Self {
        let workers = outcome.workers.iter();
        let moves: u32 = workers.clone().map(|used| used.role_changes).sum();
        let away: Duration = workers.map(|used| used.away).sum();
        let failed = outcome.requests.len() - outcome.completed().count();
        let (steady, transition) = apart(outcome, slo);
        let late = || outcome.completed().filter(|request| !request.is_good(slo));
        let [late_ttft_p50_ms, late_ttft_p90_ms, late_ttft_p99_ms] =
            quantiles(late().filter_map(Served::ttft).collect());
        let [late_itl_p50_ms, late_itl_p90_ms, late_itl_p99_ms] =
            quantiles(late().filter_map(Served::tpot).collect());
        let ttft = |quantile| millis(outcome.ttft_quantile(quantile));
        let itl = |quantile| millis(outcome.itl_quantile(quantile));
        Self {
            requests: outcome.requests.len() as f64,
            requests_per_second: outcome.requests_per_second(),
            goodput: outcome.goodput(slo),
            attainment: outcome.attainment(slo),
            steady_attainment: steady,
            transition_attainment: transition,
            ttft_p50_ms: ttft(0.5),
            ttft_p90_ms: ttft(0.9),
            ttft_p99_ms: ttft(0.99),
            itl_mean_ms: millis(outcome.mean_itl()),
            itl_p50_ms: itl(0.5),
            itl_p90_ms: itl(0.9),
            itl_p99_ms: itl(0.99),
            late_ttft_p50_ms,
            late_ttft_p90_ms,
            late_ttft_p99_ms,
            late_itl_p50_ms,
            late_itl_p90_ms,
            late_itl_p99_ms,
            moves: f64::from(moves),
            away_worker_seconds: away.as_secs_f64(),
            failed: failed as f64,
        }
    }

    /// The mean of each; of nothing, zero.
    pub fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len().max(1) as f64;
        let mean_known = |of: fn(&Self) -> Option<f64>| {
            let known: Vec<_> = all.iter().filter_map(of).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        Self {
            requests: mean(|one| one.requests),
            requests_per_second: mean(|one| one.requests_per_second),
            goodput: mean(|one| one.goodput),
            attainment: mean(|one| one.attainment),
            steady_attainment: mean_known(|one| one.steady_attainment),
            transition_attainment: mean_known(|one| one.transition_attainment),
            ttft_p50_ms: mean(|one| one.ttft_p50_ms),
            ttft_p90_ms: mean(|one| one.ttft_p90_ms),
            ttft_p99_ms: mean(|one| one.ttft_p99_ms),
            itl_mean_ms: mean(|one| one.itl_mean_ms),
            itl_p50_ms: mean(|one| one.itl_p50_ms),
            itl_p90_ms: mean(|one| one.itl_p90_ms),
            itl_p99_ms: mean(|one| one.itl_p99_ms),
            late_ttft_p50_ms: mean(|one| one.late_ttft_p50_ms),
            late_ttft_p90_ms: mean(|one| one.late_ttft_p90_ms),
            late_ttft_p99_ms: mean(|one| one.late_ttft_p99_ms),
            late_itl_p50_ms: mean(|one| one.late_itl_p50_ms),
            late_itl_p90_ms: mean(|one| one.late_itl_p90_ms),
            late_itl_p99_ms: mean(|one| one.late_itl_p99_ms),
            moves: mean(|one| one.moves),
            away_worker_seconds: mean(|one| one.away_worker_seconds),
            failed: mean(|one| one.failed),
        }
    }
}

/// Attainment of the requests that came while all workers served, and of those that came while one was away or had just
/// come back.
fn apart(outcome: &Outcome, slo: &Slo) -> (Option<f64>, Option<f64>) {
    let (mut steady, mut transition) = (Share::default(), Share::default());
    for request in &outcome.requests {
        let share = if is_transition(&outcome.absences, request.arrived) {
            &mut transition
        } else {
            &mut steady
        };
        share.add(request.is_good(slo));
    }
    (steady.value(), transition.value())
}

fn is_transition(absences: &[Absence], at: Timestamp) -> bool {
    absences.iter().any(|absence| {
        let over = |back: Timestamp| at >= back.after(AFTERMATH);
        absence.closed <= at && !absence.back.is_some_and(over)
    })
}

#[derive(Default)]
struct Share {
    good: u64,
    all: u64,
}

impl Share {
    fn add(&mut self, good: bool) {
        self.good += u64::from(good);
        self.all += 1;
    }

    fn value(&self) -> Option<f64> {
        (self.all > 0).then(|| self.good as f64 / self.all as f64)
    }
}

/// By rank, nearest: the median, nine tenths and ninety-nine hundredths, in milliseconds.
fn quantiles(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort_unstable();
    [0.5, 0.9, 0.99].map(|quantile: f64| {
        let rank = (quantile * times.len().saturating_sub(1) as f64).round() as usize;
        times.get(rank).map_or(0.0, |time| millis(*time))
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use policies::worker::Role;

    #[test]
    fn the_mean_is_taken_of_every_figure() {
        let twice = |x: f64| {
            let figures = serde_json::to_value(Figures {
                steady_attainment: Some(0.0),
                transition_attainment: Some(0.0),
                ..Figures::default()
            });
            let mut figures = figures.unwrap();
            for figure in figures.as_object_mut().unwrap().values_mut() {
                *figure = x.into();
            }
            serde_json::from_value::<Figures>(figures).unwrap()
        };
        assert_eq!(Figures::mean(&[twice(1.0), twice(3.0)]), twice(2.0));
        assert_eq!(Figures::mean(&[]), Figures::default());
        let some_without = [twice(1.0), Figures::default()];
        assert_eq!(Figures::mean(&some_without).steady_attainment, Some(1.0));
    }

    #[test]
    fn a_transition_lasts_until_what_came_in_it_is_worked_off() {
        let at = |second| Timestamp::from_micros(second * 1_000_000);
        let absence = |closed, back: Option<u64>| Absence {
            from: Role::Prefill,
            to: Role::Decode,
            closed: at(closed),
            back: back.map(at),
        };
        let absences = [absence(10, Some(40)), absence(100, None)];
        let table = [
            (9, false),
            (10, true),
            (54, true),
            (55, false),
            (99, false),
            (5_000, true),
        ];
        for (second, expected) in table {
            assert_eq!(is_transition(&absences, at(second)), expected, "{second}");
        }
    }

    #[test]
    fn quantiles_are_by_rank() {
        let times = (0..=100).rev().map(Duration::from_millis).collect();
        for (found, expected) in quantiles(times).into_iter().zip([50.0, 90.0, 99.0]) {
            assert!((found - expected).abs() < 1e-9, "{found}");
        }
        assert!(quantiles(Vec::new()).iter().all(|none| *none <= 0.0));
    }
}
