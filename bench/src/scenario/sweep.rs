//! All splits of a scenario with all seeds, on all cores.
//!
//! A seed's work is made once and given to every split, so that splits are compared on the same requests. Runs share
//! nothing: the result does not depend on the order in which they end.

use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use super::{Figures, Report, Scenario, ScenarioError, SplitReport};
use crate::sim;

/// Whether a bar on stderr shows how far a sweep is. On a terminal only, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Shown,
    Hidden,
}

impl Progress {
    /// A bar of `runs` steps.
    pub fn bar(self, runs: usize) -> ProgressBar {
        match self {
            Self::Hidden => ProgressBar::hidden(),
            Self::Shown => {
                let style = "{bar:40} {pos}/{len} runs, {eta} to go";
                let style = ProgressStyle::with_template(style).expect("the template is valid");
                ProgressBar::new(runs as u64).with_style(style)
            }
        }
    }
}

/// Runs `scenario` with the seeds 0 to `seeds` - 1.
pub fn run(scenario: &Scenario, seeds: u64, progress: Progress) -> Result<Report, ScenarioError> {
    let bar = progress.bar(scenario.splits.len() * seeds as usize);
    let by_seed = (0..seeds)
        .into_par_iter()
        .map(|seed| {
            let workload = scenario.workload.make(seed, &scenario.folder);
            let workload = workload.map_err(ScenarioError::Workload)?;
            let run = |split| {
                let outcome = sim::run(&scenario.setup(split, seed), &workload);
                bar.inc(1);
                Figures::of(&outcome, &scenario.slo())
            };
            Ok(scenario.splits.par_iter().copied().map(run).collect())
        })
        .collect::<Result<Vec<Vec<Figures>>, ScenarioError>>()?;
    bar.finish_and_clear();
    let splits = scenario.splits.iter().enumerate().map(|(place, split)| {
        let runs = by_seed.iter().map(|runs| runs[place]).collect();
        SplitReport::new(*split, runs)
    });
    Ok(Report::new(scenario, splits.collect()))
}
