//! The cluster file, and how the processes of its workers are kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::error::{ConfigError, Conflict};
use super::parse;
use crate::cluster::Cluster;

const HEADING: &str = "Workers That The Router Starts";

/// The workers of a cluster file.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSettings {
    pub cluster: Arc<Cluster>,
    pub state_dir: PathBuf,
    pub stop_on_exit: bool,
    pub stop_timeout: Duration,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub(super) struct ClusterFlags {
    /// Start the workers that this TOML file lists, and keep them running (implies PD mode)
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Where the workers' state and logs are kept; of one router alone [default: FILE.state beside the cluster file]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Stop the workers when the router stops; without it they run on and the next router takes them over
    #[arg(long, action = ArgAction::SetTrue)]
    stop_workers_on_exit: bool,

    /// Seconds that a worker may take to end before it is killed
    #[arg(id = "worker-stop-timeout-secs", long, value_name = "SECS", default_value = "60", value_parser = parse::positive_seconds)]
    stop_timeout: Duration,

    /// Print the command lines of the cluster file's workers, in both roles, and end
    #[arg(long = PRINT_LAUNCH_COMMANDS)]
    pub(super) print_launch_commands: bool,
}

pub(super) const PRINT_LAUNCH_COMMANDS: &str = "print-launch-commands";

impl ClusterFlags {
    pub(super) fn is_given(&self) -> bool {
        self.cluster.is_some()
    }

    pub(super) fn conclude(
        self,
        ignored: &mut Vec<String>,
    ) -> Result<Option<ClusterSettings>, ConfigError> {
        let Some(file) = self.cluster else {
            if self.print_launch_commands {
                return Err(Conflict::CommandsWithoutCluster.into());
            }
            for (given, flag) in [
                (self.state_dir.is_some(), "--state-dir"),
                (self.stop_workers_on_exit, "--stop-workers-on-exit"),
            ] {
                if given {
                    ignored.push(format!("{flag} (needs --cluster)"));
                }
            }
            return Ok(None);
        };
        let cluster = Cluster::load(&file).map_err(ConfigError::Cluster)?;
        Ok(Some(ClusterSettings {
            cluster: Arc::new(cluster),
            state_dir: self.state_dir.unwrap_or_else(|| {
                let mut beside = file.into_os_string();
                beside.push(".state");
                beside.into()
            }),
            stop_on_exit: self.stop_workers_on_exit,
            stop_timeout: self.stop_timeout,
        }))
    }
}
