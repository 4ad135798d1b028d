//! The tables, as Markdown.

use crate::peers::{
    comparison::{self, Spread},
    contender::{Contender, Kind},
    load::Points,
    results::{Figures, Outcome, Results},
    scenario::Unit,
    table::main_figure,
};
use std::{collections::BTreeSet, fmt::Write as _, path::Path};

/// What is read of a turn.
type Read = fn(&Figures) -> Option<f64>;

/// A latency: how it is called, how it is read, and whether the workers' own part is taken off.
struct Latency {
    scenario: &'static str,
    name: &'static str,
    read: Read,
    added: bool,
}

const LATENCIES: [Latency; 8] = [
    Latency {
        scenario: "alone",
        name: "whole answer, p50, added",
        read: |figures| p50(figures.whole),
        added: true,
    },
    Latency {
        scenario: "alone",
        name: "whole answer, p99, added",
        read: |figures| p99(figures.whole),
        added: true,
    },
    Latency {
        scenario: "alone-stream",
        name: "TTFT on a kept connection, p50, added",
        read: |figures| p50(figures.first_token),
        added: true,
    },
    Latency {
        scenario: "alone-stream",
        name: "TTFT on a kept connection, p99, added",
        read: |figures| p99(figures.first_token),
        added: true,
    },
    Latency {
        scenario: "paced",
        name: "a token's way from worker to client, p50",
        read: |figures| p50(figures.on_the_way),
        added: false,
    },
    Latency {
        scenario: "paced",
        name: "a token's way from worker to client, p99",
        read: |figures| p99(figures.on_the_way),
        added: false,
    },
    Latency {
        scenario: "paced",
        name: "ITL (20 ms from the worker), p50, added",
        read: |figures| p50(figures.between_tokens),
        added: true,
    },
    Latency {
        scenario: "paced",
        name: "ITL (20 ms from the worker), p99, added",
        read: |figures| p99(figures.between_tokens),
        added: true,
    },
];

/// Everything that is generated.
pub(super) fn all(results: &[Results], drawing: &Path) -> String {
    let mut out = String::new();
    let name = drawing.file_name().unwrap_or_default().to_string_lossy();
    line(&mut out, &format!("![Cost of a unit of work]({name})"));
    line(&mut out, "\n### Cost\n");
    line(
        &mut out,
        &format!(
            "Median of the rounds (least to most), and ×, the median of each round's ratio to {}.\n",
            Contender::REFERENCE
        ),
    );
    costs(&mut out, results);
    line(&mut out, "\n### Latency, µs\n");
    latencies(&mut out, results);
    line(&mut out, "\n### Memory, MiB\n");
    memory(&mut out, results);
    line(&mut out, "\n### What came through\n");
    line(
        &mut out,
        "Units a second, and in brackets the part of a core that the contender had. `direct` is the load straight to the \
         workers: how far both are from their own limit.\n",
    );
    throughput(&mut out, results);
    line(&mut out, "\n### Answers\n");
    answers(&mut out, results);
    line(&mut out, "\n### Where it was measured\n");
    origin(&mut out, results);
    out
}

fn costs(out: &mut String, results: &[Results]) {
    let contenders = those_of(results, |kind| kind != Kind::Nobody);
    heading(out, "scenario", "unit", &contenders);
    for results in results {
        let unit = match results.unit {
            Unit::Request => "CPU µs a request",
            Unit::Event => "CPU µs an event",
            Unit::Stream => "KiB a stream",
        };
        let digits = match results.unit {
            Unit::Request => 0,
            Unit::Event => 2,
            Unit::Stream => 1,
        };
        row(out, results, unit, &contenders, |contender| {
            let spread = comparison::spread(results, contender, main_figure)?;
            let ratio = comparison::ratio(results, contender, Contender::REFERENCE, main_figure);
            Some(with_ratio(spread, ratio, contender, digits))
        });
    }
}

fn latencies(out: &mut String, results: &[Results]) {
    let contenders = those_of(results, |_| true);
    heading(out, "scenario", "figure", &contenders);
    for latency in &LATENCIES {
        let Some(results) = results
            .iter()
            .find(|results| results.scenario == latency.scenario)
        else {
            continue;
        };
        row(out, results, latency.name, &contenders, |contender| {
            let spread = if latency.added {
                comparison::added(results, contender, latency.read)
            } else {
                comparison::spread(results, contender, latency.read)
            };
            match contender {
                Contender::Direct if latency.added => {
                    let own = comparison::spread(results, contender, latency.read)?;
                    Some(format!("({:.0})", own.median))
                }
                Contender::Direct
                | Contender::AdaptiveRouter
                | Contender::SglangRouter
                | Contender::Smg
                | Contender::Nginx
                | Contender::Haproxy => Some(ranged(spread?, 0)),
            }
        });
    }
}

fn memory(out: &mut String, results: &[Results]) {
    let contenders = those_of(results, |kind| kind != Kind::Nobody);
    heading(out, "scenario", "figure", &contenders);
    let mib = |kib: u64| kib as f64 / 1024.0;
    let figures: [(&str, Box<dyn Fn(&Figures) -> Option<f64>>); 3] = [
        (
            "before the streams",
            Box::new(move |figures| Some(mib(figures.held?.before_kib))),
        ),
        (
            "with all of them",
            Box::new(move |figures| Some(mib(figures.held?.after_kib))),
        ),
        ("peak", Box::new(move |figures| figures.peak_kib.map(mib))),
    ];
    for results in results {
        for (name, read) in &figures {
            let some = |contender: &Contender| comparison::spread(results, *contender, read);
            if !contenders.iter().any(|contender| some(contender).is_some()) {
                continue;
            }
            row(out, results, name, &contenders, |contender| {
                Some(format!("{:.0}", some(&contender)?.median))
            });
        }
    }
}

fn throughput(out: &mut String, results: &[Results]) {
    let contenders = those_of(results, |_| true);
    heading(out, "scenario", "unit", &contenders);
    for results in results
        .iter()
        .filter(|results| results.unit != Unit::Stream)
    {
        let unit = match results.unit {
            Unit::Request | Unit::Stream => "requests/s",
            Unit::Event => "events/s",
        };
        row(out, results, unit, &contenders, |contender| {
            let read: Read = |figures| Some(figures.units_per_second());
            let units = comparison::spread(results, contender, read)?;
            let busy = comparison::spread(results, contender, Figures::busy);
            let busy = busy.map_or_else(String::new, |busy| format!(" [{:.2}]", busy.median));
            Some(format!("{}{busy}", grouped(units.median)))
        });
    }
}

fn answers(out: &mut String, results: &[Results]) {
    let turns = || {
        results.iter().flat_map(|results| {
            let turns = results.turns.iter();
            turns.map(|turn| (results.scenario.as_str(), turn))
        })
    };
    let right: u64 = turns()
        .map(|(_, turn)| match &turn.outcome {
            Outcome::Figures(figures) => figures.right,
            Outcome::Failed(_) => 0,
        })
        .sum();
    line(
        out,
        &format!(
            "{} answers were checked to their end and right: the prompt's own, every token once and in its place, the \
             finish reason, `[DONE]`.",
            grouped(right as f64)
        ),
    );
    for (scenario, turn) in turns() {
        let (contender, round) = (turn.contender, turn.round + 1);
        match &turn.outcome {
            Outcome::Figures(figures) => {
                for (failure, count) in &figures.failures {
                    let what =
                        format!("- {scenario}, {contender}, round {round}: {count} × {failure}");
                    line(out, &what);
                }
            }
            Outcome::Failed(why) => line(
                out,
                &format!("- {scenario}, {contender}, round {round}: no figures: {why}"),
            ),
        }
    }
}

fn origin(out: &mut String, results: &[Results]) {
    let distinct = |of: &dyn Fn(&Results) -> Vec<String>| {
        let all: BTreeSet<_> = results.iter().flat_map(of).collect();
        all.into_iter().collect::<Vec<_>>().join("; ")
    };
    let machines = distinct(&|results| {
        let machine = &results.machine;
        vec![format!(
            "{}, {} cores, {} GiB, Linux {}",
            machine.cpu, machine.cores, machine.memory_gib, machine.kernel
        )]
    });
    let versions = distinct(&|results| {
        let versions = results.versions.iter();
        versions
            .map(|(contender, version)| format!("{contender} ({version})"))
            .collect()
    });
    let plans = distinct(&|results| {
        let cores = if results.pinned {
            "the contender on a core of its own"
        } else {
            "cores left to the system"
        };
        vec![format!(
            "{} rounds of {} s, seed {}, {cores}",
            results.rounds, results.window_s, results.seed
        )]
    });
    line(
        out,
        &format!("- {}", distinct(&|results| vec![results.date.clone()])),
    );
    line(out, &format!("- {machines}"));
    line(out, &format!("- {versions}"));
    line(out, &format!("- {plans}"));
    let skipped = distinct(&|results| {
        let skipped = results.skipped.iter();
        skipped
            .map(|(contender, hint)| format!("{contender} {hint}"))
            .collect()
    });
    if !skipped.is_empty() {
        line(out, &format!("- left out: {skipped}"));
    }
}

/// The contenders that any of the results has.
fn those_of(results: &[Results], is_for: impl Fn(Kind) -> bool) -> Vec<Contender> {
    let present: BTreeSet<_> = results.iter().flat_map(Results::contenders).collect();
    present
        .into_iter()
        .filter(|contender| is_for(contender.kind()))
        .collect()
}

fn heading(out: &mut String, first: &str, second: &str, contenders: &[Contender]) {
    let names = contenders.iter().map(|contender| contender.as_str());
    let names: Vec<_> = [first, second].into_iter().chain(names).collect();
    line(out, &format!("| {} |", names.join(" | ")));
    let marks = "---:|".repeat(contenders.len());
    line(out, &format!("|---|---|{marks}"));
}

fn row(
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

fn with_ratio(
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

fn ranged(spread: Spread, digits: usize) -> String {
    let Spread {
        median,
        least,
        most,
    } = spread;
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}

/// A whole number with its thousands set apart.
fn grouped(number: f64) -> String {
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

fn p50(points: Option<Points>) -> Option<f64> {
    Some(points?.p50_us)
}

fn p99(points: Option<Points>) -> Option<f64> {
    Some(points?.p99_us)
}

fn line(out: &mut String, text: &str) {
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
