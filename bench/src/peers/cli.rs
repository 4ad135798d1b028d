//! The command.

use super::{
    contender::Contender,
    document,
    run::{PeersError, Plan, run},
    scenario::Scenario,
};
use clap::Args;
use std::{env, io, path::PathBuf, process::ExitCode, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Args)]
pub struct PeersArgs {
    /// The router's program [default: adaptive-router beside this program]
    #[arg(long, value_name = "PATH")]
    router: Option<PathBuf>,
    /// Scenario; may be repeated [default: all that are compared]
    #[arg(long = "scenario", value_name = "NAME", value_parser = scenario)]
    scenarios: Vec<Scenario>,
    /// How costs grow instead: streams, workers and prompt bytes, each over three decades
    #[arg(long, conflicts_with = "scenarios")]
    ladders: bool,
    /// Contender; may be repeated [default: all]
    #[arg(long = "contender", value_name = "NAME", value_enum)]
    contenders: Vec<Contender>,
    /// Rounds, each with one turn of every contender in every scenario
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Seconds that a turn is measured, after a second of warm-up
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    window: f64,
    /// A look: one round of half a second each
    #[arg(long, conflicts_with_all = ["rounds", "window"])]
    quick: bool,
    /// Leave the cores to the system, instead of one for the router and the others for the rest
    #[arg(long)]
    unpinned: bool,
    /// Seed of the prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the peers' Python environments, which are installed where they are missing
    /// [default: pd-bench in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Folder of the results, a file for each scenario
    #[arg(long, value_name = "DIR", default_value = "bench/results/peers")]
    out: PathBuf,
    /// Measure nothing: make the document of a folder of results
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "scenarios", "ladders", "contenders"])]
    report: Option<PathBuf>,
    /// The document of --report; its pictures are written beside it
    #[arg(
        long,
        value_name = "FILE.md",
        default_value = "docs/performance.md",
        requires = "report"
    )]
    document: PathBuf,
}

/// What a quick look measures with.
const QUICK: Duration = Duration::from_millis(500);
const WARM_UP: Duration = Duration::from_secs(1);
const QUICK_WARM_UP: Duration = Duration::from_millis(200);

fn scenario(name: &str) -> Result<Scenario, String> {
    let all = Scenario::all().into_iter().chain(Scenario::ladders());
    let names: Vec<_> = all.map(|scenario| scenario.name).collect();
    let unknown = format!("the scenarios are: {}", names.join(", "));
    Scenario::named(name).ok_or(unknown)
}

impl PeersArgs {
    pub async fn run(self) -> Result<ExitCode, PeersError> {
        if let Some(folder) = &self.report {
            document::write(folder, &self.document).map_err(PeersError::Document)?;
            return Ok(ExitCode::SUCCESS);
        }
        let plan = self.plan()?;
        // Whoever ends the bench ends its programs, too: they are killed when the run is dropped.
        let measured = tokio::select! {
            measured = run(&plan) => measured?,
            told = told_to_end() => {
                told.map_err(PeersError::Signals)?;
                return Ok(ExitCode::FAILURE);
            }
        };
        for results in &measured {
            outln!("{}", super::table::of(results));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn plan(self) -> Result<Plan, PeersError> {
        let bench = env::current_exe().map_err(|error| PeersError::Folder {
            path: "this program".into(),
            error,
        })?;
        let beside = bench.with_file_name("adaptive-router");
        let or_all = |contenders: Vec<Contender>| {
            if contenders.is_empty() {
                Contender::ALL.into()
            } else {
                contenders
            }
        };
        Ok(Plan {
            contenders: or_all(self.contenders),
            scenarios: match (self.ladders, self.scenarios) {
                (true, _) => Scenario::ladders(),
                (false, named) if named.is_empty() => Scenario::all(),
                (false, named) => named,
            },
            rounds: if self.quick { 1 } else { self.rounds.max(1) },
            warm_up: if self.quick { QUICK_WARM_UP } else { WARM_UP },
            window: if self.quick {
                QUICK
            } else {
                Duration::from_secs_f64(self.window.clamp(0.1, 600.0))
            },
            pinned: !self.unpinned,
            seed: self.seed,
            router: self.router.unwrap_or(beside),
            bench,
            cache: self.cache.unwrap_or_else(cache),
            out: self.out,
        })
    }
}

pub(crate) async fn told_to_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Where the XDG convention keeps what can be made again.
pub(crate) fn cache() -> PathBuf {
    let given = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    given
        .or(home)
        .unwrap_or_else(env::temp_dir)
        .join("pd-bench")
}
