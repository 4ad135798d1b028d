//! `pd-bench experiment`, in virtual time or by the clock.

mod of_live;

use std::{convert::Infallible, fmt, path::PathBuf, process::ExitCode};

use clap::{ArgGroup, Args};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::of_live::LiveArgs;
use super::{
    folder::{Folder, FolderError},
    given::{self, GivenError},
    grid::{FEW_SEEDS, Grid, Part},
    live::{self, LiveError},
    report::Report,
    results::Results,
    run::{RunError, run},
    store::{Store, StoreError},
};
use crate::scenario::Progress;

#[derive(Args)]
#[command(group(ArgGroup::new("time").required(true).args(["sim", "live"])))]
pub struct ExperimentArgs {
    /// In virtual time
    #[arg(long)]
    sim: bool,
    /// By the clock, through a router in front of the workers of --cluster, and simulated beside it
    #[arg(long, requires = "cluster")]
    live: bool,
    /// What to compare on
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "shifting,loads,steady,varied,recorded,study"
    )]
    part: Vec<Part>,
    /// A scenario of your own, as `pd-bench sim` reads it, under every arm; instead of the standard grid
    #[arg(
        long,
        value_name = "FILE.toml",
        conflicts_with_all = ["live", "part", "quick", "trace"]
    )]
    scenario: Option<PathBuf>,
    /// Two cells and few seeds, in seconds: that everything still runs
    #[arg(long)]
    quick: bool,
    /// Seeds; three to five of them at most where arms differ by far or traffic hardly does [default: 20, or 3 if quick,
    /// 5 of a scenario, or 1 if live]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 101)]
    first_seed: u64,
    /// Only cells whose name contains this, such as "clean, phases of 5 min, load 0.8"
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// The traffic of the part "recorded"
    #[arg(
        long,
        value_name = "FILE",
        default_value = "bench/data/traces/azure-code-2023-excerpt.csv"
    )]
    trace: PathBuf,
    /// Run everything anew; else runs are reused that this very program has kept in DIR/runs, or that were played before
    #[arg(long)]
    fresh: bool,
    /// The directory to write to: a part's results as .txt, .json and .csv, a picture, and how single runs went
    #[arg(long, value_name = "DIR", default_value = "experiment")]
    out: PathBuf,
    #[command(flatten)]
    of_live: LiveArgs,
}

/// Why there is no result.
#[derive(Debug)]
pub enum ExperimentError {
    NoCell(String),
    NoTrace(PathBuf, std::io::Error),
    Given(GivenError),
    Run(RunError),
    Store(StoreError),
    Folder(FolderError),
    Live(LiveError),
    Signals(std::io::Error),
}

impl fmt::Display for ExperimentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCell(text) => write!(
                f,
                "--only: no cell has '{text}' in its name; names are such as 'clean, phases of 5 min, load 0.8, 30 s away'"
            ),
            Self::NoTrace(path, error) => write!(
                f,
                "cannot read {}: {error}; name a recording with --trace, run this in the project's folder, or leave \
                 'recorded' out of --part",
                path.display()
            ),
            Self::Given(error) => error.fmt(f),
            Self::Run(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Folder(error) => error.fmt(f),
            Self::Live(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
        }
    }
}

impl std::error::Error for ExperimentError {}

impl ExperimentArgs {
    pub async fn run(self) -> Result<ExitCode, ExperimentError> {
        let folder = Folder::open(&self.out).map_err(ExperimentError::Folder)?;
        if self.live {
            self.play(&folder).await
        } else {
            self.simulate(&folder)
        }
    }

    fn simulate(&self, folder: &Folder) -> Result<ExitCode, ExperimentError> {
        let grids = self.grids()?;
        let store = Store::open(self.out.join("runs"), !self.fresh);
        let store = store.map_err(ExperimentError::Store)?;
        for grid in grids {
            let done = run(&grid, &store, Progress::Shown).map_err(ExperimentError::Run)?;
            let results = Results::new(&grid, &done.rows);
            out!("{}", Report(&results));
            folder.write(&results).map_err(ExperimentError::Folder)?;
            for timeline in &done.timelines {
                let written = folder.write_timeline(timeline);
                written.map_err(ExperimentError::Folder)?;
            }
            let name = results.part.name();
            outln!("\nWritten: {}, the files {name}.*", self.out.display());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Ctrl-C and SIGTERM end it in order: the router that runs takes its workers along.
    async fn play(self, folder: &Folder) -> Result<ExitCode, ExperimentError> {
        let seeds = seeds(self.first_seed, self.seeds.unwrap_or(1));
        let plan = self.of_live.plan(seeds, !self.fresh, &self.out);
        let stop = CancellationToken::new();
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ExperimentError::Signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(ExperimentError::Signals)?;
        let told = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stop.cancel();
            std::future::pending::<Infallible>().await
        };
        let results = tokio::select! {
            results = live::run(&plan, Progress::Shown, stop.clone()) => results,
            never = told => match never {},
        };
        let results = results.map_err(ExperimentError::Live)?;
        outln!("{results}");
        folder
            .write_live(&results)
            .map_err(ExperimentError::Folder)?;
        outln!("Written: {}, live.json and live.txt", self.out.display());
        Ok(ExitCode::SUCCESS)
    }

    fn grids(&self) -> Result<Vec<Grid>, ExperimentError> {
        let count = self.seeds.unwrap_or(match (&self.scenario, self.quick) {
            (Some(_), _) => FEW_SEEDS as u64,
            (None, true) => 3,
            (None, false) => 20,
        });
        let seeds = seeds(self.first_seed, count);
        let mut grids: Vec<_> = if let Some(path) = &self.scenario {
            vec![given::grid(path, &seeds).map_err(ExperimentError::Given)?]
        } else if self.quick {
            vec![Grid::quick(&seeds)]
        } else {
            // Before the other parts have taken minutes, and not when its turn comes.
            if self.part.contains(&Part::Recorded)
                && let Err(error) = std::fs::File::open(&self.trace)
            {
                return Err(ExperimentError::NoTrace(self.trace.clone(), error));
            }
            let parts = self.part.iter();
            parts
                .map(|part| Grid::standard(*part, &seeds, &self.trace))
                .collect()
        };
        if let Some(text) = &self.only {
            for grid in &mut grids {
                grid.cells.retain(|cell| cell.name().contains(text));
            }
            grids.retain(|grid| !grid.cells.is_empty());
            if grids.is_empty() {
                return Err(ExperimentError::NoCell(text.clone()));
            }
        }
        Ok(grids)
    }
}

fn seeds(first: u64, count: u64) -> Vec<u64> {
    (first..).take(count as usize).collect()
}
