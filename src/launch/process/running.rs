//! The main process of a worker, held by a pidfd: when it ends, and how it is told to.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::process::{
    PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::proc::{self, Identity, Process};
use crate::cluster::LaunchCommand;

/// Set for every worker to a text of its own, by which one is found that was started and not yet written down.
pub(super) const LAUNCH_VARIABLE: &str = "ADAPTIVE_ROUTER_LAUNCH";

/// A process that ran when this was made. Dropping it leaves the process as it is.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) identity: Identity,
    pidfd: AsyncFd<OwnedFd>,
}

impl Running {
    /// Starts `command` as a process group of its own, so that a signal to the router's group (Ctrl-C in a terminal)
    /// doesn't reach it and its group can be ended as one. It writes to `log` itself: a pipe would end with the router,
    /// and the worker at its next line.
    pub(super) fn start(command: &LaunchCommand, launch: &str, log: &File) -> io::Result<Self> {
        let child = Command::new(&command.program)
            .args(&command.args)
            .envs(&command.env)
            .env(LAUNCH_VARIABLE, launch)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .process_group(0)
            .spawn()?;
        // Nobody but `reap` asks for it, so its number can't have been given away.
        let pid = i32::try_from(child.id()).expect("process numbers are below four million");
        Self::open(pid, |_| true)?.ok_or_else(|| io::Error::other("it is not in /proc"))
    }

    /// Takes over the process that `identity` names, if it is still that one and runs.
    pub(super) fn adopt(identity: Identity) -> Option<Self> {
        let is_it = |found: Process| found.identity == identity && !found.is_zombie;
        Self::open(identity.pid, is_it).ok()?
    }

    /// The pidfd first and the look after it: what the look finds to be the right process is what the pidfd holds.
    fn open(pid: i32, is_right: impl Fn(Process) -> bool) -> io::Result<Option<Self>> {
        let Some(number) = proc::number(pid) else {
            return Ok(None);
        };
        let pidfd = pidfd_open(number, PidfdFlags::empty())?;
        let found = proc::process(pid).filter(|process| is_right(*process));
        let Some(process) = found else {
            return Ok(None);
        };
        #[expect(
            deprecated,
            reason = "unsound only for types whose descriptor can change, which an OwnedFd's can't; its successor is unsafe"
        )]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        Ok(Some(Self {
            identity: process.identity,
            pidfd,
        }))
    }

    /// Returns when the process has ended.
    pub(super) async fn ended(&self) {
        // Readable for ever once it has. An error means that the runtime ends, and everything with it.
        let _ = self.pidfd.readable().await;
    }

    pub(super) fn signal(&self, signal: Signal) {
        // One that has ended needs no signal.
        let _ = pidfd_send_signal(self.pidfd.get_ref(), signal);
    }

    /// Lets an ended child's number go, and says how it ended. Of a process that was taken over nobody can tell.
    pub(super) fn reap(&self) -> String {
        let pidfd = self.pidfd.get_ref().as_fd();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(pidfd), options).ok().flatten();
        let Some(status) = status else {
            return "it ended".to_owned();
        };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "it ended".to_owned(),
        }
    }
}
