//! What a fit to a table reports.

use std::fmt;

use policies::model::{Parameter, WorkerModel};

use super::table::{self, FITTED, TableFit};
use crate::{
    scenario::Progress,
    study::{Accuracy, Assumptions, Cell, Report, StudyModel},
    text_table::TextTable,
};

/// Runs of each cell that accuracies are computed from.
pub(super) const SEEDS: u64 = 5;

/// The concurrency that is left out for the hold-out error.
const LEFT_OUT: usize = 64;

/// About how many costs one search computes; for the bar alone.
const EXPECTED_EVALUATIONS: usize = 700;

/// A fit to all cells, and one to a part of them that predicts the rest.
#[derive(Debug, Clone)]
pub struct FitReport {
    pub all: TableFit,
    /// `None` where the table has no cells to leave out, or none but those.
    pub hold_out: Option<HoldOut>,
}

#[derive(Debug, Clone)]
pub struct HoldOut {
    /// The fit without them.
    pub model: StudyModel,
    pub in_sample: Accuracy,
    pub left_out: Report,
}

impl FitReport {
    pub fn new(
        cells: &[Cell],
        start: &StudyModel,
        assumptions: Assumptions,
        shown: Progress,
    ) -> Self {
        let bar = shown.bar(2 * EXPECTED_EVALUATIONS);
        let all = table::fit(cells, start, assumptions, &bar);
        let (left_out, rest): (Vec<_>, Vec<_>) = cells
            .iter()
            .cloned()
            .partition(|cell| cell.concurrency == LEFT_OUT);
        let hold_out = (!left_out.is_empty() && !rest.is_empty()).then(|| {
            let fit = table::fit(&rest, start, assumptions, &bar);
            HoldOut {
                model: fit.model,
                in_sample: fit.in_sample.accuracy,
                left_out: Report::simulate(&left_out, &fit.model, assumptions, SEEDS),
            }
        });
        bar.finish_and_clear();
        Self { all, hold_out }
    }

    /// The fitted worker as a model file.
    pub fn model_file(&self, source: &str, kept: impl Fn(Parameter) -> String) -> String {
        let cells = self.all.in_sample.rows.len();
        let heading = format!(
            "Timing of a worker, written by `pd-bench fit`.\n\nFitted to {cells} runs: {source}."
        );
        self.all.model.worker.to_toml(&heading, |parameter| {
            if FITTED.contains(&parameter) {
                "Fitted.".to_owned()
            } else {
                kept(parameter)
            }
        })
    }
}

fn parameters(all: &StudyModel, part: Option<&StudyModel>) -> TextTable {
    let value = |model: &WorkerModel, parameter: Parameter| format!("{:.4e}", parameter.get(model));
    let mut table = TextTable::new(["parameter (seconds)", "all runs", "without 64 clients"]);
    for parameter in FITTED {
        table.push([
            parameter
                .key()
                .1
                .trim_end_matches("_ms")
                .trim_end_matches("_us")
                .to_owned(),
            value(&all.worker, parameter),
            part.map_or(String::new(), |part| value(&part.worker, parameter)),
        ]);
    }
    table.push([
        "stall (not a worker's)".to_owned(),
        format!("{:.4e}", all.stall),
        part.map_or(String::new(), |part| format!("{:.4e}", part.stall)),
    ]);
    table
}

impl fmt::Display for FitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.hold_out.as_ref().map(|hold_out| &hold_out.model);
        writeln!(f, "{}", parameters(&self.all.model, part))?;
        writeln!(
            f,
            "Residuals, {} simulations of the table:\n",
            self.all.evaluations
        )?;
        writeln!(f, "{}", self.all.in_sample)?;
        if let Some(hold_out) = &self.hold_out {
            writeln!(
                f,
                "Fitted without the runs of {LEFT_OUT} clients, on the others:\n"
            )?;
            writeln!(f, "{}", hold_out.in_sample)?;
            writeln!(f, "On those that were left out:\n")?;
            write!(f, "{}", hold_out.left_out)?;
        }
        Ok(())
    }
}
