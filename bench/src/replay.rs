//! Decisions of a ratio controller, made again from what it wrote down.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::{fmt, process::ExitCode};

use clap::Args;
use policies::ratio::journal::{Difference, Line, Replay};

/// Differences that are told one by one.
const TOLD: u64 = 10;

#[derive(Args)]
pub struct ReplayArgs {
    /// What a router wrote under --decision-log
    file: PathBuf,
}

/// Why the decisions can't be made again.
#[derive(Debug)]
pub enum ReplayError {
    Read(PathBuf, io::Error),
    Line(u64, serde_json::Error),
    Headless(u64),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, cause) => write!(f, "cannot read {}: {cause}", path.display()),
            Self::Line(number, cause) => write!(
                f,
                "line {number} is none of a decision log: {cause}; was the file written by another version?"
            ),
            Self::Headless(number) => write!(
                f,
                "line {number} is a decision, and no line before it says who decided: the beginning of the file is \
                 missing"
            ),
        }
    }
}

impl std::error::Error for ReplayError {}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    pub decisions: u64,
    pub differences: u64,
}

impl ReplayArgs {
    pub fn run(self) -> Result<ExitCode, ReplayError> {
        let replayed = replay(&self.file, |line, difference| {
            errln!("line {line}: {}", Told(difference));
        })?;
        let Replayed {
            decisions,
            differences,
        } = replayed;
        outln!("{decisions} decisions made again, {differences} of them in another way");
        Ok(if differences == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Makes every decision of the log at `path` again. `tell` is given the first few that differ, with their lines.
pub fn replay(
    path: &Path,
    mut tell: impl FnMut(u64, &Difference),
) -> Result<Replayed, ReplayError> {
    let read = |cause| ReplayError::Read(path.to_owned(), cause);
    let file = File::open(path).map_err(read)?;
    let (mut replay, mut differences) = (Replay::default(), 0);
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(read)?;
        let line: Line =
            serde_json::from_str(&line).map_err(|cause| ReplayError::Line(number, cause))?;
        let difference = replay
            .line(&line)
            .map_err(|_| ReplayError::Headless(number))?;
        if let Some(difference) = difference {
            differences += 1;
            if differences <= TOLD {
                tell(number, &difference);
            }
        }
    }
    Ok(Replayed {
        decisions: replay.decisions(),
        differences,
    })
}

struct Told<'a>(&'a Difference);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { now, written, made } = self.0;
        let plan = |plan: &policies::ratio::Plan| {
            format!(
                "{} ({}) towards {}",
                plan.action.as_str(),
                plan.reason.as_str(),
                plan.target
            )
        };
        write!(
            f,
            "at {:.3} s it was {}, now it is {}",
            now.as_micros() as f64 / 1e6,
            plan(written),
            plan(made)
        )
    }
}
