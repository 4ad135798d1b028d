//! The answer, as text and as JSON.

use std::{fmt, time::Duration};

use policies::ratio::Split;
use serde::Serialize;

use super::{Question, schedule::Schedule};
use crate::{scenario::Figures, text_table::TextTable, workload::Workload};

/// Attainment that is worth speaking of: below it, another seed or another hour decides.
const NOTABLE: f64 = 0.005;

/// Everything that was found out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    pub traffic: Traffic,
    pub gpus: u32,
    pub ttft_slo_ms: f64,
    pub itl_slo_ms: f64,
    pub slot_s: f64,
    /// At the rate that was asked for, most decode workers first.
    pub fixed: Vec<Fixed>,
    pub ceilings: Vec<Ceiling>,
    /// The fixed splits at other rates, in the order of `fixed`.
    pub rates: Vec<AtRate>,
}

/// What was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Traffic {
    pub requests: usize,
    pub seconds: f64,
}

/// A split that stays.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fixed {
    pub split: String,
    pub figures: Figures,
}

/// The best of the schedules that move workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ceiling {
    pub dark_s: f64,
    /// Schedules that were tried.
    pub tried: usize,
    /// `None` where none moves: the traffic asks for the same split all the time.
    pub best: Option<Scheduled>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scheduled {
    /// The splits it switches between.
    pub levels: String,
    /// Seconds since the start, and the split to go to.
    pub moves: Vec<(f64, String)>,
    pub figures: Figures,
}

/// The fixed splits at a multiple of the rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtRate {
    pub rate: f64,
    pub fixed: Vec<Figures>,
}

impl Ceiling {
    /// The schedule that attains most, and of those the one with fewest moves.
    pub(super) fn of(dark: Duration, schedules: Vec<(Schedule, Figures)>) -> Self {
        let tried = schedules.len();
        let best = schedules.into_iter().min_by(|(_, a), (_, b)| {
            let more_attained = b.attainment.total_cmp(&a.attainment);
            more_attained.then(a.moves.total_cmp(&b.moves))
        });
        Self {
            dark_s: dark.as_secs_f64(),
            tried,
            best: best.map(|(schedule, figures)| Scheduled::new(&schedule, figures)),
        }
    }
}

impl Scheduled {
    fn new(schedule: &Schedule, figures: Figures) -> Self {
        let moves = schedule.moves.iter();
        Self {
            levels: schedule.levels(),
            moves: moves
                .map(|(at, to)| (at.as_micros() as f64 / 1e6, to.to_string()))
                .collect(),
            figures,
        }
    }
}

impl Answer {
    pub(super) fn new(
        question: &Question,
        workload: &Workload,
        splits: &[Split],
        rates: Vec<AtRate>,
        ceilings: Vec<Ceiling>,
    ) -> Self {
        let as_asked = rates.iter().find(|at| at.rate.total_cmp(&1.0).is_eq());
        let as_asked = as_asked.expect("the rate that was asked for is among the rates");
        let fixed = splits.iter().zip(&as_asked.fixed);
        Self {
            traffic: Traffic {
                requests: workload.len(),
                seconds: workload.span().unwrap_or_default().as_secs_f64(),
            },
            gpus: question.fleet.workers * question.fleet.gpus_each.get(),
            ttft_slo_ms: question.slo.ttft.as_secs_f64() * 1e3,
            itl_slo_ms: question.slo.itl.as_secs_f64() * 1e3,
            slot_s: question.slot.as_secs_f64(),
            fixed: fixed
                .map(|(split, figures)| Fixed {
                    split: split.to_string(),
                    figures: *figures,
                })
                .collect(),
            ceilings,
            rates,
        }
    }

    /// The fixed split to take: among those that attain what the best does, the one that holds up best when traffic
    /// grows.
    pub fn best_fixed(&self) -> &Fixed {
        let attained = |fixed: &Fixed| fixed.figures.attainment;
        let most = self.fixed.iter().map(attained).fold(0.0, f64::max);
        let places = (0..self.fixed.len()).filter(|at| most - attained(&self.fixed[*at]) < NOTABLE);
        let best = places.max_by(|a, b| self.resilience(*a).total_cmp(&self.resilience(*b)));
        &self.fixed[best.expect("a fleet has a split, and the best attains what the best does")]
    }

    /// Attainment of the split at `place`, summed over the rates above the one that was asked for.
    fn resilience(&self, place: usize) -> f64 {
        let higher = self.rates.iter().filter(|at| at.rate > 1.0);
        higher.map(|at| at.fixed[place].attainment).sum()
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("an answer is plain data with string keys")
    }

    fn table(&self) -> TextTable {
        let mut table = TextTable::new([
            "", "attained", "good/s", "per GPU", "req/s", "TTFT p50", "p99 ms", "ITL mean",
            "p99 ms", "moves",
        ]);
        let fixed = self.fixed.iter();
        let fixed = fixed.map(|fixed| (fixed.split.clone(), &fixed.figures));
        let moving = self.ceilings.iter().filter_map(|ceiling| {
            let best = ceiling.best.as_ref()?;
            let name = format!("{} moving, {} s away", best.levels, ceiling.dark_s);
            Some((name, &best.figures))
        });
        for (name, figures) in fixed.chain(moving) {
            table.push([
                name,
                format!("{:.3}", figures.attainment),
                format!("{:.2}", figures.goodput),
                format!("{:.3}", figures.goodput / f64::from(self.gpus)),
                format!("{:.2}", figures.requests_per_second),
                format!("{:.0}", figures.ttft_p50_ms),
                format!("{:.0}", figures.ttft_p99_ms),
                format!("{:.2}", figures.itl_mean_ms),
                format!("{:.2}", figures.itl_p99_ms),
                format!("{}", figures.moves),
            ]);
        }
        table
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { requests, seconds } = self.traffic;
        writeln!(
            f,
            "{requests} requests in {seconds:.0} s on {} GPUs. Good: TTFT within {} ms and mean ITL within {} ms.\n",
            self.gpus, self.ttft_slo_ms, self.itl_slo_ms,
        )?;
        writeln!(f, "{}", self.table())?;
        let best = self.best_fixed();
        writeln!(
            f,
            "Fixed: take {}, which attains {:.3}.",
            best.split, best.figures.attainment
        )?;
        for ceiling in &self.ceilings {
            writeln!(f, "{}", Verdict { ceiling, best })?;
        }
        match self.ceilings.iter().map(|ceiling| ceiling.tried).max() {
            None | Some(0) => Ok(()),
            Some(tried) => write!(
                f,
                "\"Moving\" is the best of {tried} schedules that know the trace in advance and switch between two \
                 splits at multiples of {} s: a mark for controllers, which do not know what comes. A schedule of \
                 another kind may be better still.",
                self.slot_s,
            ),
        }
    }
}

/// What a ceiling means for the choice.
struct Verdict<'a> {
    ceiling: &'a Ceiling,
    best: &'a Fixed,
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dark = self.ceiling.dark_s;
        write!(f, "Moving with {dark} s away: ")?;
        let Some(moving) = &self.ceiling.best else {
            return f.write_str("nothing to gain, the traffic wants the same split all the time.");
        };
        let gain = moving.figures.attainment - self.best.figures.attainment;
        if gain < NOTABLE {
            return write!(f, "nothing to gain over {}.", self.best.split);
        }
        write!(
            f,
            "the best schedule found gains {gain:+.3} over {}, with {} between {}.",
            self.best.split,
            moves(moving.figures.moves),
            moving.levels,
        )
    }
}

fn moves(count: f64) -> String {
    let one = (count - 1.0).abs() < f64::EPSILON;
    format!("{count} {}", if one { "move" } else { "moves" })
}
