//! `pd-bench fit`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use policies::model::Parameter;

use super::{report::FitReport, table};
use crate::{
    model_file::{self, ModelError},
    scenario::Progress,
    study::{self, Assumptions, TableError},
};

#[derive(Args)]
pub struct FitArgs {
    /// Measured runs, as columns of bench/data/study/pd_ratio_results.csv
    #[arg(long, value_name = "FILE.csv")]
    results: PathBuf,
    /// Model to begin with, instead of the one that comes with the program
    #[arg(long, value_name = "FILE.toml")]
    model: Option<PathBuf>,
    /// Assume that no run found its prompts in a cache
    #[arg(long)]
    no_caches: bool,
    /// Assume that no fleet had served before
    #[arg(long)]
    no_earlier_runs: bool,
    /// Where to write the fitted model
    #[arg(long, value_name = "MODEL.toml")]
    out: Option<PathBuf>,
}

/// Why there is no fit.
#[derive(Debug)]
pub enum FitError {
    Table { path: PathBuf, error: TableError },
    Model(ModelError),
    Write { path: PathBuf, error: io::Error },
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Model(error) => error.fmt(f),
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for FitError {}

impl FitArgs {
    pub fn run(self) -> Result<ExitCode, FitError> {
        let cells = study::load(&self.results).map_err(|error| FitError::Table {
            path: self.results.clone(),
            error,
        })?;
        let worker = model_file::load_or_default(self.model.as_deref()).map_err(FitError::Model)?;
        let assumptions = Assumptions {
            caches: !self.no_caches,
            served_before: !self.no_earlier_runs,
        };
        let start = table::start(worker);
        let report = FitReport::new(&cells, &start, assumptions, Progress::Shown);
        print!("{report}");
        if let Some(path) = &self.out {
            let source = self.results.display().to_string();
            let kept = |parameter| kept(parameter, self.model.as_deref());
            write(path, &report.model_file(&source, kept))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(path: &Path, text: &str) -> Result<(), FitError> {
    std::fs::write(path, text).map_err(|error| FitError::Write {
        path: path.to_owned(),
        error,
    })
}

/// Where a parameter is from that the fit leaves as it was.
fn kept(parameter: Parameter, begun_with: Option<&Path>) -> String {
    if let Some(path) = begun_with {
        return format!("Kept from {}.", path.display());
    }
    match parameter {
        Parameter::MaxBatchTokens => "SGLang's chunked prefill size.",
        Parameter::PerKvToken | Parameter::KvPoolTokens => {
            "Set by hand to agree with one of the study's runs on prompts of 32k tokens."
        }
        Parameter::MaxRunning => "Assumed: twice what the study ran.",
        Parameter::WarmUpPerRequest | Parameter::ArrivalPerToken => {
            "None: the study's runs don't show one of a single worker."
        }
        Parameter::BatchBase
        | Parameter::PerToken
        | Parameter::CachedCost
        | Parameter::TransferBase
        | Parameter::TransferPerToken
        | Parameter::StepBase
        | Parameter::PerSequence => "Not fitted.",
    }
    .to_owned()
}
