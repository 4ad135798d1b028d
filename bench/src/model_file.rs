//! Model files on disk; what is in them is [`policies::model`]'s matter.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use policies::model::{ModelFileError, WorkerModel};

/// Why there is no model.
#[derive(Debug)]
pub enum ModelError {
    Read {
        path: PathBuf,
        error: io::Error,
    },
    Parse {
        path: PathBuf,
        error: ModelFileError,
    },
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Parse { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ModelError {}

pub fn load(path: &Path) -> Result<WorkerModel, ModelError> {
    let text = std::fs::read_to_string(path).map_err(|error| ModelError::Read {
        path: path.to_owned(),
        error,
    })?;
    WorkerModel::from_toml(&text).map_err(|error| ModelError::Parse {
        path: path.to_owned(),
        error,
    })
}

/// For a flag that names a model file.
pub fn from_flag(path: &str) -> Result<WorkerModel, String> {
    load(Path::new(path)).map_err(|error| error.to_string())
}

/// The shipped model where no file is named.
pub fn load_or_default(path: Option<&Path>) -> Result<WorkerModel, ModelError> {
    path.map_or_else(|| Ok(WorkerModel::default()), load)
}

#[cfg(test)]
mod tests {
    use super::*;
    use policies::model::Parameter;

    fn shipped(name: &str) -> WorkerModel {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        load(&folder.join(name)).unwrap()
    }

    #[test]
    fn the_default_is_the_model_file_that_comes_with_the_project() {
        let file = shipped("h200-gpt-oss-120b-tp2.toml");
        for parameter in Parameter::ALL {
            let [file, default] = [&file, &WorkerModel::default()].map(|one| parameter.get(one));
            assert!(
                (file - default).abs() <= 1e-9 * default,
                "{parameter:?}: {file} {default}"
            );
        }
    }

    #[test]
    fn an_error_names_the_file() {
        let error = load(Path::new("/nonexistent/model.toml")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/model.toml"));
    }
}
