//! The measured rows, as the study published them.

use std::{fmt, io, path::Path};

use serde::Deserialize;

/// The 27 rows that come with the project.
const SHIPPED: &str = include_str!("../../data/study/pd_ratio_results.csv");

/// One run of the study: a fleet, its work, and what was measured. Columns that are not named here are passed over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Cell {
    pub prefill: u32,
    pub decode: u32,
    #[serde(rename = "conc")]
    pub concurrency: usize,
    /// Nominal length of the prompts.
    #[serde(rename = "isl")]
    pub prompt: u32,
    /// Outputs stop here at the latest.
    #[serde(rename = "osl")]
    pub cap: u32,
    /// When the run ended: year, month, day, a dash, and the time.
    pub date: String,
    #[serde(rename = "num_prompts")]
    pub requests: u32,
    pub total_input_tokens: u64,
    pub total_output_tokens: u64,
    pub request_throughput: f64,
    pub mean_ttft_ms: f64,
    pub median_ttft_ms: f64,
    pub mean_itl_ms: f64,
}

impl Cell {
    pub fn split(&self) -> String {
        format!("{}P{}D", self.prefill, self.decode)
    }

    pub fn mix(&self) -> String {
        format!("{}/{}", self.prompt, self.cap)
    }

    /// The day of the run: fleets were started anew on each.
    pub fn day(&self) -> &str {
        self.date.split('-').next().unwrap_or(&self.date)
    }

    pub fn name(&self) -> String {
        format!("{} {} at {}", self.split(), self.mix(), self.concurrency)
    }
}

/// Why there are no rows.
#[derive(Debug)]
pub enum TableError {
    Read(io::Error),
    /// The message has the line.
    Row(csv::Error),
    /// A row that no run can have had.
    Senseless {
        cell: String,
    },
    Empty,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Row(error) => error.fmt(f),
            Self::Senseless { cell } => write!(
                f,
                "{cell}: expected workers of both roles, clients, 1 to 1000000 requests of at least one token each way, \
                 outputs within their cap, and measured figures above 0"
            ),
            Self::Empty => f.write_str("no rows"),
        }
    }
}

impl std::error::Error for TableError {}

/// The published rows.
pub fn shipped() -> Vec<Cell> {
    parse(SHIPPED.as_bytes()).expect("the table in the binary is tested")
}

pub fn load(path: &Path) -> Result<Vec<Cell>, TableError> {
    parse(std::fs::File::open(path).map_err(TableError::Read)?)
}

/// In a fixed order: by mix, split, and falling concurrency, as the study ran them.
fn parse(from: impl io::Read) -> Result<Vec<Cell>, TableError> {
    let rows = csv::Reader::from_reader(from).into_deserialize();
    let mut cells = rows
        .collect::<Result<Vec<Cell>, _>>()
        .map_err(TableError::Row)?;
    if let Some(cell) = cells.iter().find(|cell| !makes_sense(cell)) {
        return Err(TableError::Senseless { cell: cell.name() });
    }
    cells.sort_by_key(|cell| {
        let workload = (cell.prompt, std::cmp::Reverse(cell.cap));
        (workload, cell.prefill, std::cmp::Reverse(cell.concurrency))
    });
    if cells.is_empty() {
        return Err(TableError::Empty);
    }
    Ok(cells)
}

fn makes_sense(cell: &Cell) -> bool {
    let requests = u64::from(cell.requests);
    let measured = [
        cell.request_throughput,
        cell.mean_ttft_ms,
        cell.median_ttft_ms,
        cell.mean_itl_ms,
    ];
    cell.prefill > 0
        && cell.decode > 0
        && cell.concurrency > 0
        && (1..=1_000_000).contains(&requests)
        && cell.total_input_tokens >= requests
        && (requests..=requests.saturating_mul(u64::from(cell.cap)))
            .contains(&cell.total_output_tokens)
        && measured
            .iter()
            .all(|figure| figure.is_finite() && *figure > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_published_rows_are_there() {
        let cells = shipped();
        assert_eq!(cells.len(), 27);
        assert_eq!(cells[0].name(), "1P3D 128/2048 at 128");
        assert_eq!(cells[0].day(), "20250914");
        assert!((cells[0].request_throughput - 12.77).abs() < 0.01);
    }

    #[test]
    fn rows_that_make_no_sense_are_refused() {
        let (heading, rows) = SHIPPED.split_once('\n').unwrap();
        let first = rows.lines().next().unwrap();
        for (from, to) in [
            ("1,3,", "0,3,"),
            (",500,", ",0,"),
            (",340981,", ",5,"),
            (",340981,", ",3409810000,"),
        ] {
            let text = format!("{heading}\n{}\n", first.replacen(from, to, 1));
            let refused = parse(text.as_bytes());
            assert!(
                matches!(refused, Err(TableError::Senseless { .. })),
                "{text}"
            );
        }
        assert!(matches!(parse(heading.as_bytes()), Err(TableError::Empty)));
        let text = format!("{heading}\n{}", first.replace("128", "many"));
        assert!(matches!(parse(text.as_bytes()), Err(TableError::Row(_))));
    }
}
