//! `pd-bench experiment`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{
    grid::{Grid, Part},
    picture,
    report::Report,
    run::run,
};
use crate::{plot::PlotError, scenario::Progress, workload::WorkloadError};

#[derive(Args)]
pub struct ExperimentArgs {
    /// In virtual time
    #[arg(long, required = true)]
    sim: bool,
    /// What to compare on
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "shifting,steady"
    )]
    part: Vec<Part>,
    /// Two cells and few seeds, in seconds: that everything still runs
    #[arg(long)]
    quick: bool,
    /// Seeds; where nothing shifts, at most five of them [default: 20, or 3 if quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 101)]
    first_seed: u64,
    /// Only cells whose name contains this, such as "clean, phases of 5 min, load 0.8"
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// The traffic of the part "recorded"
    #[arg(
        long,
        value_name = "FILE",
        default_value = "bench/data/traces/azure-code-2023-excerpt.csv"
    )]
    trace: PathBuf,
    /// Where to write: PREFIX-PART, as .txt, .json, .csv, and a picture as .svg and .png
    #[arg(long, value_name = "PREFIX", default_value = "experiment")]
    out: PathBuf,
}

/// Why there is no result.
#[derive(Debug)]
pub enum ExperimentError {
    NoCell(String),
    Workload(WorkloadError),
    Write { path: PathBuf, error: io::Error },
    Plot(PlotError),
}

impl fmt::Display for ExperimentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCell(text) => write!(
                f,
                "--only: no cell has '{text}' in its name; names are such as 'clean, phases of 5 min, load 0.8, 30 s away'"
            ),
            Self::Workload(error) => error.fmt(f),
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Self::Plot(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ExperimentError {}

impl ExperimentArgs {
    pub fn run(self) -> Result<ExitCode, ExperimentError> {
        let grids = self.grids()?;
        for grid in grids {
            let rows = run(&grid, Progress::Shown).map_err(ExperimentError::Workload)?;
            let report = Report::new(&grid, &rows);
            print!("{report}");
            self.write(&report)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn grids(&self) -> Result<Vec<Grid>, ExperimentError> {
        let count = self.seeds.unwrap_or(if self.quick { 3 } else { 20 });
        let seeds: Vec<_> = (self.first_seed..).take(count as usize).collect();
        let mut grids: Vec<_> = if self.quick {
            vec![Grid::quick(&seeds)]
        } else {
            let parts = self.part.iter();
            parts
                .map(|part| Grid::standard(*part, &seeds, &self.trace))
                .collect()
        };
        if let Some(text) = &self.only {
            for grid in &mut grids {
                grid.cells.retain(|cell| cell.name().contains(text));
            }
            grids.retain(|grid| !grid.cells.is_empty());
            if grids.is_empty() {
                return Err(ExperimentError::NoCell(text.clone()));
            }
        }
        Ok(grids)
    }

    fn write(&self, report: &Report) -> Result<(), ExperimentError> {
        let part = match report.part {
            Part::Shifting => "shifting",
            Part::Steady => "steady",
            Part::Recorded => "recorded",
        };
        let prefix = with_suffix(&self.out, &format!("-{part}"));
        for (extension, content) in [
            (".txt", report.to_string()),
            (".json", report.to_json()),
            (".csv", report.to_csv()),
        ] {
            let path = with_suffix(&prefix, extension);
            std::fs::write(&path, content)
                .map_err(|error| ExperimentError::Write { path, error })?;
        }
        println!("\nWritten: {0}.txt, {0}.json and {0}.csv", prefix.display());
        let drawn = picture::draw(report, prefix).map_err(ExperimentError::Plot)?;
        if let Some(picture) = drawn {
            println!("Written: {0}.svg and {0}.png", picture.display());
        }
        Ok(())
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
