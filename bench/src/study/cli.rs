//! `pd-bench seed-table`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{Assumptions, Report, StudyModel, shipped};
use crate::{
    model_file::{self, ModelError},
    plot::PlotError,
};

#[derive(Args)]
pub struct SeedTableArgs {
    /// Model of the workers, instead of the one that comes with the program
    #[arg(long, value_name = "FILE.toml")]
    model: Option<PathBuf>,
    /// Runs of each cell: which outputs are the long ones differs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// Assume that no run found its prompts in a cache
    #[arg(long)]
    no_caches: bool,
    /// Assume that no fleet had served before
    #[arg(long)]
    no_earlier_runs: bool,
    /// Folder for seed-table.json, .csv, .svg and .png
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Why there is no table.
#[derive(Debug)]
pub enum SeedTableError {
    Model(ModelError),
    Write { path: PathBuf, error: io::Error },
    Plot(PlotError),
}

impl fmt::Display for SeedTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => error.fmt(f),
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Self::Plot(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SeedTableError {}

impl SeedTableArgs {
    pub fn run(self) -> Result<ExitCode, SeedTableError> {
        let worker = model_file::load_or_default(self.model.as_deref());
        let model = StudyModel::with_fitted_stall(worker.map_err(SeedTableError::Model)?);
        let assumptions = Assumptions {
            caches: !self.no_caches,
            served_before: !self.no_earlier_runs,
        };
        let report = Report::simulate(&shipped(), &model, assumptions, self.seeds);
        outln!("{report}");
        if let Some(folder) = self.out {
            write(&report, &folder)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(report: &Report, folder: &Path) -> Result<(), SeedTableError> {
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| SeedTableError::Write { path, error })
    };
    std::fs::create_dir_all(folder).map_err(|error| SeedTableError::Write {
        path: folder.to_owned(),
        error,
    })?;
    put("seed-table.json", report.to_json() + "\n")?;
    put("seed-table.csv", report.to_csv())?;
    report
        .draw(&folder.join("seed-table"))
        .map_err(SeedTableError::Plot)
}
