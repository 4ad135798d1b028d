//! `pd-bench fit`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use policies::model::{Parameter, WorkerModel};

use super::{
    loads::{self, LoadsError},
    report::FitReport,
    table,
};
use crate::{
    model_file::{self, ModelError},
    scenario::Progress,
    study::{self, Assumptions, TableError},
};

#[derive(Args)]
pub struct FitArgs {
    /// Measured runs, as columns of bench/data/study/pd_ratio_results.csv
    #[arg(long, value_name = "FILE.csv", required_unless_present = "loads")]
    results: Option<PathBuf>,
    /// Recorded /v1/loads answers, one a line; several workers told apart by a member "worker"
    #[arg(long, value_name = "LOG.jsonl", conflicts_with_all = ["results", "no_caches", "no_earlier_runs"])]
    loads: Option<PathBuf>,
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
    Read { path: PathBuf, error: io::Error },
    Loads { path: PathBuf, error: LoadsError },
    Model(ModelError),
    Write { path: PathBuf, error: io::Error },
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Loads { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Model(error) => error.fmt(f),
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for FitError {}

impl FitArgs {
    pub fn run(self) -> Result<ExitCode, FitError> {
        let worker = model_file::load_or_default(self.model.as_deref()).map_err(FitError::Model)?;
        let file = match (&self.loads, &self.results) {
            (Some(log), _) => self.to_loads(log, worker)?,
            (None, Some(results)) => self.to_results(results, worker)?,
            (None, None) => unreachable!("one of them is required"),
        };
        if let Some(path) = &self.out {
            write(path, &file)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Prints the fit. Answers with the model file.
    fn to_loads(&self, log: &Path, worker: WorkerModel) -> Result<String, FitError> {
        let text = std::fs::read_to_string(log).map_err(|error| FitError::Read {
            path: log.to_owned(),
            error,
        })?;
        let fit = loads::fit(&text, worker).map_err(|error| FitError::Loads {
            path: log.to_owned(),
            error,
        })?;
        out!("{fit}");
        let kept = |parameter| kept(parameter, self.model.as_deref());
        Ok(fit.model_file(&log.display().to_string(), kept))
    }

    /// Prints the fit. Answers with the model file.
    fn to_results(&self, results: &Path, worker: WorkerModel) -> Result<String, FitError> {
        let cells = study::load(results).map_err(|error| FitError::Table {
            path: results.to_owned(),
            error,
        })?;
        let assumptions = Assumptions {
            caches: !self.no_caches,
            served_before: !self.no_earlier_runs,
        };
        let start = table::start(worker);
        let report = FitReport::new(&cells, &start, assumptions, Progress::Shown);
        out!("{report}");
        let kept = |parameter| kept(parameter, self.model.as_deref());
        Ok(report.model_file(&results.display().to_string(), kept))
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
        Parameter::WarmUpPerRequest => "None: the study's runs don't show one of a single worker.",
        Parameter::BatchBase
        | Parameter::PerToken
        | Parameter::CachedCost
        | Parameter::TransferBase
        | Parameter::TransferPerToken
        | Parameter::StepBase
        | Parameter::PerSequence
        | Parameter::ArrivalPerToken => "As in the model that comes with the program.",
    }
    .to_owned()
}
