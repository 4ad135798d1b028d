//! The figures as tables.

use super::{
    arms::{self, AGGREGATED, AGGREGATED_AT_BEST, CONTROLLER, KNOWN_LENGTHS, ORACLE, THRESHOLD},
    directory::Directory,
    document::{Entry, Table, Tone},
    duels::{Rival, Tally, duels, with_most_measures},
    sustained::{Ladder, in_words, ladders, times},
    verdict::signed_points,
};
use crate::{
    experiment::{
        Measures, Results,
        results::{ArmResult, CellResult, Contest},
        statistics::Estimate,
    },
    scenario::Figures,
    study,
};

const NOTHING: &str = "–";

/// The controller against each rival that ran, over all cells with all of the router's measures.
pub fn rivals(parts: &[Results]) -> Option<Table> {
    let splits = fixed_splits(parts);
    let fixed = splits
        .iter()
        .map(|split| (format!("{split} throughout"), Rival::Arm(split)));
    let others = [
        ("thresholds", Rival::Arm(THRESHOLD)),
        ("aggregated serving", Rival::Arm(AGGREGATED)),
        ("aggregated serving at best", Rival::Arm(AGGREGATED_AT_BEST)),
        ("the oracle, which knows what comes", Rival::Arm(ORACLE)),
    ];
    let others = others.map(|(name, rival)| (name.to_owned(), rival));
    let best = (
        "the best fixed split of each cell".to_owned(),
        Rival::BestFixed,
    );
    let rivals = std::iter::once(best).chain(fixed).chain(others);
    let rows: Vec<_> = rivals
        .filter_map(|(name, rival)| {
            let mut duels = duels(parts, rival);
            duels.retain(super::duels::Duel::has_every_measure);
            let tally = Tally::of(&duels)?;
            Some(vec![
                name.into(),
                tally.cells().to_string().into(),
                counted(tally.wins, Tone::Better),
                tally.even.to_string().into(),
                counted(tally.loses, Tone::Worse),
                signed_points(tally.mean).into(),
                signed_points(tally.least.over.mean).into(),
                tally.least.place().into(),
            ])
        })
        .collect();
    (!rows.is_empty()).then(|| Table {
        title: "The controller's share of requests in time, less its rival's, in points".to_owned(),
        heading: heading(&[
            "against",
            "cells",
            "ahead",
            "even",
            "behind",
            "mean",
            "worst",
            "worst where",
        ]),
        rows,
    })
}

/// All that ran, in the order in which they are shown.
fn fixed_splits(parts: &[Results]) -> Vec<&str> {
    let arms = parts.iter().flat_map(Results::arms).map(|(.., arm)| arm);
    let mut splits: Vec<_> = arms
        .filter(|arm| arm.is_fixed())
        .map(|arm| arm.arm.as_str())
        .collect();
    splits.sort_by_key(|split| arms::place(split));
    splits.dedup();
    splits
}

fn counted(number: usize, tone: Tone) -> Entry {
    Entry {
        text: number.to_string(),
        tone: if number > 0 { tone } else { Tone::Plain },
    }
}

/// The largest load with nine of ten requests in time.
pub fn sustained(parts: &[Results]) -> Option<Table> {
    let ladders = ladders(parts);
    let rows: Vec<_> = ladders.iter().filter_map(sustained_row).collect();
    (!rows.is_empty()).then(|| Table {
        title: "The largest load at which nine of ten requests are in time, between loads in proportion"
            .to_owned(),
        heading: heading(&[
            "engine, traffic, away",
            "best fixed",
            "threshold",
            "controller",
            "oracle",
            "controller / best fixed",
        ]),
        rows,
    })
}

fn sustained_row(ladder: &Ladder) -> Option<Vec<Entry>> {
    let controller = ladder.sustained(CONTROLLER)?;
    let fixed = ladder.best_fixed()?;
    // Of several that take the largest load that was tried none is known to be the best.
    let best = if fixed.is_open {
        in_words(fixed)
    } else {
        format!("{} ({})", in_words(fixed), fixed.arm)
    };
    let of = |arm| Entry::from(ladder.sustained(arm).map_or(NOTHING.to_owned(), in_words));
    Some(vec![
        format!("{}, {}, {} s", ladder.engine, ladder.traffic, ladder.dark_s).into(),
        best.into(),
        of(THRESHOLD),
        in_words(controller).into(),
        of(ORACLE),
        times(controller, fixed)
            .unwrap_or(NOTHING.to_owned())
            .into(),
    ])
}

/// A table for each engine, with the same measures throughout: attainment by arm, and the controller's differences.
pub fn contests(results: &Results, measures: Measures) -> Vec<Table> {
    let mut engines: Vec<&str> = Vec::new();
    for cell in &results.cells {
        if !engines.contains(&cell.engine.as_str()) {
            engines.push(&cell.engine);
        }
    }
    let tables = engines.into_iter().map(|engine| {
        let of_measures = results
            .contests()
            .filter(|(_, contest)| contest.measures == measures);
        let chosen: Vec<_> = of_measures
            .filter(|(cell, _)| cell.engine == engine)
            .collect();
        contest_table(engine, measures, results, &chosen)
    });
    tables.flatten().collect()
}

fn contest_table(
    engine: &str,
    measures: Measures,
    results: &Results,
    contests: &[(&CellResult, &Contest)],
) -> Option<Table> {
    let mut names: Vec<&str> = Vec::new();
    for (_, contest) in contests {
        for arm in &contest.arms {
            if !names.contains(&arm.arm.as_str()) {
                names.push(&arm.arm);
            }
        }
    }
    names.sort_by_key(|name| arms::place(name));
    let has_oracle = names.contains(&ORACLE);
    let mut columns = vec!["traffic, load, away"];
    columns.extend(names.iter().map(|name| arms::short_name(name)));
    columns.extend(["over best fixed", "over threshold"]);
    if has_oracle {
        columns.push("regret");
    }
    columns.push("moves");
    let rows: Vec<_> = contests
        .iter()
        .map(|(cell, contest)| contest_row(cell, contest, &names, has_oracle))
        .collect();
    (!rows.is_empty()).then(|| Table {
        title: format!(
            "Part {}, engine {engine}, the router's measures: {}",
            results.part.name(),
            measures.name()
        ),
        heading: heading(&columns),
        rows,
    })
}

fn contest_row(
    cell: &CellResult,
    contest: &Contest,
    names: &[&str],
    has_oracle: bool,
) -> Vec<Entry> {
    let best = contest
        .arms
        .iter()
        .filter(|arm| ![ORACLE, KNOWN_LENGTHS].contains(&arm.arm.as_str()))
        .max_by(|one, other| one.attainment.mean.total_cmp(&other.attainment.mean))
        .map(|arm| arm.arm.as_str());
    let attained = names.iter().map(|name| Entry {
        text: contest.arm(name).map_or(NOTHING.to_owned(), |arm| {
            format!("{:.3}", arm.attainment.mean)
        }),
        tone: if best == Some(*name) {
            Tone::Best
        } else {
            Tone::Plain
        },
    });
    let controller = contest.arm(CONTROLLER);
    let mut row = vec![format!("{}, {}, {} s", cell.traffic, cell.load, cell.dark_s).into()];
    row.extend(attained);
    row.extend([
        difference(&contest.over_best_fixed),
        difference(&contest.over_threshold),
    ]);
    if has_oracle {
        let regret = controller.and_then(|arm| arm.regret);
        row.push(regret.map_or(NOTHING.into(), |regret| with_interval(&regret).into()));
    }
    row.push(controller.map_or(NOTHING.into(), |arm| format!("{:.1}", arm.moves).into()));
    row
}

/// In points, with a sign for those who don't see colours.
fn difference(estimate: &Estimate) -> Entry {
    let (sign, tone) = match (estimate.is_significant(), estimate.mean > 0.0) {
        (false, _) => ("", Tone::Plain),
        (true, true) => ("▲ ", Tone::Better),
        (true, false) => ("▼ ", Tone::Worse),
    };
    Entry {
        text: format!("{sign}{}", with_interval(estimate)),
        tone,
    }
}

fn with_interval(estimate: &Estimate) -> String {
    let mean = signed_points(estimate.mean);
    if estimate.half_width.is_finite() {
        format!("{mean} ±{:.1}", 100.0 * estimate.half_width)
    } else {
        mean
    }
}

/// Latencies, moves and failures of every arm in one cell.
pub fn close_look(cell: &CellResult, contest: &Contest) -> Table {
    let mut arms: Vec<&ArmResult> = contest.arms.iter().collect();
    arms.sort_by_key(|arm| arms::place(&arm.arm));
    let rows = arms.into_iter().map(|arm| {
        let mean = Figures::mean(&arm.runs);
        let triple = |times: [f64; 3]| Entry::from(times.map(three_digits).join(" / "));
        // Where no request is late there is nothing to say of how late.
        let seconds = |millis: [f64; 3]| match millis[2] {
            0.0 => NOTHING.into(),
            _ => triple(millis.map(|millis| millis / 1000.0)),
        };
        let share = |share: Option<f64>| {
            share.map_or(NOTHING.into(), |share| Entry::from(format!("{share:.3}")))
        };
        vec![
            arm.arm.as_str().into(),
            format!("{:.3}", arm.attainment.mean).into(),
            share(mean.steady_attainment),
            share(mean.transition_attainment),
            format!("{:.2}", arm.goodput).into(),
            seconds([mean.ttft_p50_ms, mean.ttft_p90_ms, mean.ttft_p99_ms]),
            seconds([
                mean.late_ttft_p50_ms,
                mean.late_ttft_p90_ms,
                mean.late_ttft_p99_ms,
            ]),
            triple([mean.itl_p50_ms, mean.itl_p90_ms, mean.itl_p99_ms]),
            format!("{:.1}", arm.moves).into(),
            format!("{:.0}", arm.away_worker_seconds).into(),
            format!("{:.1}", arm.failed).into(),
        ]
    });
    Table {
        title: format!(
            "{}, {}, load {}, {} s away; the router's measures: {}. Times are p50 / p90 / p99, means over the seeds",
            cell.engine,
            cell.traffic,
            cell.load,
            cell.dark_s,
            contest.measures.name()
        ),
        heading: heading(&[
            "arm",
            "in time",
            "in steady windows",
            "around changes",
            "good req/s",
            "TTFT, s",
            "TTFT of late requests, s",
            "ITL, ms",
            "moves",
            "worker s away",
            "failed",
        ]),
        rows: rows.collect(),
    }
}

fn three_digits(time: f64) -> String {
    let decimals = match time {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{time:.decimals$}")
}

/// What the study measured beside what the simulator makes of the same runs.
pub fn study(report: &study::Report) -> Table {
    let rows = report.rows.iter().map(|row| {
        let (measured, simulated) = (&row.measured, &row.simulated);
        let error = |simulated: f64, measured: f64| {
            Entry::from(format!("{:+.0} %", 100.0 * (simulated / measured - 1.0)))
        };
        vec![
            format!("{} {} at {}", row.split, row.mix, row.concurrency).into(),
            format!("{:.1}", measured.requests_per_second).into(),
            format!("{:.1}", simulated.requests_per_second).into(),
            error(simulated.requests_per_second, measured.requests_per_second),
            format!("{:.2}", measured.mean_itl_ms).into(),
            format!("{:.2}", simulated.mean_itl_ms).into(),
            error(simulated.mean_itl_ms, measured.mean_itl_ms),
            format!("{:.0}", measured.median_ttft_ms).into(),
            format!("{:.0}", simulated.median_ttft_ms).into(),
            if row.cached { "yes" } else { "no" }.into(),
        ]
    });
    Table {
        title: "The published study's runs: split, prompt / output cap, clients".to_owned(),
        heading: heading(&[
            "run",
            "req/s measured",
            "simulated",
            "error",
            "ITL ms measured",
            "simulated",
            "error",
            "TTFT p50 ms measured",
            "simulated",
            "prompts cached",
        ]),
        rows: rows.collect(),
    }
}

/// The cell whose runs were recorded as they went, or else the first that shifts; with all measures if it has them.
pub fn looked_at(directory: &Directory) -> Option<(&Results, &CellResult, &Contest)> {
    let cells = || {
        let parts = directory.parts.iter();
        parts.flat_map(|results| results.cells.iter().map(move |cell| (results, cell)))
    };
    let recorded = directory.timelines.first().and_then(|timeline| {
        cells().find(|(_, cell)| {
            (&cell.engine, &cell.traffic, cell.dark_s)
                == (&timeline.engine, &timeline.traffic, timeline.dark_s)
                && cell.load.total_cmp(&timeline.load).is_eq()
        })
    });
    let shifting = || cells().find(|(_, cell)| cell.phase_seconds.is_some());
    let (results, cell) = recorded.or_else(shifting).or_else(|| cells().next())?;
    Some((results, cell, with_most_measures(cell)?))
}

fn heading(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}
