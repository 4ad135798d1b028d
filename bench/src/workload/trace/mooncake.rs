//! Mooncake's traces.

use std::io::{self, BufRead};

use serde::Deserialize;

use super::{Line, Recorded, json_lines, prefix_cache::PrefixCache};

#[derive(Deserialize)]
struct Row {
    /// Milliseconds.
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

pub(super) fn read(
    file: impl BufRead,
    cache_blocks: usize,
) -> impl Iterator<Item = io::Result<Line>> {
    let mut cache = PrefixCache::new(cache_blocks);
    json_lines(file, move |row: Row| {
        let cached = cache.take(&row.hash_ids);
        let at = row.timestamp / 1e3;
        Recorded::new(at, row.input_length, cached, row.output_length)
    })
}
