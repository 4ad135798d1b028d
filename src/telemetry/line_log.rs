//! A log of JSON objects, one a line, appended to a file by a thread: where the disk can't follow, lines are lost and
//! nobody is held up. Where it is full the console says so.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};

use super::Told;

/// An open log. The lines that were written reach the file when this is dropped.
pub struct LineLog {
    writer: NonBlocking,
    _flushed_at_the_end: WorkerGuard,
}

impl fmt::Debug for LineLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineLog").finish_non_exhaustive()
    }
}

/// The file can't be written.
#[derive(Debug)]
pub struct LineLogError {
    path: PathBuf,
    flag: &'static str,
    cause: io::Error,
}

impl fmt::Display for LineLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot write {}: {}; name another file with {}",
            self.path.display(),
            self.cause,
            self.flag
        )
    }
}

impl std::error::Error for LineLogError {}

impl LineLog {
    /// Appends to the file at `path`, which is made where there is none. `flag` named it.
    pub fn open(path: &Path, flag: &'static str) -> Result<Self, LineLogError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|cause| LineLogError {
            path: path.to_owned(),
            flag,
            cause,
        })?;
        let what = format!("{flag} {}", path.display());
        let (writer, guard) = tracing_appender::non_blocking(Told::new(file, what));
        Ok(Self {
            writer,
            _flushed_at_the_end: guard,
        })
    }

    /// Appends a line. `line` is numbers and names, which can always be written.
    pub fn write(&self, line: &impl Serialize) {
        let mut line = serde_json::to_vec(line).expect("numbers and names can be written");
        line.push(b'\n');
        // A full queue loses the line: see above.
        let _ = self.writer.clone().write_all(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cant_be_written_is_named() {
        let path = std::env::temp_dir().join("no-such-folder").join("x.jsonl");
        let error = LineLog::open(&path, "--request-log")
            .unwrap_err()
            .to_string();
        for part in ["no-such-folder/x.jsonl", "--request-log"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
