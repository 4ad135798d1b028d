//! The command.

use super::{Plan, SoakError, run};
use clap::Args;
use std::{env, fs, path::PathBuf, process::ExitCode, time::Duration};

#[derive(Args)]
pub struct SoakArgs {
    /// The router's program [default: adaptive-router beside this program]
    #[arg(long, value_name = "PATH")]
    router: Option<PathBuf>,
    /// Requests in all
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    requests: u64,
    /// Requests between two readings
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    part: u64,
    /// Requests in flight at any time
    #[arg(long, value_name = "N", default_value_t = 64)]
    concurrency: u32,
    /// Minutes over which the requests are spread, a part now and then; in one go by default
    #[arg(long, value_name = "MINUTES", default_value_t = 0)]
    minutes: u32,
    /// Seed of the prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// File of the readings
    #[arg(
        long,
        value_name = "FILE.json",
        default_value = "bench/results/faults/soak.json"
    )]
    out: PathBuf,
}

impl SoakArgs {
    /// Fails where an answer was not whole and right; what the readings mean is for a person to say.
    pub async fn run(self) -> Result<ExitCode, SoakError> {
        let bench = env::current_exe().map_err(SoakError::Program)?;
        let plan = Plan {
            router: self
                .router
                .unwrap_or_else(|| bench.with_file_name("adaptive-router")),
            bench,
            requests: self.requests,
            part: self.part.max(1),
            concurrency: self.concurrency,
            spread: Duration::from_secs(60) * self.minutes,
            seed: self.seed,
        };
        outln!(
            "{:>10} {:>10} {:>10} {:>8}",
            "requests",
            "seconds",
            "RSS MiB",
            "files"
        );
        let soaked = run(&plan, |reading| {
            outln!(
                "{:>10} {:>10.1} {:>10.1} {:>8}",
                reading.requests,
                reading.seconds,
                reading.rss_kib as f64 / 1024.0,
                reading.open_files
            );
        })
        .await?;
        outln!("{} answers were not right", soaked.flaws);
        let mut text = serde_json::to_string_pretty(&soaked)
            .expect("readings have string keys and no number that JSON lacks");
        text.push('\n');
        let written = |error| SoakError::Written {
            path: self.out.clone(),
            error,
        };
        if let Some(folder) = self.out.parent() {
            fs::create_dir_all(folder).map_err(written)?;
        }
        fs::write(&self.out, text).map_err(written)?;
        Ok(if soaked.flaws == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
