//! How results are printed: a table for each engine and each choice of the router's measures, to be read on a terminal.

use std::fmt;

use super::{
    arms::{Measures, Planning, START},
    engines::Engine,
    results::{CellResult, Contest, Results},
    statistics::Estimate,
};
use crate::text_table::TextTable;
use policies::ratio::Split;

/// The results, to be read.
pub struct Report<'a>(pub &'a Results);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(results) = self;
        writeln!(
            f,
            "Simulated. Share of requests within TTFT {} s and mean ITL {} ms, mean of {} seeds. Differences are the \
             controller's,\nseed by seed, ± half the 95 % confidence interval; worst is the least favourable seed \
             against the best fixed split.",
            results.slo_ttft_s,
            results.slo_itl_s * 1e3,
            results.seeds.len()
        )?;
        for engine in Engine::ALL {
            for measures in Measures::ALL {
                let contests: Vec<_> = results
                    .contests()
                    .filter(|(cell, contest)| {
                        cell.engine == engine.name() && contest.measures() == measures
                    })
                    .collect();
                if !contests.is_empty() {
                    write_table(f, engine, measures, &contests)?;
                }
            }
        }
        Ok(())
    }
}

fn write_table(
    f: &mut fmt::Formatter<'_>,
    engine: Engine,
    measures: Measures,
    contests: &[(&CellResult, &Contest)],
) -> fmt::Result {
    let mut table = TextTable::new([
        "traffic, load, away",
        "1P3D",
        "2P2D",
        "3P1D",
        "threshold",
        "controller",
        "over best fixed",
        "over threshold",
        "worst",
        "moves",
    ]);
    for (cell, contest) in contests {
        table.push(row(cell, contest));
    }
    writeln!(
        f,
        "\nEngine {}; of the router's measures: {}\n\n{table}",
        engine.name(),
        measures.name()
    )?;
    let over = |of: fn(&Contest) -> Estimate| -> Vec<_> {
        contests.iter().map(|(_, contest)| of(contest)).collect()
    };
    let over_fixed = over(|contest| contest.over_best_fixed);
    let over_threshold = over(|contest| contest.over_threshold);
    writeln!(f, "{}", Summary("the best fixed split", &over_fixed))?;
    writeln!(f, "{}", Summary("the thresholds", &over_threshold))
}

fn row(cell: &CellResult, contest: &Contest) -> [String; 10] {
    let of = |planning: Planning| contest.arm(&planning.name());
    let attained = |planning| {
        of(planning).map_or_else(String::new, |arm| format!("{:.3}", arm.attainment.mean))
    };
    let moves = |planning| of(planning).map_or_else(String::new, |arm| format!("{:.1}", arm.moves));
    let mut fixed = Split::all(START.workers())
        .into_iter()
        .map(|split| attained(Planning::Fixed(split)));
    let mut next = || fixed.next().unwrap_or_default();
    [
        format!("{} {}, {} s", cell.traffic, cell.load, cell.dark_s),
        next(),
        next(),
        next(),
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
    ]
}

fn difference(estimate: &Estimate) -> String {
    if estimate.half_width.is_finite() {
        format!("{:+.3} ±{:.3}", estimate.mean, estimate.half_width)
    } else {
        format!("{:+.3}", estimate.mean)
    }
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
            "Against {rival}: {:+.3} in the mean of {} cells, {:+.3} in the worst; better in {} and worse in {} beyond \
             chance.",
            mean.mean,
            differences.len(),
            mean.least,
            beyond_chance(true),
            beyond_chance(false)
        )
    }
}
