//! The Azure LLM inference traces.

use std::io::{self, Read};

use serde::Deserialize;

use super::{Line, LineError, Recorded};

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "TIMESTAMP")]
    at: String,
    #[serde(rename = "ContextTokens")]
    prompt: u64,
    #[serde(rename = "GeneratedTokens")]
    output: u64,
}

pub(super) fn read(file: impl Read) -> impl Iterator<Item = io::Result<Line>> {
    let rows = csv::Reader::from_reader(file).into_deserialize::<Row>();
    // The header is line 1, and no field has a line break in it.
    (2..).zip(rows).map(|(number, row)| {
        let read = row
            .map_err(LineError::Csv)
            .and_then(|row| Recorded::new(seconds(&row.at)?, row.prompt, 0, row.output));
        Ok((number, read))
    })
}

/// With an offset, as the traces of 2024 have it, or without, as those of 2023.
fn seconds(text: &str) -> Result<f64, LineError> {
    let moment = text.parse::<jiff::Timestamp>().or_else(|_| {
        let civil = text.parse::<jiff::civil::DateTime>()?;
        jiff::tz::TimeZone::UTC.to_timestamp(civil)
    });
    let moment = moment.map_err(|_| LineError::Time(text.to_owned()))?;
    Ok(moment.as_microsecond() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_an_offset() {
        let expected = 1_700_158_623.979_96;
        for text in [
            "2023-11-16 18:17:03.9799600",
            "2023-11-16 18:17:03.97996+00:00",
        ] {
            assert!((seconds(text).unwrap() - expected).abs() < 1e-5, "{text}");
        }
        assert!(seconds("yesterday").is_err());
    }
}
