//! The result of a scenario, as a table and as JSON.

use std::fmt;

use policies::ratio::Split;
use serde::Serialize;

use super::{Figures, Scenario};
use crate::text_table::TextTable;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    description: String,
    ttft_slo_ms: f64,
    itl_slo_ms: f64,
    pub splits: Vec<SplitReport>,
}

/// One split: each seed's run, and their mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitReport {
    pub split: String,
    pub mean: Figures,
    /// In the order of the seeds.
    pub runs: Vec<Figures>,
}

impl SplitReport {
    pub fn new(split: Split, runs: Vec<Figures>) -> Self {
        Self {
            split: split.to_string(),
            mean: Figures::mean(&runs),
            runs,
        }
    }

    /// Attainment, with its range where seeds differ.
    fn attainment(&self) -> String {
        let all = || self.runs.iter().map(|run| run.attainment);
        let (low, high) = (
            all().fold(f64::INFINITY, f64::min),
            all().fold(f64::NEG_INFINITY, f64::max),
        );
        let mean = format!("{:.3}", self.mean.attainment);
        if self.runs.len() > 1 {
            format!("{mean} ({low:.3}-{high:.3})")
        } else {
            mean
        }
    }
}

impl Report {
    pub(super) fn new(scenario: &Scenario, splits: Vec<SplitReport>) -> Self {
        let slo = scenario.slo();
        Self {
            description: scenario.description.clone(),
            ttft_slo_ms: slo.ttft.as_secs_f64() * 1e3,
            itl_slo_ms: slo.itl.as_secs_f64() * 1e3,
            splits,
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data with string keys")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = self.splits.first().map_or(0, |split| split.runs.len());
        writeln!(f, "{}", self.description.trim_end())?;
        writeln!(
            f,
            "Good: TTFT within {} ms and mean ITL within {} ms. Mean of {seeds} {}.\n",
            self.ttft_slo_ms,
            self.itl_slo_ms,
            if seeds == 1 { "run" } else { "runs" },
        )?;
        let mut table = TextTable::new([
            "split", "req/s", "good/s", "attained", "TTFT p50", "p99 ms", "ITL mean", "p99 ms",
            "moves", "failed",
        ]);
        for split in &self.splits {
            let mean = &split.mean;
            table.push([
                split.split.clone(),
                format!("{:.2}", mean.requests_per_second),
                format!("{:.2}", mean.goodput),
                split.attainment(),
                format!("{:.0}", mean.ttft_p50_ms),
                format!("{:.0}", mean.ttft_p99_ms),
                format!("{:.2}", mean.itl_mean_ms),
                format!("{:.2}", mean.itl_p99_ms),
                format!("{}", mean.moves),
                format!("{}", mean.failed),
            ]);
        }
        table.fmt(f)
    }
}
