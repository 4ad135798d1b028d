//! Why there is no result.

use crate::{
    get::GetError,
    serve::{DatasetError, PromptError, drive::DriveError},
};
use std::{fmt, io, path::PathBuf};

#[derive(Debug)]
pub enum ServeError {
    Endpoint { path: String, backend: &'static str },
    Header(String),
    Models { url: String, error: GetError },
    NoModel { url: String },
    Prompt(PromptError),
    Dataset(DatasetError),
    Drive(DriveError),
    Signals(io::Error),
    Save { path: PathBuf, error: io::Error },
    Ceiling(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint { path, backend } => write!(
                f,
                "--endpoint {path} does not go with --backend {backend}: vllm and openai speak /v1/completions, \
                 openai-chat /v1/chat/completions, sglang /generate"
            ),
            Self::Header(name) => write!(
                f,
                "the header {name} can't be sent: names are of letters, digits and hyphens, values of visible ASCII"
            ),
            Self::Models { url, error } => write!(
                f,
                "{url}: {error}: is the server up? --model NAME needs no list of models"
            ),
            Self::NoModel { url } => {
                write!(f, "{url} lists no model: name it by --model")
            }
            Self::Prompt(error) => error.fmt(f),
            Self::Dataset(error) => error.fmt(f),
            Self::Drive(error) => error.fmt(f),
            Self::Ceiling(error) => write!(f, "the ceiling was not measured: {error}"),
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
            Self::Save { path, error } => write!(
                f,
                "cannot write {}: {error}; the summary above is all there is of this run",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ServeError {}
