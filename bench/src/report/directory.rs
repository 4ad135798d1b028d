//! What an experiment left in its directory, and what is missing there.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use clap::ValueEnum as _;

use super::arms;
use crate::experiment::{Arm, Grid, Part, Results, timeline::Timeline};

#[derive(Debug, Clone, PartialEq)]
pub struct Directory {
    /// Those that are there, in the order of [`Part`].
    pub parts: Vec<Results>,
    /// In the order of the arms.
    pub timelines: Vec<Timeline>,
    pub missing: Vec<Missing>,
}

/// What a report would show if it were there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub what: String,
    /// What makes it.
    pub command: String,
}

/// Why there is no report.
#[derive(Debug)]
pub enum DirectoryError {
    Read {
        path: PathBuf,
        error: io::Error,
    },
    /// Nothing of an experiment.
    Empty {
        path: PathBuf,
        command: String,
    },
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Empty { path, command } => write!(
                f,
                "{} holds no results of an experiment; make some: {command}",
                path.display()
            ),
        }
    }
}

impl std::error::Error for DirectoryError {}

impl Directory {
    pub fn read(path: &Path) -> Result<Self, DirectoryError> {
        let mut found = Self {
            parts: Vec::new(),
            timelines: read_timelines(path)?,
            missing: Vec::new(),
        };
        let mut absent = Vec::new();
        for part in Part::value_variants().iter().chain(&[Part::Scenario]) {
            let file = path.join(format!("{}.json", part.name()));
            if file.exists() {
                let results = Results::read(&file);
                let results =
                    results.map_err(|error| DirectoryError::Read { path: file, error })?;
                found.parts.push(results);
            } else if *part != Part::Scenario {
                absent.push(*part);
            }
        }
        if found.parts.is_empty() {
            return Err(DirectoryError::Empty {
                path: path.to_owned(),
                command: command(&absent, path),
            });
        }
        // Who asked about a scenario did not ask about the standard grid.
        if found.is_of_a_scenario() {
            return Ok(found);
        }
        if !absent.is_empty() {
            found.missing.push(Missing {
                what: format!("Parts that were not run: {}.", names(&absent, ", ")),
                command: command(&absent, path),
            });
        }
        found.add_what_parts_lack(path);
        Ok(found)
    }

    /// Whether there is nothing but a scenario of the user's own.
    pub fn is_of_a_scenario(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.all(|results| results.part == Part::Scenario)
    }

    /// Cells and arms of the standard grid that did not run, and the runs that would be looked at closely.
    fn add_what_parts_lack(&mut self, path: &Path) {
        for results in &self.parts {
            self.missing
                .extend(lacks(results).into_iter().map(|what| Missing {
                    what,
                    command: command(&[results.part], path),
                }));
        }
        if self.timelines.is_empty() {
            self.missing.push(Missing {
                what: "No run was recorded as it went: the timelines are missing.".to_owned(),
                command: command(&[Part::Shifting], path),
            });
        }
    }
}

/// What the standard grid of the part has besides, in words.
fn lacks(results: &Results) -> Vec<String> {
    let name = results.part.name();
    // Neither the seeds nor the trace makes a difference to which cells and arms there are.
    let grid = Grid::standard(results.part, &[], Path::new(""));
    let mut lacks = Vec::new();
    if results.cells.len() < grid.cells.len() {
        let (ran, all) = (results.cells.len(), grid.cells.len());
        lacks.push(format!("Of the part {name} {ran} of {all} cells were run."));
    }
    let mut absent: Vec<String> = Vec::new();
    for arm in grid.cells.iter().flat_map(|cell| &cell.arms).map(Arm::name) {
        let ran = results
            .contests()
            .any(|(_, contest)| contest.arm(&arm).is_some());
        if !ran && !absent.contains(&arm) {
            absent.push(arm);
        }
    }
    absent.sort_by_key(|arm| arms::place(arm));
    if !absent.is_empty() {
        lacks.push(format!(
            "The part {name} ran without: {}.",
            absent.join("; ")
        ));
    }
    lacks
}

fn command(parts: &[Part], path: &Path) -> String {
    format!(
        "pd-bench experiment --sim --part {} --out '{}'",
        names(parts, ","),
        path.display()
    )
}

fn names(parts: &[Part], between: &str) -> String {
    let names: Vec<_> = parts.iter().map(|part| part.name()).collect();
    names.join(between)
}

fn read_timelines(path: &Path) -> Result<Vec<Timeline>, DirectoryError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| DirectoryError::Read { path, error }
    };
    let mut timelines = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed(path))? {
        let file = entry.map_err(failed(path))?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("timeline-") && name.ends_with(".json") {
            let text = std::fs::read_to_string(&file).map_err(failed(&file))?;
            let timeline = serde_json::from_str(&text).map_err(io::Error::from);
            timelines.push(timeline.map_err(failed(&file))?);
        }
    }
    timelines.sort_by_key(|timeline: &Timeline| arms::place(&timeline.arm));
    Ok(timelines)
}
