//! A scenario's figures for a terminal.

use super::{
    comparison::{self, Spread},
    contender::Contender,
    results::{Figures, Results},
};
use crate::text_table::TextTable;

/// What a terminal shows of a contender, with how it is read and how it is written.
type Column = (&'static str, fn(&Figures) -> Option<f64>, usize);

const COLUMNS: [Column; 14] = [
    ("CPU us/unit", Figures::cpu_micros_per_unit, 2),
    ("units/s", |figures| Some(figures.units_per_second()), 0),
    ("busy", Figures::busy, 2),
    ("idle", |figures| figures.idle, 3),
    ("p50 us", |figures| Some(figures.whole?.p50_us), 0),
    ("p99 us", |figures| Some(figures.whole?.p99_us), 0),
    ("TTFT p50", |figures| Some(figures.first_token?.p50_us), 0),
    ("ITL p50", |figures| Some(figures.between_tokens?.p50_us), 0),
    ("ITL p99", |figures| Some(figures.between_tokens?.p99_us), 0),
    ("way p50", |figures| Some(figures.on_the_way?.p50_us), 0),
    ("way p99", |figures| Some(figures.on_the_way?.p99_us), 0),
    ("slice p99", |figures| figures.on_the_way_p99_of_a_slice, 0),
    ("KiB/stream", Figures::kib_per_stream, 1),
    ("failed", |figures| Some(figures.failed() as f64), 0),
];

/// The medians of the rounds so far; columns without a figure are left out.
pub fn of(results: &Results) -> String {
    let contenders = results.contenders();
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .filter(|(_, figure, _)| {
            let mut all = contenders.iter();
            all.any(|&contender| comparison::spread(results, contender, figure).is_some())
        })
        .collect();
    let mut heading = vec![String::new()];
    heading.extend(columns.iter().map(|(name, _, _)| (*name).to_owned()));
    heading.push("x".into());
    let mut table = TextTable::of(heading);
    for contender in contenders {
        let mut row = vec![contender.to_string()];
        row.extend(columns.iter().map(|(_, figure, digits)| {
            let spread = comparison::spread(results, contender, figure);
            median(spread, *digits)
        }));
        let reference = Contender::REFERENCE;
        let ratio = comparison::ratio(results, contender, reference, main_figure);
        row.push(median(ratio, 2));
        table.row(row);
    }
    let rounds = results.rounds;
    format!(
        "{} ({}), medians of {rounds}; x: cost as a multiple of {}'s\n{table}",
        results.scenario,
        results.about,
        Contender::REFERENCE
    )
}

/// What a scenario is about: memory where streams are held, else CPU.
pub fn main_figure(figures: &Figures) -> Option<f64> {
    figures
        .kib_per_stream()
        .or_else(|| figures.cpu_micros_per_unit())
}

fn median(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "-".into(),
        |spread| format!("{:.digits$}", spread.median),
    )
}
