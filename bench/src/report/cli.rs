//! `pd-bench report`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{Directory, DirectoryError, document, html::html, markdown::markdown};
use crate::study::{self, Assumptions, StudyModel};
use policies::model::WorkerModel;

/// Of each of the study's runs: which outputs are the long ones differs.
const STUDY_SEEDS: u64 = 5;

#[derive(Args)]
pub struct ReportArgs {
    /// What `pd-bench experiment --out` wrote
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The page [default: DIR/report.html]
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
}

/// Why there is no report.
#[derive(Debug)]
pub enum ReportError {
    Directory(DirectoryError),
    Write { path: PathBuf, error: io::Error },
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ReportError {}

impl ReportArgs {
    pub fn run(self) -> Result<ExitCode, ReportError> {
        let directory = Directory::read(&self.directory).map_err(ReportError::Directory)?;
        let study = (!directory.is_of_a_scenario()).then(studied);
        let document = document(&directory, study.as_ref());
        let page = self
            .out
            .unwrap_or_else(|| self.directory.join("report.html"));
        write(&page, &html(&document))?;
        write(&self.directory.join("report.md"), &markdown(&document))?;
        for sentence in &document.verdict {
            outln!("{sentence}");
        }
        for missing in &directory.missing {
            outln!("{} Run {}", missing.what, missing.command);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The study's runs, by the model that the standard grid is made with.
fn studied() -> study::Report {
    let model = StudyModel::with_fitted_stall(WorkerModel::default());
    study::Report::simulate(&study::shipped(), &model, Assumptions::ALL, STUDY_SEEDS)
}

fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    let written = std::fs::write(path, text);
    written.map_err(|error| ReportError::Write {
        path: path.to_owned(),
        error,
    })?;
    outln!("Written: {}", path.display());
    Ok(())
}
