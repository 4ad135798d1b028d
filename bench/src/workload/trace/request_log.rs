//! The router's own request log: one JSON object a line, one line a request.
//!
//! Other keys are passed over, so that a log which says more can be read too.

use std::io::{self, BufRead};

use serde::Deserialize;

use super::{Line, Recorded, json_lines};

#[derive(Deserialize)]
struct Row {
    /// When it arrived, in seconds since 1970.
    at: f64,
    prompt_tokens: u64,
    output_tokens: u64,
    #[serde(default)]
    cached_tokens: u64,
}

pub(super) fn read(file: impl BufRead) -> impl Iterator<Item = io::Result<Line>> {
    json_lines(file, |row: Row| {
        Recorded::new(
            row.at,
            row.prompt_tokens,
            row.cached_tokens,
            row.output_tokens,
        )
    })
}
