//! What came of an experiment, in full: what is written as JSON, and what reports are made of.

mod sustained;

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    arms::{Measures, Planning, SLO},
    grid::{Grid, Part},
    run::Row,
    statistics::Estimate,
};
use crate::scenario::Figures;
use policies::ratio::Split;

/// The results of one grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// In virtual time.
    pub simulated: bool,
    pub part: Part,
    /// A cell may have been run with the first of them only.
    pub seeds: Vec<u64>,
    /// What a good request keeps: its time to first token, and its mean time between tokens.
    pub slo_ttft_s: f64,
    pub slo_itl_s: f64,
    pub cells: Vec<CellResult>,
    /// Where the same traffic came at four loads or more.
    #[serde(default)]
    pub sustained: Vec<Sustained>,
}

/// The largest load at which an arm keeps nine tenths of all requests within their targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sustained {
    pub engine: String,
    pub traffic: String,
    pub dark_s: u64,
    #[serde(flatten)]
    pub measures: Measures,
    pub arm: String,
    /// Between two loads in proportion; `None` where the lowest is too much already.
    pub load: Option<f64>,
    /// Whether even the highest load was no more than it can take, so that it might take more.
    pub is_open: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    pub engine: String,
    pub traffic: String,
    /// How long one kind of request lasts, where kinds take turns.
    pub phase_seconds: Option<u32>,
    /// A share of the best split's capacity of each kind of request; of recorded traffic, how many times as many users; 1
    /// of a scenario.
    pub load: f64,
    /// How long a worker is away when its role changes, after its drain.
    pub dark_s: u64,
    /// By the router's measures.
    pub contests: Vec<Contest>,
}

/// All arms with the same measures of the router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contest {
    #[serde(flatten)]
    pub measures: Measures,
    /// The fixed split that attains most over all seeds, which nobody knows in advance.
    pub best_fixed: String,
    pub arms: Vec<ArmResult>,
    /// The controller's attainment less that one's, and less the thresholds', seed by seed.
    pub over_best_fixed: Estimate,
    pub over_threshold: Estimate,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmResult {
    pub arm: String,
    pub attainment: Estimate,
    /// Its attainment less that of the best fixed split, seed by seed.
    pub over_best_fixed: Estimate,
    /// The oracle's attainment less its own, seed by seed; `None` where no oracle ran.
    pub regret: Option<Estimate>,
    /// Means over the seeds.
    pub goodput: f64,
    pub moves: f64,
    pub failed: f64,
    pub away_worker_seconds: f64,
    /// By seed.
    pub runs: Vec<Figures>,
}

impl Results {
    pub fn new(grid: &Grid, rows: &[Row]) -> Self {
        let cells: Vec<_> = rows.iter().map(CellResult::new).collect();
        let slo = grid.cells.first().map_or(SLO, |cell| cell.fleet.slo);
        Self {
            simulated: true,
            part: grid.part,
            seeds: grid.seeds.clone(),
            slo_ttft_s: slo.ttft.as_secs_f64(),
            slo_itl_s: slo.itl.as_secs_f64(),
            sustained: sustained::all(&cells),
            cells,
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("results are plain data with string keys")
    }

    /// Reads what [`Self::to_json`] wrote to `path`.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    }

    /// Every arm with where it ran.
    pub fn arms(&self) -> impl Iterator<Item = (&CellResult, &Contest, &ArmResult)> {
        self.contests()
            .flat_map(|(cell, contest)| contest.arms.iter().map(move |arm| (cell, contest, arm)))
    }

    pub fn contests(&self) -> impl Iterator<Item = (&CellResult, &Contest)> {
        let cells = self.cells.iter();
        cells.flat_map(|cell| cell.contests.iter().map(move |contest| (cell, contest)))
    }
}

impl CellResult {
    fn new(row: &Row) -> Self {
        let mut measures: Vec<Measures> = Vec::new();
        for arm in &row.cell.arms {
            if !measures.contains(&arm.measures) {
                measures.push(arm.measures);
            }
        }
        let contests = measures.into_iter();
        Self {
            engine: row.cell.fleet.name.to_owned(),
            traffic: row.cell.traffic.name(),
            phase_seconds: row.cell.traffic.phase_seconds(),
            load: row.cell.load,
            dark_s: row.cell.dark.as_secs(),
            contests: contests.map(|used| Contest::new(row, used)).collect(),
        }
    }
}

impl Contest {
    fn new(row: &Row, measures: Measures) -> Self {
        let arms = row.cell.arms.iter().zip(&row.runs);
        let of_contest: Vec<(_, Vec<Figures>)> = arms
            .filter(|(arm, _)| arm.measures == measures)
            .map(|(arm, runs)| (arm.planning, runs.iter().map(|run| run.figures).collect()))
            .collect();
        let find = |wanted| of_contest.iter().find(|(planning, _)| *planning == wanted);
        let mean = |runs: &[Figures]| Figures::mean(runs).attainment;
        let fixed = of_contest
            .iter()
            .filter(|(planning, _)| planning.is_fixed());
        let (best, best_runs) = fixed
            .max_by(|(_, one), (_, other)| mean(one).total_cmp(&mean(other)))
            .expect("every contest has fixed splits");
        let runs_of =
            |wanted: Planning| attained(&find(wanted).expect("every contest has both planners").1);
        let controlled = runs_of(Planning::Controller);
        let best_attained = attained(best_runs);
        let oracle = find(Planning::Oracle).map(|(_, runs)| attained(runs));
        let results = of_contest.iter().map(|(planning, runs)| {
            ArmResult::new(planning.name(), runs, &best_attained, oracle.as_deref())
        });
        Self {
            measures,
            best_fixed: best.name(),
            over_best_fixed: Estimate::of_differences(&controlled, &best_attained),
            over_threshold: Estimate::of_differences(&controlled, &runs_of(Planning::Threshold)),
            arms: results.collect(),
        }
    }

    pub fn arm(&self, name: &str) -> Option<&ArmResult> {
        self.arms.iter().find(|arm| arm.arm == name)
    }
}

impl ArmResult {
    fn new(arm: String, runs: &[Figures], best_fixed: &[f64], oracle: Option<&[f64]>) -> Self {
        let mean = Figures::mean(runs);
        let attained = attained(runs);
        Self {
            arm,
            attainment: Estimate::of(&attained),
            over_best_fixed: Estimate::of_differences(&attained, best_fixed),
            regret: oracle.map(|oracle| Estimate::of_differences(oracle, &attained)),
            goodput: mean.goodput,
            moves: mean.moves,
            failed: mean.failed,
            away_worker_seconds: mean.away_worker_seconds,
            runs: runs.to_vec(),
        }
    }

    /// Every figure's mean over the seeds.
    pub fn mean(&self) -> Figures {
        Figures::mean(&self.runs)
    }

    /// Whether it is a split that stays.
    pub fn is_fixed(&self) -> bool {
        self.arm.parse::<Split>().is_ok()
    }
}

fn attained(runs: &[Figures]) -> Vec<f64> {
    runs.iter().map(|run| run.attainment).collect()
}
