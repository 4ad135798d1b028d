//! What came of the role changes.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::router::Done;
use crate::load;

#[derive(Debug, Default)]
pub struct Report {
    pub done: Done,
    /// Processes of workers that were killed.
    pub crashes: u32,
    pub router_deaths: u32,
    /// Load while at most workers died, and around the deaths of the router.
    pub calm: Vec<load::Report>,
    pub around_deaths: Vec<load::Report>,
    /// From the wish for a split to the split, the longest.
    pub longest_step: Duration,
    /// Processes and ports that were left at the end.
    pub orphans: usize,
    pub ports_left: usize,
}

impl Report {
    /// Nothing wrong anywhere, nothing without an answer while the router lived, and nothing left behind.
    pub fn is_flawless(&self) -> bool {
        self.calm.iter().all(load::Report::is_flawless)
            && self.around_deaths.iter().all(|load| load.wrong() == 0)
            && self.orphans + self.ports_left == 0
    }

    pub fn to_json(&self) -> Value {
        let loads =
            |loads: &[load::Report]| -> Value { loads.iter().map(load::Report::to_json).collect() };
        json!({
            "role_changes": self.done.changes,
            "failed_role_changes": self.done.failed_changes,
            "streams_continued": self.done.streams_continued,
            "crashes": self.crashes,
            "router_deaths": self.router_deaths,
            "load": loads(&self.calm),
            "load_around_router_deaths": loads(&self.around_deaths),
            "longest_step_s": self.longest_step.as_secs_f64(),
            "orphans": self.orphans,
            "ports_left": self.ports_left,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "role changes    {:>10}", self.done.changes)?;
        writeln!(f, "  failed        {:>10}", self.done.failed_changes)?;
        writeln!(f, "workers killed  {:>10}", self.crashes)?;
        writeln!(f, "router killed   {:>10}", self.router_deaths)?;
        writeln!(f, "streams moved   {:>10}", self.done.streams_continued)?;
        for (name, loads) in [
            ("while the router lived", &self.calm),
            ("around its deaths", &self.around_deaths),
        ] {
            if loads.is_empty() {
                continue;
            }
            let sum = |of: fn(&load::Report) -> u64| loads.iter().map(of).sum::<u64>();
            writeln!(f, "answers {name}")?;
            writeln!(f, "  right         {:>10}", sum(|load| load.ok))?;
            writeln!(f, "  wrong         {:>10}", sum(load::Report::wrong))?;
            writeln!(f, "  failed        {:>10}", sum(load::Report::failed))?;
            for load in loads {
                for (failure, count) in &load.failures {
                    writeln!(f, "    {failure:<12}{count:>10}")?;
                }
            }
        }
        writeln!(
            f,
            "longest step    {:>10.1} s",
            self.longest_step.as_secs_f64()
        )?;
        writeln!(f, "processes left  {:>10}", self.orphans)?;
        write!(f, "ports left      {:>10}", self.ports_left)
    }
}
