//! `pd-bench sim`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{Progress, Scenario, ScenarioError, run};

#[derive(Args)]
pub struct SimArgs {
    /// What to simulate; bench/scenarios has examples
    #[arg(long, value_name = "FILE.toml")]
    scenario: PathBuf,
    /// Run with so many seeds and report the mean
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl SimArgs {
    pub fn run(self) -> Result<ExitCode, ScenarioError> {
        let scenario = Scenario::load(&self.scenario)?;
        let report = run(&scenario, self.seeds, Progress::Shown)?;
        if self.json {
            outln!("{}", report.to_json());
        } else {
            out!("{report}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
