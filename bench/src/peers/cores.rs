//! Which cores run what: the router has one for itself, everything else has the others.
//!
//! A program inherits the cores of the thread that starts it, so it never runs anywhere else, and sizes its thread pool
//! to what it has.

use rustix::{
    io::Errno,
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use std::{fs, io};

/// The division of this machine's cores.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    router: CpuSet,
    rest: CpuSet,
}

impl Cores {
    /// The first of the cores that this process may use is the router's. None where there is only one.
    pub fn divided() -> Result<Option<Self>, Errno> {
        let all = sched_getaffinity(None)?;
        let usable: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&core| all.is_set(core))
            .collect();
        let Some((&first, others)) = usable.split_first() else {
            return Ok(None);
        };
        if others.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            router: set_of(&[first]),
            rest: set_of(others),
        }))
    }

    /// Moves this whole process off the router's core.
    pub fn leave_to_router(&self) -> io::Result<()> {
        for thread in fs::read_dir("/proc/self/task")? {
            let name = thread?.file_name();
            let id = name.to_str().and_then(|name| name.parse().ok());
            let Some(id) = id.and_then(Pid::from_raw) else {
                continue;
            };
            match sched_setaffinity(Some(id), &self.rest) {
                // A thread may end meanwhile.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Starts something that runs on the router's core alone.
    pub fn as_router<T>(&self, start: impl FnOnce() -> T) -> Result<T, Errno> {
        sched_setaffinity(None, &self.router)?;
        let started = start();
        sched_setaffinity(None, &self.rest)?;
        Ok(started)
    }
}

fn set_of(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    set
}
