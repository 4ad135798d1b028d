//! The machine that figures are from.

use serde::{Deserialize, Serialize};
use std::fs;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
}

const UNKNOWN: &str = "unknown";

impl Machine {
    /// This one, as far as `/proc` tells.
    pub fn this() -> Self {
        let line = |file: &str, name: &str| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory_kib = line("/proc/meminfo", "MemTotal")
            .and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok());
        // Not those that this process may use: it has left some to the router.
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cores = processors
            .lines()
            .filter(|line| line.starts_with("processor"))
            .count();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        Self {
            cpu: line("/proc/cpuinfo", "model name").unwrap_or_else(|| UNKNOWN.into()),
            cores,
            memory_gib: memory_kib.unwrap_or(0).div_ceil(1 << 20),
            kernel: kernel.map_or_else(|_| UNKNOWN.into(), |text| text.trim().to_owned()),
        }
    }
}
