//! The command.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Plan, RunError, run};

#[derive(Args)]
pub struct RoleChangesArgs {
    /// The router's program, such as target/release/adaptive-router
    #[arg(long, value_name = "PATH")]
    router: PathBuf,
    /// The folder with the stand-in for the sglang package
    #[arg(long, value_name = "PATH", default_value = "bench/stand-in")]
    stand_in: PathBuf,
    /// Role changes to make
    #[arg(long, value_name = "N", default_value_t = 200)]
    changes: u32,
    /// Share of the steps before which a worker is killed, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    crashes: f64,
    /// How often the router itself is killed
    #[arg(long, value_name = "N", default_value_t = 3)]
    router_deaths: u32,
    /// Requests in flight at any time
    #[arg(long, value_name = "N", default_value_t = 64)]
    concurrency: u32,
    /// Change roles in place; otherwise each is a restart
    #[arg(long)]
    in_place: bool,
    /// Have streams leave a worker that is to change its role (--drain-overdue migrate)
    #[arg(long)]
    migrate: bool,
    /// Seed of splits, crashes and prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl RoleChangesArgs {
    pub async fn run(self) -> Result<ExitCode, RunError> {
        let bar = ProgressBar::new(self.changes.into());
        let style =
            ProgressStyle::with_template("{bar:30} {pos} of {len} role changes, {eta} left");
        bar.set_style(style.expect("the template is a good one"));
        bar.enable_steady_tick(Duration::from_secs(1));
        let plan = Plan {
            router: self.router,
            stand_in: self.stand_in,
            changes: self.changes,
            crashes: self.crashes,
            router_deaths: self.router_deaths,
            concurrency: self.concurrency,
            in_place: self.in_place,
            migrate: self.migrate,
            seed: self.seed,
        };
        let report = run(&plan, |changes| bar.set_position(changes.into())).await;
        bar.finish_and_clear();
        let report = report?;
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
