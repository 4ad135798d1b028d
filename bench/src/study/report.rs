//! Measured against simulated, as a table, as CSV, as JSON and as a picture.

use std::{
    fmt::{self, Write},
    path::Path,
};

use rayon::prelude::*;
use serde::Serialize;

use super::{Accuracy, Assumptions, Cell, Conditions, Figures, StudyModel, simulate};
use crate::{
    plot::{self, PlotError},
    text_table::TextTable,
};

/// A cell, measured and simulated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    #[serde(skip)]
    pub cell: Cell,
    pub split: String,
    pub mix: String,
    pub concurrency: usize,
    pub cached: bool,
    pub stalls: bool,
    pub measured: Figures,
    /// The mean over the seeds.
    pub simulated: Figures,
    /// The least and the largest over the seeds: which outputs are the long ones decides much of it.
    pub median_ttft_range_ms: [f64; 2],
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub seeds: u64,
    pub rows: Vec<Row>,
    pub accuracy: Accuracy,
}

impl Report {
    /// Simulates every cell with the seeds 0 to `seeds` - 1, on all cores.
    pub fn simulate(
        cells: &[Cell],
        model: &StudyModel,
        assumptions: Assumptions,
        seeds: u64,
    ) -> Self {
        let rows: Vec<_> = cells
            .par_iter()
            .map(|cell| {
                let seeds = (0..seeds).into_par_iter();
                let runs = seeds.map(|seed| simulate(cell, model, assumptions, seed));
                Row::new(cell, assumptions, &runs.collect::<Vec<_>>())
            })
            .collect();
        Self {
            seeds,
            accuracy: accuracy(&rows, |_| true),
            rows,
        }
    }

    /// The errors over the cells that `of` chooses.
    pub fn accuracy(&self, of: impl Fn(&Cell) -> bool) -> Accuracy {
        accuracy(&self.rows, of)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data with string keys")
    }

    pub fn to_csv(&self) -> String {
        let mut text = String::from(
            "split,mix,concurrency,cached,stalls,measured_rps,simulated_rps,measured_mean_ttft_ms,\
             simulated_mean_ttft_ms,measured_median_ttft_ms,simulated_median_ttft_ms,measured_mean_itl_ms,\
             simulated_mean_itl_ms\n",
        );
        for row in &self.rows {
            let (measured, simulated) = (&row.measured, &row.simulated);
            let figures = [
                measured.requests_per_second,
                simulated.requests_per_second,
                measured.mean_ttft_ms,
                simulated.mean_ttft_ms,
                measured.median_ttft_ms,
                simulated.median_ttft_ms,
                measured.mean_itl_ms,
                simulated.mean_itl_ms,
            ];
            let figures = figures.map(|figure| format!("{figure:.3}")).join(",");
            let _ = writeln!(
                text,
                "{},{},{},{},{},{figures}",
                row.split, row.mix, row.concurrency, row.cached, row.stalls
            );
        }
        text
    }

    /// Writes `path` with `.svg` and with `.png`: throughput of every cell.
    pub fn draw(&self, path: &Path) -> Result<(), PlotError> {
        let group = |row: &Row| {
            let bars = vec![
                ("measured".to_owned(), row.measured.requests_per_second),
                ("simulated".to_owned(), row.simulated.requests_per_second),
            ];
            (row.cell.name(), bars)
        };
        let groups: Vec<_> = self.rows.iter().map(group).collect();
        plot::bars(
            "Throughput of the published study: split, prompt/output cap, clients",
            "requests/s",
            &groups,
            path,
        )
    }
}

fn accuracy(rows: &[Row], of: impl Fn(&Cell) -> bool) -> Accuracy {
    let chosen: Vec<_> = rows.iter().filter(|row| of(&row.cell)).collect();
    Accuracy::of(&chosen.iter().map(|row| (&row.cell, row.simulated)))
}

impl Row {
    fn new(cell: &Cell, assumptions: Assumptions, runs: &[Figures]) -> Self {
        let Conditions { cached, stalls } = Conditions::of(cell, assumptions);
        let mean =
            |of: fn(&Figures) -> f64| runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64;
        let medians = || runs.iter().map(|run| run.median_ttft_ms);
        Self {
            split: cell.split(),
            mix: cell.mix(),
            concurrency: cell.concurrency,
            cached,
            stalls,
            measured: Figures::measured(cell),
            simulated: Figures {
                requests_per_second: mean(|run| run.requests_per_second),
                mean_ttft_ms: mean(|run| run.mean_ttft_ms),
                median_ttft_ms: mean(|run| run.median_ttft_ms),
                mean_itl_ms: mean(|run| run.mean_itl_ms),
            },
            median_ttft_range_ms: [
                medians().fold(f64::INFINITY, f64::min),
                medians().fold(f64::NEG_INFINITY, f64::max),
            ],
            cell: cell.clone(),
        }
    }

    fn cells(&self) -> [String; 14] {
        let (measured, simulated) = (&self.measured, &self.simulated);
        let error = |simulated: f64, measured: f64| {
            format!("{:+.0} %", (simulated / measured - 1.0) * 100.0)
        };
        [
            format!("{} {} at {}", self.split, self.mix, self.concurrency),
            format!("{:.1}", measured.requests_per_second),
            format!("{:.1}", simulated.requests_per_second),
            error(simulated.requests_per_second, measured.requests_per_second),
            format!("{:.2}", measured.mean_itl_ms),
            format!("{:.2}", simulated.mean_itl_ms),
            error(simulated.mean_itl_ms, measured.mean_itl_ms),
            format!("{:.0}", measured.median_ttft_ms),
            format!("{:.0}", simulated.median_ttft_ms),
            format!(
                "{:.0}-{:.0}",
                self.median_ttft_range_ms[0], self.median_ttft_range_ms[1]
            ),
            format!("{:.0}", measured.mean_ttft_ms),
            format!("{:.0}", simulated.mean_ttft_ms),
            if self.cached { "yes" } else { "no" }.to_owned(),
            if self.stalls { "yes" } else { "no" }.to_owned(),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = TextTable::new([
            "measured, simulated",
            "req/s",
            "sim",
            "error",
            "ITL ms",
            "sim",
            "error",
            "TTFT p50",
            "sim",
            "seeds",
            "mean",
            "sim",
            "cached",
            "stall",
        ]);
        for row in &self.rows {
            table.push(row.cells());
        }
        writeln!(f, "{table}")?;
        self.accuracy.fmt(f)
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = TextTable::new(["error", "mean", "median", "worst"]);
        for (name, errors) in [
            ("throughput", self.throughput),
            ("mean ITL", self.mean_itl),
            ("median TTFT", self.median_ttft),
            ("mean TTFT", self.mean_ttft),
        ] {
            let percent = |error: f64| format!("{:.1} %", error * 100.0);
            table.push([
                name.to_owned(),
                percent(errors.mean),
                percent(errors.median),
                percent(errors.worst),
            ]);
        }
        table.fmt(f)
    }
}
