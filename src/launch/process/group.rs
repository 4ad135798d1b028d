//! The process group of a worker: its main process and everything that one started.
//!
//! The main process can end and leave children behind (a scheduler that holds the GPU's memory and the ports). A group
//! has no pidfd, so before its number is signalled it is shown that the number still means this group.

use std::time::Duration;

use rustix::process::{Signal, kill_process_group};
use tokio::time::{Instant, sleep};

use super::error::LaunchError;
use super::proc::{self, Identity, Process};

/// How long killed processes may take to go: a driver may have gigabytes of GPU memory to give back.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks at them.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The group that `leader` was started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) leader: Identity,
}

impl Group {
    /// Kills what is left of it and waits until nothing is. A process that begins during the kill is caught by the next.
    pub(super) async fn end(self) -> Result<(), LaunchError> {
        let deadline = Instant::now() + GONE_WITHIN;
        while self.is_there() {
            if Instant::now() >= deadline {
                return Err(LaunchError::Remains {
                    group: self.leader.pid,
                    waited: GONE_WITHIN,
                });
            }
            if let Some(number) = proc::number(self.leader.pid) {
                // Its last member may just have gone.
                let _ = kill_process_group(number, Signal::KILL);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Whether a process of the group runs.
    pub(super) fn is_there(self) -> bool {
        // The kernel gives no number away that a group still has. So if the leader's is another process's, the group
        // is gone, and whatever has its number now is somebody else's.
        let leader = proc::process(self.leader.pid);
        if leader.is_some_and(|leader| leader.identity != self.leader) {
            return false;
        }
        proc::all()
            .filter_map(proc::process)
            .any(|process| self.has(process))
    }

    /// Without its leader a group is known by its number, its session and that it can't be older than its leader was.
    fn has(self, process: Process) -> bool {
        process.group == self.leader.pid
            && process.identity.session == self.leader.session
            && process.identity.start >= self.leader.start
            && !process.is_zombie
    }
}
