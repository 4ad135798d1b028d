//! `pd-bench`: see `pd-bench --help`.

use clap::Parser;
use pd_bench::{
    cli::{Cli, CliError, Command},
    output::complain,
};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::SimulatedWorker(args) => args.run().await,
        Command::SimulatedFleet(args) => args.run().await,
        Command::Load(args) => args.run().await,
        Command::Serve(args) => args.run().await.map_err(CliError::Serve),
        Command::ServeCeiling(args) => args.run().await.map_err(CliError::Serve),
        Command::TelemetryAccuracy(args) => args.run().await,
        Command::TelemetryCost(args) => args.run().await,
        Command::Peers(args) => args.run().await.map_err(CliError::Peers),
        Command::Faults(args) => args.run().await.map_err(CliError::Faults),
        Command::Soak(args) => args.run().await.map_err(CliError::Soak),
        Command::Sim(args) => args.run().map_err(CliError::Scenario),
        Command::Experiment(args) => args.run().await.map_err(CliError::Experiment),
        Command::Report(args) => args.run().map_err(CliError::Report),
        Command::SeedTable(args) => args.run().map_err(CliError::SeedTable),
        Command::Fit(args) => args.run().map_err(CliError::Fit),
        Command::WhatIf(args) => args.run().map_err(CliError::WhatIf),
        Command::ReplayDecisions(args) => args.run().map_err(CliError::Replay),
        Command::RoleChanges(args) => args.run().await.map_err(CliError::RoleChanges),
    };
    ended.unwrap_or_else(|error| {
        complain(format_args!("pd-bench: {error}"));
        ExitCode::FAILURE
    })
}
