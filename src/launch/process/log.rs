//! A worker's log file, which the worker writes itself.
//!
//! It is opened to append, so it can be emptied under the worker: its next line goes to the new beginning. That is how
//! it is kept small (copied aside, then emptied), at the price of the lines that come between the two. Renaming it, or a
//! pipe through the router, would lose no line, and would need the worker or the router to go on working together.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::error::LaunchError;
use crate::cluster::LaunchCommand;

/// Files kept beside the one that is written.
const OLD_FILES: u32 = 4;

#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    most_bytes: u64,
}

impl Log {
    pub(super) fn new(folder: &Path, worker: &str, most_bytes: u64) -> Self {
        Self {
            path: folder.join(format!("{worker}.log")),
            most_bytes,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for a process that is about to start, after a line that says which.
    pub(super) fn open(&self, command: &LaunchCommand) -> Result<File, LaunchError> {
        let open = || {
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)?;
            writeln!(file, "adaptive-router starts: {command}")?;
            Ok(file)
        };
        open().map_err(|cause| LaunchError::Log {
            path: self.path.clone(),
            cause,
        })
    }

    /// Begins anew where the file has become too large.
    pub(super) fn rotate_if_large(&self) -> io::Result<()> {
        if self.path.metadata()?.len() <= self.most_bytes {
            return Ok(());
        }
        for age in (1..OLD_FILES).rev() {
            // There is none of this age yet.
            let _ = fs::rename(self.old(age), self.old(age + 1));
        }
        fs::copy(&self.path, self.old(1))?;
        OpenOptions::new().write(true).open(&self.path)?.set_len(0)
    }

    fn old(&self, age: u32) -> PathBuf {
        self.path.with_extension(format!("log.{age}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_begins_anew_under_its_writer_and_old_ones_are_few() {
        let folder = std::env::temp_dir().join(format!("logs-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let log = Log::new(&folder, "a", 8);
        let mut writer = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log.path())
            .unwrap();
        for round in 0..7 {
            writeln!(writer, "line {round}").unwrap();
            log.rotate_if_large().unwrap();
            writeln!(writer, "more {round}").unwrap();
            log.rotate_if_large().unwrap();
        }
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 5);
        assert_eq!(text("a.log"), "");
        assert_eq!(text("a.log.1"), "line 6\nmore 6\n");
        assert_eq!(text("a.log.4"), "line 3\nmore 3\n");
        fs::remove_dir_all(&folder).unwrap();
    }
}
