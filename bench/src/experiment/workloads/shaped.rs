//! Two kinds of requests at once, more or less of each as time goes on: nothing changes at a moment, as it does in phases,
//! but for a burst.
//!
//! How much there is of a kind is a share of what the best split carries of it, so that two halves are about a full fleet.

use std::time::Duration;

use policies::time::Timestamp;

use super::{Kind, phases};
use crate::workload::{
    MAX_REQUESTS, Workload,
    arrivals::{Gaps, Stretch, in_stretches},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A day in an hour: half as much at night as at its two peaks, long prompts in the morning, long answers in the
    /// evening.
    Day,
    /// Long answers all the time, and long prompts that come more than five times as often for two minutes out of ten.
    Bursts,
    /// From long prompts to long answers, in an hour.
    Drift,
}

const TOTAL_SECONDS: f64 = 3_600.0;

/// Rates are constant for so long.
const STEP_SECONDS: f64 = 10.0;

const BURST_EVERY: f64 = 600.0;
const BURST_SECONDS: f64 = 120.0;

impl Shape {
    pub const ALL: [Self; 3] = [Self::Day, Self::Bursts, Self::Drift];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "a day in an hour",
            Self::Bursts => "bursts of 2 min",
            Self::Drift => "a slow drift",
        }
    }

    /// How much there is of either kind after so many seconds.
    fn shares(self, seconds: f64) -> [f64; 2] {
        let turn = std::f64::consts::TAU * seconds / TOTAL_SECONDS;
        match self {
            Self::Day => {
                let level = 0.75 - 0.25 * (2.0 * turn).cos();
                let prompts = 0.5 + 0.45 * turn.sin();
                [level * prompts, level * (1.0 - prompts)]
            }
            Self::Bursts => {
                let since = seconds % BURST_EVERY;
                let is_burst = since >= BURST_EVERY - BURST_SECONDS;
                [if is_burst { 0.8 } else { 0.15 }, 0.5]
            }
            Self::Drift => {
                let over = seconds / TOTAL_SECONDS;
                [1.0 - over, over]
            }
        }
    }
}

pub(super) fn make(shape: Shape, rate: impl Fn(Kind) -> f64, seed: u64) -> Workload {
    let mut arrivals: Vec<_> = (0..)
        .zip(phases::KINDS)
        .flat_map(|(class, kind)| {
            let stretches = stretches(shape, class, kind, rate(kind));
            // Both kinds from one seed would come at the same times.
            let seed = seed.wrapping_add(u64::from(class) << 32);
            in_stretches(&stretches, Gaps::Poisson, seed, MAX_REQUESTS / 2)
        })
        .collect();
    arrivals.sort_by_key(|(at, _)| *at);
    Workload::Open { arrivals }
}

fn stretches(shape: Shape, class: u16, kind: Kind, full: f64) -> Vec<Stretch> {
    let at = |seconds| Timestamp::ZERO.after(Duration::from_secs_f64(seconds));
    let steps = (TOTAL_SECONDS / STEP_SECONDS) as u32;
    (0..steps)
        .map(|step| {
            let start = f64::from(step) * STEP_SECONDS;
            let share = shape.shares(start + STEP_SECONDS / 2.0)[usize::from(class)];
            Stretch {
                start: at(start),
                end: at(start + STEP_SECONDS),
                rate: full * share,
                mix: kind.mix(),
                class,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(shape: Shape, from: u64, to: u64) -> [usize; 2] {
        let Workload::Open { arrivals } = make(shape, |_| 10.0, 1) else {
            panic!("it is open")
        };
        assert!(arrivals.is_sorted_by_key(|(at, _)| *at));
        let within = |at: &Timestamp| (from..to).contains(&(at.as_micros() / 1_000_000));
        [0, 1].map(|class| {
            let of = arrivals
                .iter()
                .filter(|(at, job)| within(at) && job.class == class);
            of.count()
        })
    }

    #[test]
    fn there_is_as_much_of_each_kind_as_its_share_says() {
        let table = [
            (Shape::Drift, 0..600, [0.917, 0.083]),
            (Shape::Drift, 3_000..3_600, [0.083, 0.917]),
            (Shape::Bursts, 0..480, [0.15, 0.5]),
            (Shape::Bursts, 480..600, [0.8, 0.5]),
            (Shape::Day, 880..920, [0.95, 0.05]),
            (Shape::Day, 2_680..2_720, [0.05, 0.95]),
        ];
        for (shape, span, shares) in table {
            let seconds = (span.end - span.start) as f64;
            let found = counted(shape, span.start, span.end);
            for (found, share) in found.into_iter().zip(shares) {
                let expected = 10.0 * share * seconds;
                let apart = (found as f64 - expected).abs();
                assert!(apart < 4.0 * expected.sqrt() + 1.0, "{shape:?} {span:?}");
            }
        }
    }

    #[test]
    fn shares_are_never_negative_nor_both_full() {
        for shape in Shape::ALL {
            for step in 0..360 {
                let shares = shape.shares(f64::from(step) * 10.0 + 5.0);
                assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
                assert!(shares.iter().sum::<f64>() <= 1.3 + 1e-9);
            }
        }
    }
}
