//! What came of it: a table to read, JSON and CSV to work with.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::{
    arms::{Measures, Planning},
    grid::{Grid, Part},
    run::Row,
    statistics::Estimate,
};
use crate::{scenario::Figures, text_table::TextTable};
use policies::ratio::Split;

/// The results of one grid. All of it is simulated.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub simulated: bool,
    #[serde(skip)]
    pub part: Part,
    pub seeds: Vec<u64>,
    pub cells: Vec<CellReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct CellReport {
    pub engine: &'static str,
    pub traffic: String,
    /// A share of the best split's capacity of each kind of request; of recorded traffic, how many times as many users.
    pub load: f64,
    pub dark_s: u64,
    /// By the router's measures.
    pub contests: Vec<Contest>,
}

/// All arms with the same measures.
#[derive(Debug, Clone, Serialize)]
pub struct Contest {
    pub fresh_first: bool,
    pub migrate: bool,
    pub arms: Vec<ArmReport>,
    /// The fixed split that attains most over all seeds, which nobody knows in advance.
    pub best_fixed: String,
    /// The controller's attainment less that one's, and less the thresholds', seed by seed.
    pub over_best_fixed: Estimate,
    pub over_threshold: Estimate,
    #[serde(skip)]
    measures: Measures,
}

#[derive(Debug, Clone, Serialize)]
pub struct ArmReport {
    pub arm: String,
    pub attainment: Estimate,
    /// Means.
    pub goodput: f64,
    pub moves: f64,
    pub failed: f64,
    #[serde(skip)]
    planning: Planning,
    /// By seed.
    pub runs: Vec<Figures>,
}

impl Report {
    pub fn new(grid: &Grid, rows: &[Row]) -> Self {
        Self {
            simulated: true,
            part: grid.part,
            seeds: grid.seeds.clone(),
            cells: rows.iter().map(CellReport::new).collect(),
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data")
    }

    /// A line for each run.
    pub fn to_csv(&self) -> String {
        let mut csv =
            "engine,traffic,load,dark_s,fresh_first,migrate,arm,seed,requests,attainment,goodput,\
                       ttft_p50_ms,ttft_p99_ms,itl_mean_ms,itl_p99_ms,moves,failed\n"
                .to_owned();
        for (cell, contest, arm) in self.arms() {
            for (seed, run) in self.seeds.iter().zip(&arm.runs) {
                writeln!(
                    csv,
                    "{},{},{},{},{},{},{},{seed},{},{:.5},{:.4},{:.1},{:.1},{:.3},{:.3},{},{}",
                    cell.engine,
                    cell.traffic,
                    cell.load,
                    cell.dark_s,
                    contest.fresh_first,
                    contest.migrate,
                    arm.arm,
                    run.requests,
                    run.attainment,
                    run.goodput,
                    run.ttft_p50_ms,
                    run.ttft_p99_ms,
                    run.itl_mean_ms,
                    run.itl_p99_ms,
                    run.moves,
                    run.failed,
                )
                .expect("writing to a string doesn't fail");
            }
        }
        csv
    }

    fn arms(&self) -> impl Iterator<Item = (&CellReport, &Contest, &ArmReport)> {
        self.cells.iter().flat_map(|cell| {
            let contests = cell.contests.iter();
            contests
                .flat_map(move |contest| contest.arms.iter().map(move |arm| (cell, contest, arm)))
        })
    }

    fn contests(&self, measures: Measures) -> impl Iterator<Item = (&CellReport, &Contest)> {
        self.cells.iter().flat_map(move |cell| {
            let contests = cell.contests.iter();
            contests
                .filter(move |contest| contest.measures == measures)
                .map(move |contest| (cell, contest))
        })
    }
}

impl CellReport {
    fn new(row: &Row) -> Self {
        let mut contests: Vec<Measures> = Vec::new();
        for arm in &row.cell.arms {
            if !contests.contains(&arm.measures) {
                contests.push(arm.measures);
            }
        }
        Self {
            engine: row.cell.engine.name(),
            traffic: row.cell.traffic.name(),
            load: row.cell.load,
            dark_s: row.cell.dark.as_secs(),
            contests: contests
                .into_iter()
                .map(|measures| Contest::new(row, measures))
                .collect(),
        }
    }
}

impl Contest {
    fn new(row: &Row, measures: Measures) -> Self {
        let arms = row.cell.arms.iter().zip(&row.figures);
        let arms: Vec<_> = arms
            .filter(|(arm, _)| arm.measures == measures)
            .map(|(arm, runs)| ArmReport {
                arm: arm.name(),
                attainment: Estimate::of(&attained(runs)),
                goodput: Figures::mean(runs).goodput,
                moves: Figures::mean(runs).moves,
                failed: Figures::mean(runs).failed,
                planning: arm.planning,
                runs: runs.clone(),
            })
            .collect();
        let fixed = arms
            .iter()
            .filter(|arm| matches!(arm.planning, Planning::Fixed(_)));
        let best = fixed
            .max_by(|one, other| one.attainment.mean.total_cmp(&other.attainment.mean))
            .expect("every contest has fixed splits");
        let runs_of = |planning| {
            let arm = arms.iter().find(|arm| arm.planning == planning);
            attained(&arm.expect("every contest has both planners").runs)
        };
        let controlled = runs_of(Planning::Controller);
        Self {
            fresh_first: measures.fresh_first,
            migrate: measures.migrate,
            best_fixed: best.arm.clone(),
            over_best_fixed: Estimate::of_differences(&controlled, &attained(&best.runs)),
            over_threshold: Estimate::of_differences(&controlled, &runs_of(Planning::Threshold)),
            measures,
            arms,
        }
    }

    fn row(&self, cell: &CellReport) -> [String; 10] {
        let of = |planning: Planning| self.arms.iter().find(|arm| arm.planning == planning);
        let attained = |planning| {
            of(planning).map_or_else(String::new, |arm| format!("{:.3}", arm.attainment.mean))
        };
        let moves =
            |planning| of(planning).map_or_else(String::new, |arm| format!("{:.1}", arm.moves));
        let mut fixed = Split::all(super::arms::START.workers())
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
            difference(&self.over_best_fixed),
            difference(&self.over_threshold),
            format!("{:+.3}", self.over_best_fixed.least),
            format!(
                "{} {}",
                moves(Planning::Threshold),
                moves(Planning::Controller)
            ),
        ]
    }
}

fn attained(runs: &[Figures]) -> Vec<f64> {
    runs.iter().map(|run| run.attainment).collect()
}

fn difference(estimate: &Estimate) -> String {
    if estimate.half_width.is_finite() {
        format!("{:+.3} ±{:.3}", estimate.mean, estimate.half_width)
    } else {
        format!("{:+.3}", estimate.mean)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = self.seeds.len();
        writeln!(
            f,
            "Simulated. Share of requests within TTFT 2 s and mean ITL 25 ms, mean of {seeds} seeds. Differences are the \
             controller's,\nseed by seed, ± half the 95 % confidence interval; worst is the least favourable seed \
             against the best fixed split."
        )?;
        for engine in super::Engine::ALL {
            for measures in Measures::ALL {
                self.write_table(f, engine.name(), measures)?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn write_table(
        &self,
        f: &mut fmt::Formatter<'_>,
        engine: &str,
        measures: Measures,
    ) -> fmt::Result {
        let contests = self.contests(measures);
        let contests: Vec<_> = contests.filter(|(cell, _)| cell.engine == engine).collect();
        if contests.is_empty() {
            return Ok(());
        }
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
        for (cell, contest) in &contests {
            table.push(contest.row(cell));
        }
        writeln!(
            f,
            "\nEngine {engine}; of the router's measures: {}\n\n{table}",
            measures.name()
        )?;
        let over_fixed: Vec<_> = contests
            .iter()
            .map(|(_, contest)| contest.over_best_fixed)
            .collect();
        let over_threshold: Vec<_> = contests
            .iter()
            .map(|(_, contest)| contest.over_threshold)
            .collect();
        writeln!(f, "{}", Summary("the best fixed split", &over_fixed))?;
        writeln!(f, "{}", Summary("the thresholds", &over_threshold))
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
