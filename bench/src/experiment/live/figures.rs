//! What came of one run, played or simulated: the same figures by the same rules, in the model's time.

use std::time::Duration;

use policies::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    experiment::arms::SLO,
    serve::Seen,
    sim::{End, Served},
    workload::Job,
};

/// A request by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Which of the two kinds it is.
    pub(super) kind: u16,
    /// `None` where it got no whole answer.
    pub(super) ttft: Option<Duration>,
    /// The mean between its tokens; `None` also where there was one alone.
    pub(super) itl: Option<Duration>,
}

impl Request {
    /// Of a load that was played; `requests` are those that were sent, in their order.
    pub(super) fn played(seen: &Seen, requests: &[(Timestamp, Job)]) -> Option<Self> {
        let (_, job) = requests.get(usize::try_from(seen.number).ok()?)?;
        Some(Self {
            kind: job.class,
            ttft: seen.ttft,
            itl: seen.tpot,
        })
    }

    pub(super) fn simulated(served: &Served) -> Self {
        let whole = served.end == End::Completed;
        Self {
            kind: served.job.class,
            ttft: served.ttft().filter(|_| whole),
            itl: served.tpot().filter(|_| whole),
        }
    }

    /// Where time went `scale` times as slowly.
    fn is_good(&self, scale: f64) -> bool {
        let within = |found: Duration, target: Duration| found <= target.mul_f64(scale);
        self.ttft.is_some_and(|ttft| within(ttft, SLO.ttft))
            && self.itl.is_none_or(|itl| within(itl, SLO.itl))
    }
}

/// The figures of one run. Latencies are of whole answers, 0 where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    pub requests: u64,
    /// Share of requests within both targets among all that came.
    pub attainment: f64,
    /// The same of each kind.
    pub attainment_by_kind: [f64; 2],
    /// Good requests a second of the scenario.
    pub goodput: f64,
    pub ttft_p50_ms: f64,
    pub ttft_p99_ms: f64,
    /// Of requests' means.
    pub itl_p50_ms: f64,
    pub itl_p99_ms: f64,
    /// Without a whole answer.
    pub failed: u64,
}

impl Figures {
    /// Of requests that came within `seconds`, where time went `scale` times as slowly.
    pub(super) fn of(requests: &[Request], seconds: f64, scale: f64) -> Self {
        let attainment = |kind: Option<u16>| {
            let of_kind = |request: &&Request| kind.is_none_or(|kind| request.kind == kind);
            let (good, all) = requests
                .iter()
                .filter(of_kind)
                .fold((0_u64, 0_u64), |(good, all), request| {
                    (good + u64::from(request.is_good(scale)), all + 1)
                });
            good as f64 / all.max(1) as f64
        };
        let millis = |spans: Vec<Duration>, quantile| {
            quantile_of(spans, quantile).as_secs_f64() * 1e3 / scale
        };
        let ttfts = || requests.iter().filter_map(|request| request.ttft).collect();
        let itls = || requests.iter().filter_map(|request| request.itl).collect();
        let failed = requests.iter().filter(|request| request.ttft.is_none());
        Self {
            requests: requests.len() as u64,
            attainment: attainment(None),
            attainment_by_kind: [0, 1].map(|kind| attainment(Some(kind))),
            goodput: attainment(None) * requests.len() as f64 / seconds,
            ttft_p50_ms: millis(ttfts(), 0.5),
            ttft_p99_ms: millis(ttfts(), 0.99),
            itl_p50_ms: millis(itls(), 0.5),
            itl_p99_ms: millis(itls(), 0.99),
            failed: failed.count() as u64,
        }
    }
}

/// By rank, nearest.
fn quantile_of(mut spans: Vec<Duration>, quantile: f64) -> Duration {
    if spans.is_empty() {
        return Duration::ZERO;
    }
    let rank = (quantile * (spans.len() - 1) as f64).round() as usize;
    *spans.select_nth_unstable(rank).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u16, ttft_ms: u64, itl_ms: u64) -> Request {
        Request {
            kind,
            ttft: Some(Duration::from_millis(ttft_ms)),
            itl: Some(Duration::from_millis(itl_ms)),
        }
    }

    #[test]
    fn where_time_goes_slowly_the_same_requests_have_the_same_figures() {
        let failed = Request {
            kind: 1,
            ttft: None,
            itl: None,
        };
        let requests = |scale: u64| {
            vec![
                request(0, 1_900 * scale, 20 * scale),
                request(0, 2_100 * scale, 20 * scale),
                request(1, 100 * scale, 30 * scale),
                failed,
            ]
        };
        let figures = Figures::of(&requests(1), 2.0, 1.0);
        assert_eq!(figures, Figures::of(&requests(2), 2.0, 2.0));
        let expected = Figures {
            requests: 4,
            attainment: 0.25,
            attainment_by_kind: [0.5, 0.0],
            goodput: 0.5,
            ttft_p50_ms: 1_900.0,
            ttft_p99_ms: 2_100.0,
            itl_p50_ms: 20.0,
            itl_p99_ms: 30.0,
            failed: 1,
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn of_nothing_the_figures_are_zero() {
        assert_eq!(Figures::of(&[], 1.0, 1.0), Figures::default());
    }
}
