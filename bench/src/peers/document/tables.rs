//! The tables, as Markdown.

use super::cells::{grouped, heading, line, p50, p99, ranged, row, those_of, with_ratio};
use super::growth;
use crate::peers::{
    comparison,
    contender::{Contender, Kind},
    results::{Figures, Outcome, Results},
    scenario::Unit,
    table::main_figure,
};
use std::{collections::BTreeSet, path::Path};

/// What is read of a turn.
type Read = fn(&Figures) -> Option<f64>;

/// A latency: how it is called, how it is read, and whether the workers' own part is taken off.
struct Latency {
    scenario: &'static str,
    name: &'static str,
    read: Read,
    added: bool,
}

const LATENCIES: [Latency; 9] = [
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
        name: "the same, p99 of a tenth of a second, median",
        read: |figures| figures.on_the_way_p99_of_a_slice,
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

/// The pictures that the document shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Drawings<'a> {
    pub costs: Option<&'a Path>,
    pub growth: Option<&'a Path>,
}

/// Everything that is generated, of all results.
pub(super) fn all(results: &[Results], drawings: Drawings<'_>) -> String {
    let (compared, steps) = growth::split(results);
    let mut out = comparison_of(compared, drawings.costs);
    if !steps.is_empty() {
        line(&mut out, "\n### As it grows\n");
        if let Some(name) = drawings.growth.and_then(Path::file_name) {
            let name = name.to_string_lossy();
            line(&mut out, &format!("![What it costs as it grows]({name})\n"));
        }
        growth::table(&mut out, steps);
    }
    line(&mut out, "\n### Answers\n");
    answers(&mut out, results);
    line(&mut out, "\n### Where it was measured\n");
    origin(&mut out, results);
    out
}

fn comparison_of(results: &[Results], drawing: Option<&Path>) -> String {
    let mut out = String::new();
    if let Some(name) = drawing.and_then(Path::file_name) {
        let name = name.to_string_lossy();
        line(&mut out, &format!("![Cost of a unit of work]({name})\n"));
    }
    line(&mut out, "### Cost\n");
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
    line(
        &mut out,
        "\n### With nothing to do\n\nThe part of a core that is used before there is a load, in hundredths.\n",
    );
    idle(&mut out, results);
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
    let figures: [(&str, Read); 3] = [
        ("before the streams", |figures| {
            Some(mib(figures.held?.before_kib))
        }),
        ("with all of them", |figures| {
            Some(mib(figures.held?.after_kib))
        }),
        ("peak", |figures| figures.peak_kib.map(mib)),
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

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
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

fn idle(out: &mut String, results: &[Results]) {
    let contenders = those_of(results, |kind| kind != Kind::Nobody);
    heading(out, "scenario", "figure", &contenders);
    let many_workers = ["chat", "workers-64", "workers-1000"];
    for results in results
        .iter()
        .filter(|results| many_workers.contains(&results.scenario.as_str()))
    {
        row(out, results, "% of a core", &contenders, |contender| {
            let idle = comparison::spread(results, contender, |figures| figures.idle)?;
            Some(format!("{:.2}", 100.0 * idle.median))
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
