//! The flags of `--live`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use policies::{model::WorkerModel, queue, ratio::Split};

use crate::{
    experiment::{
        arms::Planning,
        capacity::Kind,
        live::{Demand, LivePlan},
    },
    model_file,
};

#[derive(Args)]
#[command(next_help_heading = "Live")]
pub(super) struct LiveArgs {
    /// The workers, as the router reads them; roles are those of the arms, whatever the file says
    #[arg(long, value_name = "FILE.toml")]
    cluster: Option<PathBuf>,
    /// The router's program [default: adaptive-router beside this one]
    #[arg(long, value_name = "PATH")]
    router: Option<PathBuf>,
    /// How many times as long as in the model everything takes: what simulated workers were started with
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    time_scale: f64,
    /// Seconds that a kind of request comes before the other takes its turn, ±40 %
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0, value_parser = positive)]
    phase_seconds: f64,
    /// So many phases in the mean
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    phases: u32,
    /// What comes, as a share of what the best split carries of each kind by the model
    #[arg(long, default_value_t = 0.8, value_parser = positive)]
    load: f64,
    /// Requests a second of the model's time of each kind, instead of a load: for workers whose model isn't known
    #[arg(long, value_name = "RATE,RATE", conflicts_with = "load", value_parser = rates)]
    rates: Option<[f64; 2]>,
    /// Prompt and answer tokens of the two kinds, in the mean
    #[arg(long, value_name = "PROMPT/ANSWER,PROMPT/ANSWER", default_value = "2048/128,128/2048", value_parser = kinds)]
    kinds: [Kind; 2],
    /// Seconds that a request waits in the router at most
    #[arg(long, value_name = "SECONDS", default_value_t = queue::TIMEOUT.as_secs_f64(), value_parser = positive)]
    queue_seconds: f64,
    /// Splits, threshold and controller; all of them by default
    #[arg(long, value_name = "ARM", value_delimiter = ',', value_parser = arm)]
    arms: Vec<Planning>,
    /// Model file of the workers for simulator and router, instead of the one that comes with the program
    #[arg(long, value_name = "FILE.toml", value_parser = model_file::from_flag)]
    model_file: Option<WorkerModel>,
    /// tokenizer.json of the served model, or its folder, for prompts that are exact in tokens
    #[arg(long, value_name = "PATH")]
    tokenizer: Option<PathBuf>,
    /// Seconds that the workers may take from their start until they serve
    #[arg(long, value_name = "SECONDS", default_value_t = 900.0, value_parser = positive)]
    start_seconds: f64,
    /// Seconds by the clock that a worker is away in the simulator when its role is changed, after its drain [default: as
    /// long as it was live]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    away_seconds: Option<f64>,
}

impl LiveArgs {
    pub(super) fn plan(self, seeds: Vec<u64>, reuse: bool, out: &Path) -> LivePlan {
        let beside = || {
            let program = std::env::current_exe().unwrap_or_default();
            program.with_file_name("adaptive-router")
        };
        LivePlan {
            cluster: self.cluster.expect("the parser requires it"),
            router: self.router.unwrap_or_else(beside),
            model: self.model_file.unwrap_or_default(),
            time_scale: self.time_scale,
            kinds: self.kinds,
            demand: self.rates.map_or(Demand::Load(self.load), Demand::Rates),
            phase_seconds: self.phase_seconds,
            phases: self.phases,
            queue_seconds: self.queue_seconds,
            arms: self.arms,
            seeds,
            tokenizer: self.tokenizer,
            start_within: Duration::from_secs_f64(self.start_seconds),
            away: self.away_seconds.map(Duration::from_secs_f64),
            reuse,
            out: out.to_owned(),
        }
    }
}

/// Above 0 and no longer than a day, so that it is a duration whatever it is multiplied with.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 86_400.0 => Ok(number),
        Ok(_) | Err(_) => Err("expected a number above 0, 86400 at most".to_owned()),
    }
}

fn rates(text: &str) -> Result<[f64; 2], String> {
    let [one, other] = pair(text)?;
    Ok([positive(one)?, positive(other)?])
}

fn kinds(text: &str) -> Result<[Kind; 2], String> {
    let [one, other] = pair(text)?;
    Ok([one.parse()?, other.parse()?])
}

fn pair(text: &str) -> Result<[&str; 2], String> {
    let pair = text.split_once(',');
    let (one, other) = pair.ok_or("expected two, with a comma between them")?;
    Ok([one, other])
}

fn arm(text: &str) -> Result<Planning, String> {
    let planners = Planning::PLANNERS.into_iter();
    if let Some(planner) = planners.clone().find(|planner| planner.name() == text) {
        return Ok(planner);
    }
    match text.parse::<Split>() {
        Ok(split) => Ok(Planning::Fixed(split)),
        Err(error) => {
            let names: Vec<_> = planners.map(Planning::name).collect();
            Err(format!("{error}, or {}", names.join(", or ")))
        }
    }
}
