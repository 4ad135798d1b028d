//! The memory of a process, from `/proc/PID/status`.

use rustix::process::Pid;
use std::{fmt, io};

/// What of a process is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub now_kib: u64,
    /// The most that there ever was.
    pub peak_kib: u64,
}

/// Why it is not known.
#[derive(Debug)]
pub enum MemoryError {
    Unreadable(io::Error),
    Garbled,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(
                f,
                "cannot read a process's memory, which works on Linux only: {error}"
            ),
            Self::Garbled => f.write_str("/proc/PID/status doesn't look like that of Linux"),
        }
    }
}

impl std::error::Error for MemoryError {}

pub(super) fn of(pid: Pid) -> Result<Memory, MemoryError> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).map_err(MemoryError::Unreadable)?;
    parse(&status).ok_or(MemoryError::Garbled)
}

fn parse(status: &str) -> Option<Memory> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    Some(Memory {
        now_kib: kib("VmRSS:")?,
        peak_kib: kib("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_figures_are_found_by_their_names() {
        let status = "Name:\tx\nVmHWM:\t   20480 kB\nVmRSS:\t    1024 kB\n";
        let memory = Memory {
            now_kib: 1024,
            peak_kib: 20480,
        };
        assert_eq!(parse(status), Some(memory));
        assert_eq!(parse("Name:\tx\n"), None);
    }
}
