//! How results are printed: tables for each engine and each choice of the router's measures, to be read on a terminal.

use std::fmt;

use super::{
    arms::{Measures, Planning},
    results::{ArmResult, CellResult, Contest, Results, Sustained},
    statistics::Estimate,
};
use crate::text_table::TextTable;

/// The results, to be read.
pub struct Report<'a>(pub &'a Results);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(results) = self;
        writeln!(
            f,
            "Simulated. Share of requests within TTFT {} s and mean ITL {} ms, mean of up to {} seeds. Differences are \
             the controller's,\nseed by seed, ± half the 95 % confidence interval; worst is the least favourable seed \
             against the best fixed split.",
            results.slo_ttft_s,
            results.slo_itl_s * 1e3,
            results.seeds.len()
        )?;
        let mut engines: Vec<&str> = Vec::new();
        for (cell, _) in results.contests() {
            if !engines.contains(&cell.engine.as_str()) {
                engines.push(&cell.engine);
            }
        }
        for engine in engines {
            for measures in Measures::ALL {
                let contests: Vec<_> = results
                    .contests()
                    .filter(|(cell, contest)| cell.engine == engine && contest.measures == measures)
                    .collect();
                if !contests.is_empty() {
                    write_tables(f, engine, measures, &contests)?;
                }
            }
        }
        write_sustained(f, &results.sustained)
    }
}

type Contests<'a> = [(&'a CellResult, &'a Contest)];

fn write_tables(
    f: &mut fmt::Formatter<'_>,
    engine: &str,
    measures: Measures,
    contests: &Contests,
) -> fmt::Result {
    let heading = format!(
        "Engine {engine}; of the router's measures: {}",
        measures.name()
    );
    writeln!(f, "\n{heading}\n\n{}", compared(contests))?;
    let over = |of: fn(&Contest) -> Estimate| -> Vec<_> {
        contests.iter().map(|(_, contest)| of(contest)).collect()
    };
    let over_fixed = over(|contest| contest.over_best_fixed);
    let over_threshold = over(|contest| contest.over_threshold);
    writeln!(f, "{}", Summary("the best fixed split", &over_fixed))?;
    writeln!(f, "{}", Summary("the thresholds", &over_threshold))?;
    let has_bounds = |(_, contest): &(&CellResult, &Contest)| {
        BOUNDS.iter().any(|arm| contest.arm(&arm.name()).is_some())
    };
    if contests.iter().any(has_bounds) {
        writeln!(f, "\n{heading}: what bounds it\n\n{}", bounds(contests))?;
    }
    Ok(())
}

/// The controller and its rivals.
fn compared(contests: &Contests) -> TextTable {
    let mut splits: Vec<&str> = Vec::new();
    for arm in contests.iter().flat_map(|(_, contest)| &contest.arms) {
        if arm.is_fixed() && !splits.contains(&arm.arm.as_str()) {
            splits.push(&arm.arm);
        }
    }
    let mut heading = vec!["traffic, load, away"];
    heading.extend(&splits);
    heading.extend([
        "threshold",
        "controller",
        "over best fixed",
        "over threshold",
        "worst",
        "moves",
    ]);
    let mut table = TextTable::new(heading);
    for (cell, contest) in contests {
        let fixed = splits
            .iter()
            .map(|split| contest.arm(split).map_or_else(String::new, attained));
        let attained = |planning| value(contest, planning, attained);
        let moves = |planning| value(contest, planning, |arm| format!("{:.1}", arm.moves));
        let mut row = vec![name(cell)];
        row.extend(fixed);
        row.extend([
            attained(Planning::Threshold),
            attained(Planning::Controller),
            difference(&contest.over_best_fixed),
            difference(&contest.over_threshold),
            format!("{:+.3}", contest.over_best_fixed.least),
            format!(
                "{} {}",
                moves(Planning::Threshold),
                moves(Planning::Controller)
            ),
        ]);
        table.push(row);
    }
    table
}

/// What isn't there to be had, and what is there without it.
const BOUNDS: [Planning; 5] = [
    Planning::Oracle,
    Planning::KnownLengths,
    Planning::Advise,
    Planning::AGGREGATED[0],
    Planning::AGGREGATED[1],
];

/// What could be had, and what limits the controller: attainment of requests that came while nothing moved, and of those
/// that came while something did.
fn bounds(contests: &Contests) -> TextTable {
    let mut table = TextTable::new([
        "traffic, load, away",
        "controller",
        "steady",
        "in moves",
        "away",
        "oracle",
        "regret",
        "known lengths",
        "advice",
        "aggregated",
        "at best",
    ]);
    for (cell, contest) in contests {
        let of = |planning, of: fn(&ArmResult) -> String| value(contest, planning, of);
        let [oracle, known, advice, aggregated, at_best] =
            BOUNDS.map(|planning| of(planning, attained));
        table.push([
            name(cell),
            of(Planning::Controller, attained),
            of(Planning::Controller, |arm| {
                share(arm.mean().steady_attainment)
            }),
            of(Planning::Controller, |arm| {
                share(arm.mean().transition_attainment)
            }),
            of(Planning::Controller, |arm| {
                format!("{:.0} s", arm.away_worker_seconds)
            }),
            oracle,
            of(Planning::Controller, |arm| {
                arm.regret.as_ref().map_or_else(String::new, difference)
            }),
            known,
            advice,
            aggregated,
            at_best,
        ]);
    }
    table
}

fn name(cell: &CellResult) -> String {
    format!("{} {}, {} s", cell.traffic, cell.load, cell.dark_s)
}

/// Of an arm, and nothing where it didn't run.
fn value(contest: &Contest, planning: Planning, of: impl Fn(&ArmResult) -> String) -> String {
    contest.arm(&planning.name()).map_or_else(String::new, of)
}

fn attained(arm: &ArmResult) -> String {
    format!("{:.3}", arm.attainment.mean)
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| format!("{share:.3}"))
}

fn difference(estimate: &Estimate) -> String {
    if estimate.half_width.is_finite() {
        format!("{:+.3} ±{:.3}", estimate.mean, estimate.half_width)
    } else {
        format!("{:+.3}", estimate.mean)
    }
}

fn write_sustained(f: &mut fmt::Formatter<'_>, sustained: &[Sustained]) -> fmt::Result {
    if sustained.is_empty() {
        return Ok(());
    }
    let mut table = TextTable::new(["engine, traffic, away", "measures", "arm", "load"]);
    for one in sustained {
        let load = match (one.load, one.is_open) {
            (Some(load), true) => format!("{load} or more"),
            (Some(load), false) => format!("{load:.3}"),
            (None, _) => "less than tried".to_owned(),
        };
        table.push([
            format!("{}, {}, {} s", one.engine, one.traffic, one.dark_s),
            one.measures.name(),
            one.arm.clone(),
            load,
        ]);
    }
    writeln!(
        f,
        "\nThe largest load at which nine tenths of all requests are within their targets\n\n{table}"
    )
}

/// Differences over the cells of a table.
struct Summary<'a>(&'a str, &'a [Estimate]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(rival, differences) = self;
        let mean = Estimate::of(&differences.iter().map(|one| one.mean).collect::<Vec<_>>());
        let beyond_chance = |better: bool| {
            let significant = differences.iter().filter(|one| one.is_significant());
            significant.filter(|one| (one.mean > 0.0) == better).count()
        };
        write!(
            f,
            "Against {rival}: {:+.3} in the mean of {} {}, {:+.3} in the worst; better in {} and worse in {} beyond \
             chance.",
            mean.mean,
            differences.len(),
            if differences.len() == 1 {
                "cell"
            } else {
                "cells"
            },
            mean.least,
            beyond_chance(true),
            beyond_chance(false)
        )
    }
}
