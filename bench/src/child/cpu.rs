//! The processor time of a process, from `/proc`.
//!
//! Linux only: what other systems offer is either unsafe to call or that of children that have ended.

use rustix::process::Pid;
use std::{fmt, io, time::Duration};

/// The unit of `/proc/PID/stat`: `USER_HZ`, which is 100 in every Linux ABI that Rust supports.
const TICK: Duration = Duration::from_millis(10);

/// Why there is no processor time.
#[derive(Debug)]
pub enum CpuTimeError {
    Unreadable(io::Error),
    Garbled,
}

impl fmt::Display for CpuTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(
                f,
                "cannot read a process's CPU time, which works on Linux only: {error}"
            ),
            Self::Garbled => f.write_str("/proc/PID/stat doesn't look like that of Linux"),
        }
    }
}

impl std::error::Error for CpuTimeError {}

pub(super) fn of(pid: Pid) -> Result<Duration, CpuTimeError> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let stat = std::fs::read_to_string(path).map_err(CpuTimeError::Unreadable)?;
    parse(&stat).ok_or(CpuTimeError::Garbled)
}

/// User and system time of all threads, ended ones too.
fn parse(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may itself hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    // After it come the fields from the third on; user and system time are the 14th and 15th.
    let mut times = fields.split_ascii_whitespace().skip(14 - 3);
    let mut ticks = || times.next()?.parse::<u32>().ok();
    Some(TICK * ticks()? + TICK * ticks()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let rest = "S 1 42 42 0 -1 4194560 1500 0 3 0 250 50 7 9 20 0 3 0 88997 0";
        for name in ["router", "a b", "a) S 1 (b"] {
            let stat = format!("42 ({name}) {rest}");
            assert_eq!(parse(&stat), Some(Duration::from_secs(3)), "{stat}");
        }
    }

    #[test]
    fn a_line_without_times_gives_none() {
        for stat in [
            "",
            "42 (router) S 1 42",
            "42 (router) S 1 2 3 4 5 6 7 8 9 10 x y",
        ] {
            assert_eq!(parse(stat), None, "{stat}");
        }
    }
}
