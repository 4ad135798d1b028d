//! The tables of a run, between two marks of a document. What stands outside the marks is written by hand and stays.

use super::{
    case::{Case, Leg},
    outcome::Outcome,
    results::{Came, Promise, Results},
    turn::{Got, GotOne},
};
use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    fs, io,
    path::{Path, PathBuf},
};

const BEGIN: &str = "<!-- what pd-bench faults writes begins here -->\n";
const END: &str = "<!-- and ends here -->\n";

/// Why there is no document.
#[derive(Debug)]
pub enum DocumentError {
    Read { path: PathBuf, error: io::Error },
    NoMarks(PathBuf),
    Written { path: PathBuf, error: io::Error },
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::NoMarks(path) => write!(
                f,
                "{} does not say where the tables go; put these lines there:\n{BEGIN}{END}",
                path.display()
            ),
            Self::Written { path, error } => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DocumentError {}

/// Puts the tables of a run into a document.
pub fn write(results: &Results, document: &Path) -> Result<(), DocumentError> {
    let text = match fs::read_to_string(document) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("{BEGIN}{END}"),
        Err(error) => {
            return Err(DocumentError::Read {
                path: document.into(),
                error,
            });
        }
    };
    let written =
        spliced(&text, &tables(results)).ok_or_else(|| DocumentError::NoMarks(document.into()))?;
    fs::write(document, written).map_err(|error| DocumentError::Written {
        path: document.into(),
        error,
    })
}

fn spliced(text: &str, generated: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{generated}{END}{after}"))
}

/// What goes between the marks.
pub fn tables(results: &Results) -> String {
    let mut text = String::new();
    about(results, &mut text);
    totals(results, &mut text);
    promises(&results.promises, &mut text);
    for leg in [Leg::Prefill, Leg::Decode] {
        matrix(results, leg, &mut text);
    }
    by_endpoint(results, &mut text);
    text
}

/// A line of a table; text can always be written.
macro_rules! line {
    ($out:expr, $($text:tt)*) => { let _ = writeln!($out, $($text)*); };
}

fn about(results: &Results, out: &mut String) {
    let machine = &results.machine;
    line!(
        out,
        "\nMeasured on {}: {} cores of {}, {} GiB, Linux {}; seed {}; clients wait {} s.\n",
        results.date,
        machine.cores,
        machine.cpu,
        machine.memory_gib,
        machine.kernel,
        results.seed,
        results.limit_s
    );
    for (contender, version) in &results.versions {
        let flags = results.flags.get(contender).map(|flags| flags.join(" "));
        line!(
            out,
            "* {contender} ({version}): `{}`",
            flags.unwrap_or_default()
        );
    }
}

fn totals(results: &Results, out: &mut String) {
    line!(out, "\n### All requests of all cases\n");
    line!(
        out,
        "| router | requests | right | an error that says so | cut or no head | unreadable, garbled, or an error and then [DONE] | passes as whole or wrong | hangs | slowest right answer |"
    );
    line!(out, "|---|---|---|---|---|---|---|---|---|");
    for contender in results.contenders() {
        let answers: Vec<GotOne> = results
            .cases
            .iter()
            .filter(|row| row.contender == contender)
            .flat_map(|row| match &row.came {
                Came::Got(got) => got.as_slice(),
                Came::Failed(_) => &[],
            })
            .flat_map(|got| got.answers.iter().copied())
            .collect();
        let mut columns = [0; 6];
        for answer in &answers {
            columns[column(answer.outcome)] += 1;
        }
        let right = answers
            .iter()
            .filter(|answer| answer.outcome == Outcome::Right);
        let slowest = right.map(|answer| answer.milliseconds).max().unwrap_or(0);
        let columns = columns.map(|count: u32| count.to_string()).join(" | ");
        line!(
            out,
            "| {contender} | {} | {columns} | {} |",
            answers.len(),
            seconds(slowest)
        );
    }
}

fn column(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Right => 0,
        Outcome::Status(_) | Outcome::ErrorEvent => 1,
        Outcome::NoHead | Outcome::Cut => 2,
        Outcome::UnreadableStatus(_) | Outcome::ErrorThenDone | Outcome::Garbled => 3,
        Outcome::PassesAsWhole | Outcome::WrongText => 4,
        Outcome::Hang => 5,
    }
}

fn promises(promises: &[Promise], out: &mut String) {
    line!(
        out,
        "\n### One of two workers dead, and the other half of a pair\n"
    );
    line!(
        out,
        "| router | dead | right answers | slowest of as many with all alive | slowest with one dead | other half free after a death under way |"
    );
    line!(out, "|---|---|---|---|---|---|");
    for promise in promises {
        let dead = promise.dead;
        let free = promise.other_leg_free_ms;
        let free = free.map_or_else(|| "not within 8 s".into(), |ms| format!("{ms} ms"));
        line!(
            out,
            "| {} | {} | {} of {} | {} ms | {} | {free} |",
            promise.contender,
            promise.leg,
            dead.right,
            dead.asked,
            dead.slowest_alive_ms,
            milliseconds(dead.slowest_dead_ms, dead.right < dead.asked)
        );
    }
}

fn milliseconds(slowest: u64, some_failed: bool) -> String {
    let note = if some_failed {
        " (failed ones, too)"
    } else {
        ""
    };
    format!("{slowest} ms{note}")
}

fn matrix(results: &Results, leg: Leg, out: &mut String) {
    let contenders = results.contenders();
    let cases = Case::all();
    let mut cases = cases
        .iter()
        .filter(|case| case.leg == leg && results.cases.iter().any(|row| row.case == **case))
        .peekable();
    if cases.peek().is_none() {
        return;
    }
    line!(out, "\n### One of two {leg} workers\n");
    let heads: Vec<_> = contenders.iter().map(ToString::to_string).collect();
    line!(out, "| when | what | answers | {} |", heads.join(" | "));
    line!(out, "|---|---|---|{}", "---|".repeat(contenders.len()));
    for case in cases {
        for streamed in [true, false] {
            let cells: Vec<_> = contenders
                .iter()
                .map(|&contender| {
                    let got = results.got(*case, contender);
                    got.map_or_else(|| "not run".into(), |got| cell(&answers(got, streamed)))
                })
                .collect();
            let kind = if streamed { "streamed" } else { "whole" };
            line!(
                out,
                "| {} | {} | {kind} | {} |",
                case.moment,
                case.fault,
                cells.join(" | ")
            );
        }
    }
}

fn answers(got: &[Got], streamed: bool) -> Vec<GotOne> {
    got.iter()
        .filter(|got| got.streamed == streamed)
        .flat_map(|got| got.answers.iter().copied())
        .collect()
}

/// `12 right, 0.6 s`: how many of each outcome, and the slowest of all.
fn cell(answers: &[GotOne]) -> String {
    let mut counts: BTreeMap<Outcome, u32> = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.outcome).or_default() += 1;
    }
    let parts: Vec<_> = counts
        .iter()
        .map(|(outcome, count)| match outcome {
            Outcome::Right => format!("{count} right"),
            _ => format!("**{count} {outcome}**"),
        })
        .collect();
    let hangs = counts.contains_key(&Outcome::Hang);
    let slowest = answers.iter().map(|answer| answer.milliseconds).max();
    let than = if hangs { "> " } else { "" };
    format!(
        "{}; {than}{}",
        parts.join(", "),
        seconds(slowest.unwrap_or(0))
    )
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", milliseconds as f64 / 1e3)
}

/// The rows in which the endpoints of a router don't agree.
fn by_endpoint(results: &Results, out: &mut String) {
    let mut lines = String::new();
    for row in &results.cases {
        let Came::Got(got) = &row.came else { continue };
        for streamed in [true, false] {
            let of_kind: Vec<&Got> = got.iter().filter(|got| got.streamed == streamed).collect();
            let outcomes = |got: &Got| {
                let mut outcomes: Vec<_> = got.answers.iter().map(|one| one.outcome).collect();
                outcomes.sort_unstable();
                outcomes
            };
            if of_kind
                .windows(2)
                .all(|pair| outcomes(pair[0]) == outcomes(pair[1]))
            {
                continue;
            }
            let cells: Vec<_> = of_kind.iter().map(|got| cell(&got.answers)).collect();
            line!(
                lines,
                "| {} {} {}, {} | {} | {} |",
                row.case.leg,
                row.case.fault,
                row.case.moment,
                if streamed { "streamed" } else { "whole" },
                row.contender,
                cells.join(" | ")
            );
        }
    }
    if lines.is_empty() {
        return;
    }
    line!(out, "\n### Where a router's endpoints differ\n");
    line!(
        out,
        "| case | router | `/generate` | `/v1/completions` | `/v1/chat/completions` |"
    );
    line!(out, "|---|---|---|---|---|");
    out.push_str(&lines);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(outcome: Outcome, milliseconds: u64) -> GotOne {
        GotOne {
            outcome,
            milliseconds,
        }
    }

    #[test]
    fn a_cell_counts_every_outcome_and_says_how_long_the_slowest_took() {
        let right = [one(Outcome::Right, 510), one(Outcome::Right, 620)];
        assert_eq!(cell(&right), "2 right; 0.6 s");
        let mixed = [
            one(Outcome::Hang, 8000),
            one(Outcome::Status(502), 40),
            one(Outcome::Right, 10),
        ];
        assert_eq!(
            cell(&mixed),
            "1 right, **1 error 502**, **1 hangs**; > 8.0 s"
        );
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        let new = format!("before\n{BEGIN}new\n{END}after\n");
        assert_eq!(spliced(&text, "new\n"), Some(new));
        assert_eq!(spliced("no marks", "new\n"), None);
    }
}
