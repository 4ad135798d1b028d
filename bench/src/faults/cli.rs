//! The command.

use super::{
    case::{Case, Fault},
    cut::Cut,
    document,
    results::Results,
    run::{FaultsError, Plan, run},
};
use crate::peers::{
    cli::{cache, told_to_end},
    contender::Contender,
};
use clap::Args;
use std::{env, path::PathBuf, process::ExitCode, time::Duration};

#[derive(Args)]
pub struct FaultsArgs {
    /// The router's program; it is given the flags of `sglang_router`
    /// [default: adaptive-router beside this program]
    #[arg(long, value_name = "CMD")]
    router: Option<PathBuf>,
    /// Flags of --router on top of those that all routers get, in one word
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "--first-byte-timeout-secs 2 --idle-timeout-secs 2 --request-timeout-secs 4",
        allow_hyphen_values = true
    )]
    router_flags: String,
    /// The same of the peers
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "--request-timeout-secs 4",
        allow_hyphen_values = true
    )]
    peer_flags: String,
    /// Who takes part; may be repeated [default: --router, sglang-router and smg]
    #[arg(long = "contender", value_name = "NAME", value_parser = contender)]
    contenders: Vec<Contender>,
    /// Cases whose names begin so, such as decode-mid-stream; may be repeated [default: all]
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Leave out the two figures of one dead worker
    #[arg(long)]
    no_promises: bool,
    /// Seconds that a client waits for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    limit: f64,
    /// Seed of the prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of the peers' Python environments, which are installed where they are missing
    /// [default: pd-bench in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// File of the results
    #[arg(
        long,
        value_name = "FILE.json",
        default_value = "bench/results/faults/matrix.json"
    )]
    out: PathBuf,
    /// Fail nothing: make the document of a file of results
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["contenders", "cases"])]
    report: Option<PathBuf>,
    /// The document that the tables are put into
    #[arg(long, value_name = "FILE.md", default_value = "docs/reliability.md")]
    document: PathBuf,
    /// Print the tables and leave the document alone
    #[arg(long)]
    print: bool,
}

const ALL: [Contender; 3] = [
    Contender::AdaptiveRouter,
    Contender::SglangRouter,
    Contender::Smg,
];

fn contender(name: &str) -> Result<Contender, String> {
    ALL.into_iter()
        .find(|contender| contender.as_str() == name)
        .ok_or_else(|| format!("the routers are: {}", ALL.map(Contender::as_str).join(", ")))
}

impl FaultsArgs {
    pub async fn run(self) -> Result<ExitCode, FaultsError> {
        let (document, print) = (self.document.clone(), self.print);
        let results = if let Some(path) = &self.report {
            Results::read(path).map_err(FaultsError::Results)?
        } else {
            let plan = self.plan()?;
            // Whoever ends the bench ends its programs, too: they are killed when the run is dropped.
            tokio::select! {
                ran = run(plan) => ran?,
                told = told_to_end() => {
                    told.map_err(FaultsError::Signals)?;
                    return Ok(ExitCode::FAILURE);
                }
            }
        };
        if print {
            outln!("{}", document::tables(&results));
        } else {
            document::write(&results, &document).map_err(FaultsError::Document)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn plan(self) -> Result<Plan, FaultsError> {
        let bench = env::current_exe().map_err(|error| FaultsError::Folder {
            path: "this program".into(),
            error,
        })?;
        let beside = bench.with_file_name("adaptive-router");
        let words = |flags: &str| flags.split_whitespace().map(str::to_owned).collect();
        let contenders = if self.contenders.is_empty() {
            ALL.into()
        } else {
            self.contenders
        };
        let flags = contenders.iter().map(|&contender| {
            let flags = if contender == Contender::AdaptiveRouter {
                &self.router_flags
            } else {
                &self.peer_flags
            };
            (contender, words(flags))
        });
        let wanted = |case: &Case| {
            let name = case.name();
            self.cases.is_empty() || self.cases.iter().any(|wanted| name.starts_with(wanted))
        };
        let mut cases: Vec<_> = Case::all().into_iter().filter(wanted).collect();
        let cuts = |case: &Case| case.fault == Fault::Unreachable;
        if cases.iter().any(cuts)
            && let Err(missing) = Cut::is_possible()
        {
            errln!("{missing}");
            cases.retain(|case| !cuts(case));
        }
        Ok(Plan {
            flags: flags.collect(),
            cases,
            promises: !self.no_promises,
            limit: Duration::from_secs_f64(self.limit.clamp(0.1, 600.0)),
            seed: self.seed,
            router: self.router.unwrap_or(beside),
            bench,
            cache: self.cache.unwrap_or_else(cache),
            out: self.out,
            contenders,
        })
    }
}
