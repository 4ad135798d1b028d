//! The command line.

mod load;
mod telemetry;

pub use load::LoadArgs;
pub use telemetry::{AccuracyArgs, CostArgs};

use crate::{
    experiment::cli::{ExperimentArgs, ExperimentError},
    faults::{cli::FaultsArgs, run::FaultsError},
    fit::cli::{FitArgs, FitError},
    fleet::{self, Served, StartError},
    load::LoadError,
    model_file,
    peers::{cli::PeersArgs, run::PeersError},
    replay::{ReplayArgs, ReplayError},
    report::cli::{ReportArgs, ReportError},
    role_changes::{RoleChangesArgs, RunError},
    scenario::{ScenarioError, cli::SimArgs},
    serve::{
        ceiling::CeilingArgs,
        cli::{ServeArgs, ServeError},
    },
    soak::{SoakArgs, SoakError},
    study::cli::{SeedTableArgs, SeedTableError},
    telemetry::MeasureError,
    what_if::cli::{WhatIfArgs, WhatIfError},
};
use clap::{Args, Parser, Subcommand};
use policies::model::WorkerModel;
use simulated_worker::{Config, Pace, Role, Rule, Timing, TransferBackend};
use std::{fmt, io, process::ExitCode, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "pd-bench", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve as one SGLang worker, without a GPU
    SimulatedWorker(WorkerArgs),
    /// Serve as several SGLang workers in one process
    SimulatedFleet(FleetArgs),
    /// Send requests and check every answer
    Load(LoadArgs),
    /// Send a load as `vllm bench serve` does, and report its latencies
    Serve(Box<ServeArgs>),
    /// Measure at how many events a second `serve` itself is the limit
    ServeCeiling(CeilingArgs),
    /// Compare a router's TTFT and ITL with what a client measures
    TelemetryAccuracy(AccuracyArgs),
    /// Measure what a router pays for measuring streams (Linux)
    TelemetryCost(CostArgs),
    /// Measure what a router costs, beside its peers (Linux)
    Peers(Box<PeersArgs>),
    /// Fail workers under routers, and check what clients get of it (Linux)
    Faults(Box<FaultsArgs>),
    /// Load a router for long, and watch its memory and its open files (Linux)
    Soak(SoakArgs),
    /// Simulate a fleet in virtual time
    Sim(SimArgs),
    /// Compare planners of the ratio on the same requests
    Experiment(Box<ExperimentArgs>),
    /// Make a page of what an experiment found
    Report(ReportArgs),
    /// Find the split for recorded traffic, and what moving workers could add
    WhatIf(WhatIfArgs),
    /// Simulate the published study's runs beside what it measured
    SeedTable(SeedTableArgs),
    /// Estimate a model's parameters from benchmark results or from workers' counters
    Fit(FitArgs),
    /// Make the decisions of a router's --decision-log again
    ReplayDecisions(ReplayArgs),
    /// Change the roles of workers under load, with crashes in between (Linux)
    RoleChanges(RoleChangesArgs),
}

/// Why a command could not do its work.
#[derive(Debug)]
pub enum CliError {
    Start(StartError),
    Signals(io::Error),
    Load(LoadError),
    Serve(ServeError),
    Measure(MeasureError),
    Peers(PeersError),
    Faults(FaultsError),
    Soak(SoakError),
    Scenario(ScenarioError),
    Experiment(ExperimentError),
    Report(ReportError),
    WhatIf(WhatIfError),
    SeedTable(SeedTableError),
    Fit(FitError),
    Replay(ReplayError),
    RoleChanges(RunError),
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
            Self::Load(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
            Self::Measure(error) => error.fmt(f),
            Self::Peers(error) => error.fmt(f),
            Self::Faults(error) => error.fmt(f),
            Self::Soak(error) => error.fmt(f),
            Self::Scenario(error) => error.fmt(f),
            Self::Experiment(error) => error.fmt(f),
            Self::Report(error) => error.fmt(f),
            Self::WhatIf(error) => error.fmt(f),
            Self::SeedTable(error) => error.fmt(f),
            Self::Fit(error) => error.fmt(f),
            Self::Replay(error) => error.fmt(f),
            Self::RoleChanges(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CliError {}

/// How every worker of a command behaves.
#[derive(Args)]
struct Behaviour {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Name of the served model
    #[arg(long, default_value = "simulated")]
    model: String,
    /// Model file that the GPU times are from, instead of the one that comes with the program
    #[arg(long, value_name = "FILE.toml", value_parser = model_file::from_flag)]
    timing: Option<WorkerModel>,
    /// Multiply the model's GPU times by this
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time_scale: f64,
    /// Take no time at all
    #[arg(long, conflicts_with = "time_scale")]
    zero_delay: bool,
    /// Largest decode batch, instead of the model's
    #[arg(long, value_name = "N")]
    max_running_requests: Option<u32>,
    /// Keep the beginnings of prompts, and compute them once
    #[arg(long)]
    enable_prefix_cache: bool,
    /// Tokens in each streamed chunk
    #[arg(long, value_name = "N", default_value_t = 1)]
    stream_interval: u32,
    /// Longest prompt and answer together, in tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 131_072)]
    context_length: u64,
    /// Accept POST /pd_role_switch; every worker then has a bootstrap server
    #[arg(long)]
    enable_pd_role_switch: bool,
    /// What carries the KV: only mooncake and mori can change roles
    #[arg(long, value_name = "BACKEND", default_value = TransferBackend::default().as_str())]
    disaggregation_transfer_backend: TransferBackend,
    /// How long a role switch takes [default: 0.5, or 0 with --zero-delay]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    role_switch_seconds: Option<Duration>,
    /// How long an orphaned request is kept (SGLang: 300)
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    orphan_timeout: u64,
    /// A fault, as kind or kind:key=value,...; may be repeated
    ///
    /// Kinds: refuse (status, retry_after_s), stall_before_head (stall_ms), stall_mid_stream (after_tokens,
    /// stall_ms), reset_before_head, reset_mid_stream (after_tokens), cut_short (after_tokens), garbage (after_tokens), error_event
    /// (after_tokens), slow (factor), wrong_role (role), unready, bootstrap_dead,
    /// switch_fails (safe_to_restore). Each takes probability and limit.
    /// They can be changed while the worker serves: POST /simulated/faults.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Rule>,
    /// Seed of the faults' dice
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Answer chat without queues, batches and rendezvous: what a router's cost is measured with
    #[arg(long)]
    instant: bool,
    /// Milliseconds between the tokens of an instant stream; 0 is as fast as they are taken
    #[arg(long, value_name = "MS", default_value_t = 0, requires = "instant")]
    instant_pace_ms: u64,
    /// Tokens of an instant stream after which nothing more comes
    #[arg(long, value_name = "TOKENS", requires = "instant")]
    instant_silent_after: Option<u32>,
}

impl Behaviour {
    fn config(&self, role: Role, port: u16, bootstrap_port: u16) -> Config {
        let mut timed = if self.zero_delay {
            Config::instant(role)
        } else {
            let model = self.timing.unwrap_or_default();
            Config {
                role,
                timing: Timing { model, scale: 1.0 }.scaled(self.time_scale),
                ..Config::default()
            }
        };
        if let Some(duration) = self.role_switch_seconds {
            timed.role_switch = duration;
        }
        if let Some(most) = self.max_running_requests {
            timed.timing.model.decode.max_running = most;
        }
        Config {
            host: self.host.clone(),
            port,
            bootstrap_port,
            model: self.model.clone(),
            transfer_backend: self.disaggregation_transfer_backend,
            stream_interval: self.stream_interval,
            context_length: self.context_length,
            prefix_cache: self.enable_prefix_cache,
            enable_pd_role_switch: self.enable_pd_role_switch,
            bootstrap_timeout: Duration::from_secs(self.orphan_timeout),
            waiting_timeout: Duration::from_secs(self.orphan_timeout),
            faults: self.faults.clone(),
            seed: self.seed,
            instant: self.instant.then(|| Pace {
                between_tokens: Duration::from_millis(self.instant_pace_ms),
                silent_after: self.instant_silent_after,
            }),
            ..timed
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[derive(Args)]
pub struct WorkerArgs {
    /// prefill, decode, or null for a worker that does both
    #[arg(long)]
    role: Role,
    /// HTTP port
    #[arg(long, default_value_t = 30000)]
    port: u16,
    /// Port of the bootstrap server
    #[arg(long, default_value_t = 8998)]
    bootstrap_port: u16,
    #[command(flatten)]
    behaviour: Behaviour,
}

impl WorkerArgs {
    pub async fn run(self) -> Result<ExitCode, CliError> {
        let config = self
            .behaviour
            .config(self.role, self.port, self.bootstrap_port);
        let served = Served::start(vec![config]).await.map_err(CliError::Start)?;
        for worker in served.workers() {
            outln!("{}", fleet::introduction(worker));
        }
        let Some(worker) = served.workers().first().cloned() else {
            unreachable!("one was started");
        };
        tokio::select! {
            ended = serve_until_told(served) => ended,
            () = worker.crashed() => {
                errln!("Scheduler hit an exception: pool memory leak detected");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

#[derive(Args)]
pub struct FleetArgs {
    /// Prefill workers
    #[arg(long, value_name = "N", default_value_t = 2)]
    prefill: u16,
    /// Decode workers
    #[arg(long, value_name = "N", default_value_t = 2)]
    decode: u16,
    /// HTTP port of the first worker; the others follow
    #[arg(long, value_name = "PORT", default_value_t = 30000)]
    first_port: u16,
    /// Bootstrap port of the first worker; the others follow
    #[arg(long, value_name = "PORT", default_value_t = 9000)]
    first_bootstrap_port: u16,
    #[command(flatten)]
    behaviour: Behaviour,
}

impl FleetArgs {
    pub async fn run(self) -> Result<ExitCode, CliError> {
        let roles = (0..self.prefill)
            .map(|_| Role::Prefill)
            .chain((0..self.decode).map(|_| Role::Decode));
        let configs = roles
            .zip(0..)
            .map(|(role, place)| {
                let port = self.first_port.saturating_add(place);
                let bootstrap_port = self.first_bootstrap_port.saturating_add(place);
                self.behaviour.config(role, port, bootstrap_port)
            })
            .collect();
        let served = Served::start(configs).await.map_err(CliError::Start)?;
        for worker in served.workers() {
            outln!("{}", fleet::introduction(worker));
        }
        outln!("\nA router for them:\n{}", fleet::router_command(&served));
        serve_until_told(served).await
    }
}

async fn serve_until_told(served: Served) -> Result<ExitCode, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Signals)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // A second signal doesn't wait for the requests in flight.
    tokio::select! {
        () = served.stop() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn faults_are_read_from_flags() {
        let command = [
            "pd-bench",
            "simulated-worker",
            "--role",
            "decode",
            "--fault",
            "refuse:status=503",
            "--fault",
            "slow:factor=2.5",
        ];
        let Command::SimulatedWorker(args) = Cli::parse_from(command).command else {
            panic!("another command was read");
        };
        assert_eq!(args.behaviour.faults.len(), 2);
    }

    #[test]
    fn a_wrong_role_is_refused() {
        let command = ["pd-bench", "simulated-worker", "--role", "both"];
        assert!(Cli::try_parse_from(command).is_err());
    }
}
