//! Which cells there are, and which arms run in them.

use std::{path::Path, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    arms::{Arm, Measures, Planning, START},
    capacity::Kind,
    engines::{Engine, Fleet},
    workloads::{Shape, StudyRun, Traffic},
};

/// What arms are compared on. The same traffic and load with another time away are cells of the same requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub fleet: Fleet,
    pub traffic: Traffic,
    pub load: f64,
    /// How long a worker is away when its role changes, after its drain.
    pub dark: Duration,
    pub arms: Vec<Arm>,
    /// No more than so many of the seeds: where nothing is to be learnt from more.
    pub most_seeds: usize,
}

impl Cell {
    pub fn name(&self) -> String {
        format!(
            "{}, {}, load {}, {} s away",
            self.fleet.name,
            self.traffic.name(),
            self.load,
            self.dark.as_secs()
        )
    }

    /// Of the first of these it is shown how each arm's run went.
    pub fn is_looked_at_closely(&self) -> bool {
        let traffic = Traffic::Phases { seconds: 300 };
        let is_typical = (self.fleet.name, &self.traffic, self.dark)
            == (Engine::Calibrated.name(), &traffic, Duration::from_secs(30))
            && self.load.total_cmp(&MEASURED_APART).is_eq();
        is_typical || matches!(self.traffic, Traffic::Given(_))
    }

    pub fn has_the_requests_of(&self, other: &Self) -> bool {
        (self.fleet, &self.traffic) == (other.fleet, &other.traffic)
            && self.load.total_cmp(&other.load).is_eq()
    }

    /// Whether `arm` runs with the seed of this number. All of them are for the comparison that the experiment is about,
    /// of the controller with fixed splits and thresholds, with all that the router does.
    pub fn runs_with(&self, arm: &Arm, number: usize) -> bool {
        let is_compared = match arm.planning {
            Planning::Fixed(_) | Planning::Threshold | Planning::Controller => true,
            Planning::Advise
            | Planning::KnownLengths
            | Planning::Oracle
            | Planning::Aggregated(_) => false,
        };
        let most = if is_compared && arm.measures == Measures::EVERY {
            self.most_seeds
        } else {
            self.most_seeds.min(FEW_SEEDS)
        };
        number < most
    }
}

/// What the experiment is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Phases that take turns
    Shifting,
    /// Phases of five minutes at loads from 0.5 to 1.1
    Loads,
    /// One kind of request all the time
    Steady,
    /// A day, bursts, a slow drift, and phases in which workers die
    Varied,
    /// Recorded traffic
    Recorded,
    /// The published study's workloads
    Study,
    /// A scenario file of the user's own
    #[value(skip)]
    Scenario,
}

impl Part {
    /// What its files are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shifting => "shifting",
            Self::Loads => "loads",
            Self::Steady => "steady",
            Self::Varied => "varied",
            Self::Recorded => "recorded",
            Self::Study => "study",
            Self::Scenario => "scenario",
        }
    }
}

/// Cells to run.
#[derive(Debug, Clone)]
pub struct Grid {
    pub part: Part,
    pub cells: Vec<Cell>,
    pub seeds: Vec<u64>,
}

const DARK_SECONDS: [u64; 3] = [2, 30, 90];
const PHASE_SECONDS: [u32; 3] = [120, 300, 600];
const SHIFTING_LOADS: [f64; 3] = [0.6, MEASURED_APART, 0.9];

/// The load at which the router's measures are also tried one by one, and neither of them.
pub const MEASURED_APART: f64 = 0.8;

/// For what a fleet can sustain.
const LOADS: [f64; 7] = [0.5, 0.6, 0.7, MEASURED_APART, 0.9, 1.0, 1.1];

/// From kinds that want prefill to kinds that want decode.
const KINDS: [Kind; 5] = [
    kind(4_096, 32),
    kind(2_048, 128),
    kind(1_024, 512),
    kind(512, 1_024),
    kind(128, 2_048),
];

const STEADY_LOADS: [f64; 2] = [0.7, 0.9];

/// Times as many users as were recorded.
const USERS: [f64; 4] = [4.0, 6.0, 8.0, 10.0];

/// Clients of the study's runs.
const CLIENTS: [f64; 3] = [32.0, 64.0, 128.0];

/// Enough for an interval where arms differ by far.
pub const FEW_SEEDS: usize = 5;
/// And where traffic hardly differs by seed.
const FEWEST_SEEDS: usize = 3;

/// All arms of the standard grid have as many workers.
const WORKERS: u32 = START.workers();

const fn kind(prompt: u32, output: u32) -> Kind {
    Kind { prompt, output }
}

impl Grid {
    /// The standard grid of `part`.
    pub fn standard(part: Part, seeds: &[u64], trace: &Path) -> Self {
        let cells = match part {
            Part::Shifting => shifting(),
            Part::Loads => loads(),
            Part::Steady => steady(),
            Part::Varied => varied(),
            Part::Recorded => recorded(trace),
            Part::Study => study(),
            // Its cells are the user's.
            Part::Scenario => Vec::new(),
        };
        Self {
            part,
            cells,
            seeds: seeds.to_vec(),
        }
    }

    /// Two cells, a few seconds: that everything still runs.
    pub fn quick(seeds: &[u64]) -> Self {
        let traffic = [Traffic::Phases { seconds: 300 }];
        let mut cells = cells(&traffic, &[MEASURED_APART], &[2, 30], FEW_SEEDS, |_| {
            Arm::all_with(Measures::EVERY, WORKERS)
        });
        cells.retain(|cell| cell.fleet == Engine::Calibrated.fleet());
        Self {
            part: Part::Shifting,
            cells,
            seeds: seeds.to_vec(),
        }
    }
}

fn shifting() -> Vec<Cell> {
    let traffic = PHASE_SECONDS.map(|seconds| Traffic::Phases { seconds });
    let mut cells = cells(
        &traffic,
        &SHIFTING_LOADS,
        &DARK_SECONDS,
        usize::MAX,
        |load| {
            if load.total_cmp(&MEASURED_APART).is_ne() {
                return Arm::with_bounds(WORKERS);
            }
            Arm::with_measures_apart(WORKERS)
        },
    );
    for cell in &mut cells {
        // There is nothing to gain at this load, whatever the seed.
        if cell.load < MEASURED_APART {
            cell.most_seeds = FEW_SEEDS;
        }
    }
    cells
}

fn loads() -> Vec<Cell> {
    let traffic = [Traffic::Phases { seconds: 300 }];
    cells(&traffic, &LOADS, &[30], FEW_SEEDS, |_| {
        Arm::with_bounds(WORKERS)
    })
}

fn steady() -> Vec<Cell> {
    let traffic = KINDS.map(Traffic::Steady);
    cells(&traffic, &STEADY_LOADS, &[30], FEWEST_SEEDS, |_| {
        Arm::with_bounds(WORKERS)
    })
}

fn varied() -> Vec<Cell> {
    let mut traffic = Shape::ALL.map(Traffic::Shaped).to_vec();
    traffic.push(Traffic::Failing { seconds: 300 });
    cells(&traffic, &[MEASURED_APART], &[30], FEW_SEEDS, |_| {
        Arm::with_bounds(WORKERS)
    })
}

fn recorded(trace: &Path) -> Vec<Cell> {
    let traffic = [Traffic::Recorded(trace.to_owned())];
    cells(&traffic, &USERS, &DARK_SECONDS, FEWEST_SEEDS, |_| {
        Arm::with_bounds(WORKERS)
    })
}

/// The study's router had neither measure.
fn study() -> Vec<Cell> {
    let runs = StudyRun::MIXES.iter().flat_map(|(prompt, cap)| {
        [false, true].map(|cached| StudyRun {
            prompt: *prompt,
            cap: *cap,
            cached,
        })
    });
    let traffic: Vec<_> = runs.map(Traffic::Study).collect();
    cells(&traffic, &CLIENTS, &[30], FEWEST_SEEDS, |_| {
        let measures = [Measures::NONE, Measures::EVERY];
        measures
            .into_iter()
            .flat_map(|used| Arm::all_and_aggregated(used, WORKERS))
            .collect()
    })
}

fn cells(
    traffic: &[Traffic],
    loads: &[f64],
    dark_seconds: &[u64],
    most_seeds: usize,
    arms: impl Fn(f64) -> Vec<Arm>,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for engine in Engine::ALL {
        for traffic in traffic {
            for &load in loads {
                cells.extend(dark_seconds.iter().map(|seconds| Cell {
                    fleet: engine.fleet(),
                    traffic: traffic.clone(),
                    load,
                    dark: Duration::from_secs(*seconds),
                    arms: arms(load),
                    most_seeds,
                }));
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_grid_is_whole() {
        let sizes = [
            (Part::Shifting, 2 * 3 * 3 * 3),
            (Part::Loads, 2 * 7),
            (Part::Steady, 2 * 5 * 2),
            (Part::Varied, 2 * 4),
            (Part::Recorded, 2 * 4 * 3),
            (Part::Study, 2 * 6 * 3),
        ];
        for (part, cells) in sizes {
            let grid = Grid::standard(part, &[1, 2], Path::new("trace.csv"));
            assert_eq!(grid.cells.len(), cells, "{part:?}");
            for cell in &grid.cells {
                // Ours has its rivals beside it, with the same measures.
                for measures in Measures::ALL {
                    let mut arms = cell.arms.iter().filter(|arm| arm.measures == measures);
                    let rivals = Arm::all_with(measures, WORKERS);
                    assert!(
                        rivals.iter().all(|rival| arms.any(|arm| arm == rival))
                            || arms.next().is_none()
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_compared_has_all_seeds_where_they_differ() {
        let grid = Grid::standard(Part::Shifting, &[1], Path::new(""));
        let cell = |load: f64| {
            let mut cells = grid.cells.iter();
            cells
                .find(|cell| cell.load.total_cmp(&load).is_eq())
                .unwrap()
        };
        let arm = |planning, measures| Arm { planning, measures };
        let table = [
            (0.8, arm(Planning::Controller, Measures::EVERY), true),
            (0.8, arm(Planning::Controller, Measures::NONE), false),
            (0.8, arm(Planning::Oracle, Measures::EVERY), false),
            (0.6, arm(Planning::Controller, Measures::EVERY), false),
        ];
        for (load, arm, all) in table {
            assert!(cell(load).runs_with(&arm, FEW_SEEDS - 1));
            assert_eq!(cell(load).runs_with(&arm, FEW_SEEDS), all, "{load} {arm:?}");
        }
    }
}
