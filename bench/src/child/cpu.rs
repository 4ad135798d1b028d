//! The processor time of a process, by the clock that the kernel keeps for it.
//!
//! `/proc/PID/stat` counts in hundredths of a second, of which a short measurement has few; this clock counts
//! nanoseconds, of all threads, ended ones too.

use nix::{errno::Errno, time::clock_getcpuclockid};
use rustix::process::Pid;
use std::{fmt, time::Duration};

/// Why there is no processor time.
#[derive(Debug)]
pub struct CpuTimeError(Errno);

impl fmt::Display for CpuTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read a process's CPU time: {}", self.0)
    }
}

impl std::error::Error for CpuTimeError {}

pub(super) fn of(pid: Pid) -> Result<Duration, CpuTimeError> {
    let pid = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
    let clock = clock_getcpuclockid(pid).map_err(CpuTimeError)?;
    let time = clock.now().map_err(CpuTimeError)?;
    Ok(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_and_a_process_that_is_not_there_has_no_clock() {
        let me = Pid::from_raw(i32::try_from(std::process::id()).unwrap()).unwrap();
        let before = of(me).unwrap();
        while of(me).unwrap() < before + Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        // The largest id that Linux gives is 2^22; a clock has 29 bits for one.
        assert!(of(Pid::from_raw(1 << 25).unwrap()).is_err());
    }
}
