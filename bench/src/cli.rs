//! The command line.

mod telemetry;

pub use telemetry::{AccuracyArgs, CostArgs};

use crate::{
    fit::cli::{FitArgs, FitError},
    load::{self, Endpoints, Load, Streaming},
    scenario::{ScenarioError, cli::SimArgs},
    serve::{self, Served, StartError},
    study::cli::{SeedTableArgs, SeedTableError},
    telemetry::MeasureError,
    what_if::cli::{WhatIfArgs, WhatIfError},
};
use clap::{Args, Parser, Subcommand};
use simulated_worker::{Config, Role, Rule, Timing};
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
    /// Compare a router's TTFT and ITL with what a client measures
    TelemetryAccuracy(AccuracyArgs),
    /// Measure what a router pays for measuring streams (Linux)
    TelemetryCost(CostArgs),
    /// Simulate a fleet in virtual time
    Sim(SimArgs),
    /// Find the split for recorded traffic, and what moving workers could add
    WhatIf(WhatIfArgs),
    /// Simulate the published study's runs beside what it measured
    SeedTable(SeedTableArgs),
    /// Estimate a model's parameters from benchmark results or from workers' counters
    Fit(FitArgs),
}

/// Why a command could not do its work.
#[derive(Debug)]
pub enum CliError {
    Start(StartError),
    Signals(io::Error),
    Load(load::LoadError),
    Measure(MeasureError),
    Scenario(ScenarioError),
    WhatIf(WhatIfError),
    SeedTable(SeedTableError),
    Fit(FitError),
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
            Self::Load(error) => error.fmt(f),
            Self::Measure(error) => error.fmt(f),
            Self::Scenario(error) => error.fmt(f),
            Self::WhatIf(error) => error.fmt(f),
            Self::SeedTable(error) => error.fmt(f),
            Self::Fit(error) => error.fmt(f),
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
    /// Multiply the measured GPU times by this
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
    /// How long an orphaned request is kept (SGLang: 300)
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    orphan_timeout: u64,
    /// A fault, as kind or kind:key=value,...; may be repeated
    ///
    /// Kinds: refuse (status, retry_after_s), stall_before_head (stall_ms), stall_mid_stream (after_tokens,
    /// stall_ms), reset_before_head, reset_mid_stream (after_tokens), cut_short (after_tokens), error_event
    /// (after_tokens), slow (factor), wrong_role (role), unready, bootstrap_dead. Each takes probability and limit.
    /// They can be changed while the worker serves: POST /simulated/faults.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Rule>,
    /// Seed of the faults' dice
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Behaviour {
    fn config(&self, role: Role, port: u16, bootstrap_port: u16) -> Config {
        let mut timed = if self.zero_delay {
            Config::instant(role)
        } else {
            Config {
                role,
                timing: Timing::MEASURED.scaled(self.time_scale),
                ..Config::default()
            }
        };
        if let Some(most) = self.max_running_requests {
            timed.timing.model.decode.max_running = most;
        }
        Config {
            host: self.host.clone(),
            port,
            bootstrap_port,
            model: self.model.clone(),
            stream_interval: self.stream_interval,
            context_length: self.context_length,
            prefix_cache: self.enable_prefix_cache,
            enable_pd_role_switch: self.enable_pd_role_switch,
            bootstrap_timeout: Duration::from_secs(self.orphan_timeout),
            waiting_timeout: Duration::from_secs(self.orphan_timeout),
            faults: self.faults.clone(),
            seed: self.seed,
            ..timed
        }
    }
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
            println!("{}", serve::introduction(worker));
        }
        serve_until_told(served).await
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
            println!("{}", serve::introduction(worker));
        }
        println!("\nA router for them:\n{}", serve::router_command(&served));
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

#[derive(Args)]
pub struct LoadArgs {
    /// Where to send requests (plain http)
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// Endpoint; mixed takes turns
    #[arg(long, value_enum, default_value_t = Endpoints::Mixed)]
    endpoint: Endpoints,
    /// Requests to send
    #[arg(long, value_name = "N", default_value_t = 2000)]
    requests: u64,
    /// Stop sending after this long, even if requests are left
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// Requests in flight at any time
    #[arg(long, value_name = "N", default_value_t = 64)]
    concurrency: u32,
    /// Stream every answer
    #[arg(long)]
    stream: bool,
    /// Stream no answer
    #[arg(long, conflicts_with = "stream")]
    no_stream: bool,
    /// Stream every second answer (the default)
    #[arg(long, conflicts_with_all = ["stream", "no_stream"])]
    mixed: bool,
    /// Prompt length
    #[arg(long, value_name = "N", default_value_t = 128)]
    prompt_tokens: u64,
    /// Answer length
    #[arg(long, value_name = "N", default_value_t = 32)]
    output_tokens: u32,
    /// Ask the OpenAI endpoints for usage in every chunk: ITL is then by tokens, else by chunks
    #[arg(long)]
    continuous_usage: bool,
    /// Model to name in the requests
    #[arg(long, default_value = "simulated")]
    model: String,
    /// Give a request up after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0)]
    request_timeout: f64,
    /// Seed of the prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl LoadArgs {
    pub async fn run(self) -> Result<ExitCode, CliError> {
        let load = Load {
            url: self.url,
            endpoints: self.endpoint,
            requests: self.requests,
            duration: self.duration.map(Duration::from_secs_f64),
            concurrency: self.concurrency,
            streaming: match (self.stream, self.no_stream) {
                (true, _) => Streaming::Always,
                (false, true) => Streaming::Never,
                (false, false) => Streaming::EverySecond,
            },
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            continuous_usage: self.continuous_usage,
            model: self.model,
            request_timeout: Duration::from_secs_f64(self.request_timeout),
            seed: self.seed,
            progress: true,
        };
        let report = load::run(load).await.map_err(CliError::Load)?;
        if self.json {
            println!("{}", report.to_json());
        } else {
            println!("{report}");
        }
        Ok(if report.is_flawless() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
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
