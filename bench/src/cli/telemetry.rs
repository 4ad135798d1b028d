//! The commands that measure a router's telemetry.

use super::CliError;
use crate::{
    load::Endpoints,
    telemetry::{accuracy, cost},
};
use clap::Args;
use std::{path::PathBuf, process::ExitCode};

#[derive(Args)]
pub struct AccuracyArgs {
    /// The router's program, such as target/release/adaptive-router
    #[arg(long, value_name = "PATH")]
    router: PathBuf,
    /// Streamed requests in each case
    #[arg(long, value_name = "N", default_value_t = 1000)]
    requests: u64,
    /// Requests in flight at any time
    #[arg(long, value_name = "N", default_value_t = 32)]
    concurrency: u32,
    /// Prompt length
    #[arg(long, value_name = "N", default_value_t = 128)]
    prompt_tokens: u64,
    /// Answer length
    #[arg(long, value_name = "N", default_value_t = 64)]
    output_tokens: u32,
    /// Multiply the measured GPU times by this
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time_scale: f64,
    /// Seed of the prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl AccuracyArgs {
    pub async fn run(self) -> Result<ExitCode, CliError> {
        let plan = accuracy::Plan {
            router: self.router,
            requests: self.requests,
            concurrency: self.concurrency,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            time_scale: self.time_scale,
            seed: self.seed,
        };
        let report = accuracy::run(&plan).await.map_err(CliError::Measure)?;
        if self.json {
            outln!("{}", report.to_json());
        } else {
            outln!("{report}");
        }
        Ok(if report.agrees() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

#[derive(Args)]
pub struct CostArgs {
    /// The router's program, such as target/release/adaptive-router
    #[arg(long, value_name = "PATH")]
    router: PathBuf,
    /// Events that each router relays in a round; CPU time is known to 10 ms, so fewer say little
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    events: u64,
    /// Rounds, each with one turn of both routers
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Endpoint; mixed takes turns
    #[arg(long, value_enum, default_value_t = Endpoints::Chat)]
    endpoint: Endpoints,
    /// Requests in flight at any time
    #[arg(long, value_name = "N", default_value_t = 32)]
    concurrency: u32,
    /// Answer length
    #[arg(long, value_name = "N", default_value_t = 512)]
    output_tokens: u32,
    /// Tokens in each streamed chunk
    #[arg(long, value_name = "N", default_value_t = 1)]
    stream_interval: u32,
    /// Ask the OpenAI endpoints for usage in every chunk
    #[arg(long)]
    continuous_usage: bool,
    /// Multiply the measured GPU times by this; at 0 the workers take no time
    #[arg(long, value_name = "FACTOR", default_value_t = 0.0)]
    time_scale: f64,
    /// Seed of the prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl CostArgs {
    pub async fn run(self) -> Result<ExitCode, CliError> {
        let plan = cost::Plan {
            router: self.router,
            events: self.events,
            rounds: self.rounds,
            endpoints: self.endpoint,
            concurrency: self.concurrency,
            output_tokens: self.output_tokens,
            tokens_a_chunk: self.stream_interval,
            continuous_usage: self.continuous_usage,
            time_scale: self.time_scale,
            seed: self.seed,
        };
        let report = cost::run(&plan).await.map_err(CliError::Measure)?;
        if self.json {
            outln!("{}", report.to_json());
        } else {
            outln!("{report}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
