//! Runs that were played, as files: whoever is interrupted goes on where it was.
//!
//! A run takes minutes, and of real workers many of their GPUs' time, so unlike a simulated one it is not played anew
//! because this program is another one. Everything else that it depends on is in the file and compared.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{LiveError, play::Played};
use crate::experiment::arms::Arm;

#[derive(Deserialize)]
struct Kept {
    inputs: String,
    played: Played,
}

#[derive(Serialize)]
struct ToKeep<'a> {
    inputs: &'a str,
    played: &'a Played,
}

/// The run of these inputs, where it is there whole.
pub(super) fn get(out: &Path, arm: &Arm, seed: u64, inputs: &str) -> Option<Played> {
    let text = std::fs::read(path(out, arm, seed)).ok()?;
    let kept: Kept = serde_json::from_slice(&text).ok()?;
    (kept.inputs == inputs).then_some(kept.played)
}

/// The file is there whole or not at all.
pub(super) fn put(
    out: &Path,
    arm: &Arm,
    seed: u64,
    (inputs, played): (&str, &Played),
) -> Result<(), LiveError> {
    let text = serde_json::to_vec(&ToKeep { inputs, played });
    let text = text.expect("a run is plain data with string keys");
    let path = path(out, arm, seed);
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text)
        .and_then(|()| std::fs::rename(&unfinished, &path))
        .map_err(|error| LiveError::Write { path, error })
}

fn path(out: &Path, arm: &Arm, seed: u64) -> PathBuf {
    out.join(format!("played-{}-{seed}.json", arm.name()))
}
