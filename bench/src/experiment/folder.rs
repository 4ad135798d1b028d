//! Where results are written: a directory, with a few files for each part.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{
    csv_table, live::results::LiveResults, picture, report::Report, results::Results,
    timeline::Timeline,
};
use crate::plot::PlotError;

/// A result directory.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// Why results could not be written.
#[derive(Debug)]
pub enum FolderError {
    Write { path: PathBuf, error: io::Error },
    Plot(PlotError),
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Self::Plot(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FolderError {}

impl Folder {
    /// Makes it where there is none.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        std::fs::create_dir_all(path).map_err(|error| FolderError::Write {
            path: path.to_owned(),
            error,
        })?;
        Ok(Self(path.to_owned()))
    }

    /// The part's results as JSON, as CSV, as text and, of phases, as a picture.
    pub fn write(&self, results: &Results) -> Result<(), FolderError> {
        let name = results.part.name();
        self.write_file(&format!("{name}.json"), &results.to_json())?;
        self.write_file(&format!("{name}.csv"), &csv_table::csv(results))?;
        self.write_file(&format!("{name}.txt"), &Report(results).to_string())?;
        picture::draw(results, &self.0.join(name)).map_err(FolderError::Plot)
    }

    /// What was played beside what was simulated.
    pub fn write_live(&self, results: &LiveResults) -> Result<(), FolderError> {
        self.write_file("live.json", &results.to_json())?;
        self.write_file("live.txt", &results.to_string())
    }

    pub fn write_timeline(&self, timeline: &Timeline) -> Result<(), FolderError> {
        let words: Vec<_> = timeline
            .arm
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        self.write_file(
            &format!("timeline-{}.json", words.join("-")),
            &timeline.to_json(),
        )
    }

    fn write_file(&self, name: &str, content: &str) -> Result<(), FolderError> {
        let path = self.0.join(name);
        std::fs::write(&path, content).map_err(|error| FolderError::Write { path, error })
    }
}
