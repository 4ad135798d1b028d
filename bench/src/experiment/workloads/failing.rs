//! Phases that take turns, in which workers die: a decode worker in the middle of the third phase, and a prefill worker in
//! the middle of the sixth, if they are in the roles that they began with. Each is back after a minute, which is what it
//! takes to load a model of this size from local disks.

use std::time::Duration;

use super::phases;
use crate::sim::Failure;

const DOWN: Duration = Duration::from_secs(60);

pub(super) fn name(seconds: u32) -> String {
    format!("{}, two workers die", phases::name(seconds))
}

pub(super) fn failures(seconds: u32, seed: u64, workers: u32) -> Vec<Failure> {
    let stretches = phases::stretches(seconds, seed);
    let last = workers.saturating_sub(1) as usize;
    let dying = [(2, last), (5, 0)];
    let failure = |(phase, worker): (usize, usize)| {
        let stretch = stretches.get(phase)?;
        let half = stretch.end.since(stretch.start) / 2;
        Some(Failure {
            at: stretch.start.after(half),
            worker,
            down: DOWN,
        })
    };
    dying.into_iter().filter_map(failure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_die_in_the_middle_of_their_phases() {
        for seed in 0..20 {
            let failures = failures(300, seed, 4);
            let workers: Vec<_> = failures.iter().map(|failure| failure.worker).collect();
            assert_eq!(workers, [3, 0]);
            let stretches = phases::stretches(300, seed);
            for (failure, phase) in failures.iter().zip([2, 5]) {
                let before = failure.at.since(stretches[phase].start);
                let after = stretches[phase].end.since(failure.at);
                assert!(before.abs_diff(after) <= Duration::from_micros(1));
            }
        }
    }
}
