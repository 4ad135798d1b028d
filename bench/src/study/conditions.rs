//! What a run found at the servers: it decides what the measured figures mean, and was not recorded.
//!
//! The study's script ran 128, 64 and 32 clients one after the other against the same servers, with the same 500
//! prompts. From that follows what is assumed here; [`Assumptions::NONE`] is there to see what the assumptions do.

use super::Cell;

/// Which of the assumptions hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumptions {
    /// Later runs found the prompts of the earlier ones in the prefix caches.
    pub caches: bool,
    /// The fleets of 14 September had served before the runs that were kept.
    pub served_before: bool,
}

impl Assumptions {
    pub const ALL: Self = Self {
        caches: true,
        served_before: true,
    };
    pub const NONE: Self = Self {
        caches: false,
        served_before: false,
    };
}

/// The day whose fleets show neither cold caches nor a stall in their first runs.
const SERVED_BEFORE: &str = "20250914";
/// No run with as few clients shows a stall of its first wave.
const NO_STALL_UP_TO: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// The prompts are in the prefix caches.
    pub cached: bool,
    /// The first wave of requests is held up.
    pub stalls: bool,
}

impl Conditions {
    pub fn of(cell: &Cell, assumptions: Assumptions) -> Self {
        let served_before = assumptions.served_before && cell.day() == SERVED_BEFORE;
        let first_run = cell.concurrency >= 128;
        // Round robin over two workers, and 500 requests and one to try the server: each prompt of the second run goes
        // to the worker that did not have it, and in the third both have it.
        let misses = cell.prefill == 2 && cell.concurrency == 64;
        Self {
            cached: assumptions.caches && (served_before || !(first_run || misses)),
            stalls: !served_before && cell.concurrency > NO_STALL_UP_TO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::table;

    #[test]
    fn first_runs_are_cold_but_for_the_day_that_had_served() {
        let cold = table::shipped()
            .into_iter()
            .filter(|cell| !Conditions::of(cell, Assumptions::ALL).cached);
        let names: Vec<_> = cold.map(|cell| cell.name()).collect();
        assert_eq!(
            names,
            [
                "2P2D 128/2048 at 128",
                "2P2D 128/2048 at 64",
                "3P1D 128/2048 at 128",
                "2P2D 2048/2048 at 128",
                "2P2D 2048/2048 at 64",
                "3P1D 2048/2048 at 128",
                "1P3D 2048/128 at 128",
                "2P2D 2048/128 at 128",
                "2P2D 2048/128 at 64",
                "3P1D 2048/128 at 128",
            ]
        );
    }

    #[test]
    fn without_assumptions_nothing_is_cached_and_every_larger_run_stalls() {
        for cell in table::shipped() {
            let conditions = Conditions::of(&cell, Assumptions::NONE);
            assert!(!conditions.cached);
            assert_eq!(conditions.stalls, cell.concurrency > 32);
        }
    }
}
