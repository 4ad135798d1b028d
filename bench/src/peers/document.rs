//! The document of what was measured: its generated part between two marks, its pictures beside it.
//!
//! What stands outside the marks is written by hand and stays.

mod cells;
mod growth;
mod picture;
mod tables;

use self::tables::Drawings;
use super::results::{Results, ResultsError};
use crate::plot::PlotError;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

const BEGIN: &str = "<!-- what pd-bench peers --report writes begins here -->\n";
const END: &str = "<!-- and ends here -->\n";

/// Why there is no document.
#[derive(Debug)]
pub enum DocumentError {
    Results(ResultsError),
    Read { path: PathBuf, error: io::Error },
    NoMarks(PathBuf),
    Written { path: PathBuf, error: io::Error },
    Picture(PlotError),
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Results(error) => error.fmt(f),
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::NoMarks(path) => write!(
                f,
                "{} does not say where the figures go; put these lines there:\n{BEGIN}{END}",
                path.display()
            ),
            Self::Written { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Self::Picture(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DocumentError {}

/// Puts a folder's results into a document, and their pictures beside it.
pub fn write(folder: &Path, document: &Path) -> Result<(), DocumentError> {
    let results = Results::read_all(folder).map_err(DocumentError::Results)?;
    let text = match fs::read_to_string(document) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("{BEGIN}{END}"),
        Err(error) => {
            return Err(DocumentError::Read {
                path: document.into(),
                error,
            });
        }
    };
    let (costs, growing) = (
        document.with_extension("svg"),
        document.with_extension("growth.svg"),
    );
    // Without the peer that all are compared with there is nothing to draw, and without ladders nothing that grows.
    let (compared, steps) = growth::split(&results);
    let (bars, panels) = (picture::groups(compared), growth::panels(steps));
    let drawings = Drawings {
        costs: (!bars.is_empty()).then_some(&costs),
        growth: (!panels.is_empty()).then_some(&growing),
    };
    let written = spliced(&text, &tables::all(&results, drawings))
        .ok_or_else(|| DocumentError::NoMarks(document.into()))?;
    fs::write(document, written).map_err(|error| DocumentError::Written {
        path: document.into(),
        error,
    })?;
    if let Some(path) = drawings.costs {
        picture::write(&bars, path).map_err(DocumentError::Picture)?;
    }
    if let Some(path) = drawings.growth {
        growth::write(&panels, path).map_err(DocumentError::Picture)?;
    }
    Ok(())
}

/// The text with what is between its marks replaced.
fn spliced(text: &str, generated: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{generated}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        let new = format!("before\n{BEGIN}new\n{END}after\n");
        assert_eq!(spliced(&text, "new\n"), Some(new));
        assert_eq!(spliced("no marks", "new\n"), None);
        assert_eq!(spliced(&format!("{END}{BEGIN}"), "new\n"), None);
    }
}
