//! The command that sends requests.

use super::CliError;
use crate::load::{self, Alternate, Endpoints, Load, Streaming};
use clap::Args;
use std::{process::ExitCode, time::Duration};

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
    /// Take turns with other lengths: IN/OUT tokens, such as 128/2048
    #[arg(long, value_name = "IN/OUT", value_parser = lengths, requires = "phase_seconds")]
    alternate: Option<(u64, u32)>,
    /// How long each of the two takes its turn
    #[arg(long, value_name = "SECONDS", requires = "alternate")]
    phase_seconds: Option<f64>,
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
            alternate: self.alternate.zip(self.phase_seconds).map(
                |((prompt_tokens, output_tokens), seconds)| Alternate {
                    prompt_tokens,
                    output_tokens,
                    phase: Duration::from_secs_f64(seconds),
                },
            ),
            continuous_usage: self.continuous_usage,
            model: self.model,
            request_timeout: Duration::from_secs_f64(self.request_timeout),
            seed: self.seed,
            progress: true,
            ..Load::default()
        };
        let report = load::run(load).await.map_err(CliError::Load)?;
        if self.json {
            outln!("{}", report.to_json());
        } else {
            outln!("{report}");
        }
        Ok(if report.is_flawless() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn lengths(text: &str) -> Result<(u64, u32), String> {
    let read = || {
        let (prompt, output) = text.split_once('/')?;
        Some((prompt.parse().ok()?, output.parse().ok()?))
    };
    read().ok_or_else(|| "expected tokens of prompt and answer, such as 128/2048".to_owned())
}
