//! Rows and cells: how a figure is written.

use crate::peers::{
    comparison::Spread,
    contender::{Contender, Kind},
    load::Points,
    results::Results,
};
use std::{collections::BTreeSet, fmt::Write as _};

/// The contenders that any of the results has.
pub(super) fn those_of(results: &[Results], is_for: impl Fn(Kind) -> bool) -> Vec<Contender> {
    let present: BTreeSet<_> = results.iter().flat_map(Results::contenders).collect();
    present
        .into_iter()
        .filter(|contender| is_for(contender.kind()))
        .collect()
}

pub(super) fn heading(out: &mut String, first: &str, second: &str, contenders: &[Contender]) {
    let names = contenders.iter().map(|contender| contender.as_str());
    let names: Vec<_> = [first, second].into_iter().chain(names).collect();
    line(out, &format!("| {} |", names.join(" | ")));
    let marks = "---:|".repeat(contenders.len());
    line(out, &format!("|---|---|{marks}"));
}

pub(super) fn row(
    out: &mut String,
    results: &Results,
    second: &str,
    contenders: &[Contender],
    cell: impl Fn(Contender) -> Option<String>,
) {
    let cells = contenders
        .iter()
        .map(|&contender| cell(contender).unwrap_or_else(|| "–".into()));
    let cells: Vec<_> = cells.collect();
    let about = format!("`{}`: {}", results.scenario, results.about);
    line(
        out,
        &format!("| {about} | {second} | {} |", cells.join(" | ")),
    );
}

pub(super) fn with_ratio(
    spread: Spread,
    ratio: Option<Spread>,
    contender: Contender,
    digits: usize,
) -> String {
    let ratio = match (contender, ratio) {
        (Contender::SglangRouter, _) | (_, None) => String::new(),
        (_, Some(ratio)) => format!(" **×{:.2}**", ratio.median),
    };
    format!("{}{ratio}", ranged(spread, digits))
}

pub(super) fn ranged(spread: Spread, digits: usize) -> String {
    let Spread {
        median,
        least,
        most,
    } = spread;
    if least < most {
        format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
    } else {
        // One round has no range.
        format!("{median:.digits$}")
    }
}

/// A whole number with its thousands set apart.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(super) fn p50(points: Option<Points>) -> Option<f64> {
    Some(points?.p50_us)
}

pub(super) fn p99(points: Option<Points>) -> Option<f64> {
    Some(points?.p99_us)
}

pub(super) fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a String takes every text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let table = [
            (0.4, "0"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
    }
}
