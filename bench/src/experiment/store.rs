//! Results of single runs as files, so that an interrupted experiment goes on where it was, and parts share their runs.
//!
//! A file is named by a hash of everything that its content depends on, the program among it, which is told by a hash of
//! its own file: what another build found is not taken for what this one would find. The inputs are in the file, too, and
//! compared, so that a hash that two share does no harm.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Where runs are kept.
#[derive(Debug)]
pub struct Store {
    /// Nowhere, where nothing is to be kept.
    folder: Option<PathBuf>,
    program: u64,
    /// Whether what earlier experiments left is used.
    reuse: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    inputs: String,
    outcome: T,
}

/// Why a run can't be kept.
#[derive(Debug)]
pub struct StoreError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, error } = self;
        write!(
            f,
            "cannot keep single runs in {}: {error}; choose another --out",
            path.display()
        )
    }
}

impl std::error::Error for StoreError {}

impl Store {
    pub const fn nowhere() -> Self {
        Self {
            folder: None,
            program: 0,
            reuse: false,
        }
    }

    /// Keeps runs in `folder`, which it makes.
    pub fn open(folder: PathBuf, reuse: bool) -> Result<Self, StoreError> {
        let failed = |path: &Path, error| StoreError {
            path: path.to_owned(),
            error,
        };
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        let program = std::env::current_exe().and_then(std::fs::read);
        let program = program.map_err(|error| failed(&folder, error))?;
        Ok(Self {
            folder: Some(folder),
            program: hash_of(&program),
            reuse,
        })
    }

    /// What was found for `inputs`, where it is known; a file that can't be read is as none.
    pub fn get<T: DeserializeOwned>(&self, inputs: &str) -> Option<T> {
        let folder = self.folder.as_ref().filter(|_| self.reuse)?;
        let text = std::fs::read(self.path(folder, inputs)).ok()?;
        let kept: Kept<T> = serde_json::from_slice(&text).ok()?;
        (kept.inputs == inputs).then_some(kept.outcome)
    }

    /// Keeps what was found. The file is there whole or not at all.
    pub fn put<T: Serialize>(&self, inputs: &str, outcome: T) -> Result<(), StoreError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let kept = Kept {
            inputs: inputs.to_owned(),
            outcome,
        };
        let text = serde_json::to_vec(&kept).expect("a run is plain data with string keys");
        let path = self.path(folder, inputs);
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, text)
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(|error| StoreError { path, error })
    }

    fn path(&self, folder: &Path, inputs: &str) -> PathBuf {
        folder.join(format!("{:016x}.json", hash_of(&(self.program, inputs))))
    }
}

pub fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_by_its_inputs_and_by_no_other_program() {
        let folder = std::env::temp_dir().join(format!("pd-bench-store-{}", std::process::id()));
        let store = Store::open(folder.clone(), true).unwrap();
        store.put("one", 1.5).unwrap();
        assert_eq!(store.get("one"), Some(1.5));
        assert_eq!(store.get::<f64>("two"), None);
        let another = Store {
            program: store.program.wrapping_add(1),
            ..Store::open(folder.clone(), true).unwrap()
        };
        assert_eq!(another.get::<f64>("one"), None);
        let afresh = Store::open(folder.clone(), false).unwrap();
        assert_eq!(afresh.get::<f64>("one"), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
