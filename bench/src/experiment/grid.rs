//! Which cells there are, and which arms run in them.

use std::{path::Path, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    arms::{Arm, Measures},
    capacity::Kind,
    engines::Engine,
    workloads::Traffic,
};

/// What arms are compared on. The same traffic and load with another time away are cells of the same requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub engine: Engine,
    pub traffic: Traffic,
    pub load: f64,
    /// How long a worker is away when its role changes, after its drain.
    pub dark: Duration,
    pub arms: Vec<Arm>,
}

impl Cell {
    pub fn name(&self) -> String {
        format!(
            "{}, {}, load {}, {} s away",
            self.engine.name(),
            self.traffic.name(),
            self.load,
            self.dark.as_secs()
        )
    }

    /// Of this one it is shown how each arm's run went.
    pub fn is_looked_at_closely(&self) -> bool {
        let traffic = Traffic::Phases { seconds: 300 };
        (self.engine, &self.traffic, self.dark)
            == (Engine::Calibrated, &traffic, Duration::from_secs(30))
            && self.load.total_cmp(&MEASURED_APART).is_eq()
    }

    pub fn has_the_requests_of(&self, other: &Self) -> bool {
        (self.engine, &self.traffic) == (other.engine, &other.traffic)
            && self.load.total_cmp(&other.load).is_eq()
    }
}

/// What the experiment is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Phases that take turns
    Shifting,
    /// One kind of request all the time
    Steady,
    /// Recorded traffic
    Recorded,
}

impl Part {
    /// What its files are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shifting => "shifting",
            Self::Steady => "steady",
            Self::Recorded => "recorded",
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
const LOADS: [f64; 3] = [0.6, 0.8, 0.9];

/// The load at which the router's measures are also tried one by one, and neither of them.
pub const MEASURED_APART: f64 = 0.8;

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

/// Where nothing shifts, seeds hardly differ.
const FEW_SEEDS: usize = 5;

const fn kind(prompt: u32, output: u32) -> Kind {
    Kind { prompt, output }
}

impl Grid {
    /// The standard grid of `part`.
    pub fn standard(part: Part, seeds: &[u64], trace: &Path) -> Self {
        let few = &seeds[..seeds.len().min(FEW_SEEDS)];
        let (cells, seeds) = match part {
            Part::Shifting => (shifting(), seeds),
            Part::Steady => (steady(), few),
            Part::Recorded => (recorded(trace), few),
        };
        Self {
            part,
            cells,
            seeds: seeds.to_vec(),
        }
    }

    /// Two cells, a few seconds: that everything still runs.
    pub fn quick(seeds: &[u64]) -> Self {
        let cells = [2, 30].map(|dark| Cell {
            engine: Engine::Calibrated,
            traffic: Traffic::Phases { seconds: 300 },
            load: 0.8,
            dark: Duration::from_secs(dark),
            arms: Arm::all_with(Measures::BOTH),
        });
        Self {
            part: Part::Shifting,
            cells: cells.into(),
            seeds: seeds.to_vec(),
        }
    }
}

fn shifting() -> Vec<Cell> {
    let traffic = PHASE_SECONDS.map(|seconds| Traffic::Phases { seconds });
    cells(&traffic, &LOADS, &DARK_SECONDS, |load| {
        let apart = load.total_cmp(&MEASURED_APART).is_eq();
        let measures: &[Measures] = if apart {
            &Measures::ALL
        } else {
            &[Measures::BOTH]
        };
        measures.iter().copied().flat_map(Arm::all_with).collect()
    })
}

fn steady() -> Vec<Cell> {
    let traffic = KINDS.map(Traffic::Steady);
    cells(&traffic, &STEADY_LOADS, &[30], |_| {
        Arm::all_with(Measures::BOTH)
    })
}

fn recorded(trace: &Path) -> Vec<Cell> {
    let traffic = [Traffic::Recorded(trace.to_owned())];
    cells(&traffic, &USERS, &DARK_SECONDS, |_| {
        Arm::all_with(Measures::BOTH)
    })
}

fn cells(
    traffic: &[Traffic],
    loads: &[f64],
    dark_seconds: &[u64],
    arms: impl Fn(f64) -> Vec<Arm>,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for engine in Engine::ALL {
        for traffic in traffic {
            for &load in loads {
                cells.extend(dark_seconds.iter().map(|seconds| Cell {
                    engine,
                    traffic: traffic.clone(),
                    load,
                    dark: Duration::from_secs(*seconds),
                    arms: arms(load),
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
            (Part::Steady, 2 * 5 * 2),
            (Part::Recorded, 2 * 4 * 3),
        ];
        for (part, cells) in sizes {
            let grid = Grid::standard(part, &[1, 2], Path::new("trace.csv"));
            assert_eq!(grid.cells.len(), cells, "{part:?}");
            for cell in &grid.cells {
                // Ours has its rivals beside it, with the same measures.
                assert!(cell.arms.len() >= 5 && cell.arms.len().is_multiple_of(5));
            }
        }
    }
}
