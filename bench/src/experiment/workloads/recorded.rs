//! Recorded traffic as more users would have made it.
//!
//! To let the same requests come faster would also let the hour pass faster, and a planner with it. So each request comes
//! several times instead, each time a little earlier or later: as many times as many users, over the same hour.

use std::{path::Path, time::Duration};

use rand::Rng;

use crate::workload::{
    Workload, WorkloadError,
    dice::{Use, dice},
    trace,
};

/// A repetition comes up to so much earlier or later.
const APART: Duration = Duration::from_secs(15);

pub(super) fn name(path: &Path) -> String {
    let name = path.file_stem().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

pub(super) fn make(path: &Path, users: f64, seed: u64) -> Result<Workload, WorkloadError> {
    let recorded = trace::load(path, trace::default_cache_blocks());
    Ok(multiplied(
        recorded.map_err(WorkloadError::Trace)?,
        users,
        seed,
    ))
}

/// Each request `users` times, on average where that is no whole number.
fn multiplied(workload: Workload, users: f64, seed: u64) -> Workload {
    let Workload::Open { arrivals } = workload else {
        return workload;
    };
    let mut dice = dice(seed, Use::Arrivals);
    let mut times = || {
        let more = dice.random::<f64>() < users.fract();
        (0..users as u32 + u32::from(more))
            .map(|_| dice.random_range(Duration::ZERO..=APART * 2))
            .collect::<Vec<_>>()
    };
    let mut multiplied: Vec<_> = arrivals
        .into_iter()
        .flat_map(|(at, job)| times().into_iter().map(move |late| (at.after(late), job)))
        .collect();
    multiplied.sort_by_key(|(at, _)| *at);
    Workload::Open {
        arrivals: multiplied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Job;
    use policies::time::Timestamp;

    #[test]
    fn more_users_make_more_requests_in_the_same_time() {
        let job = Job {
            prompt_tokens: 10,
            cached_tokens: 0,
            output_tokens: 1,
            class: 0,
        };
        let arrivals: Vec<_> = (0..2_000)
            .map(|second| (Timestamp::from_micros(second * 1_000_000), job))
            .collect();
        let made = multiplied(Workload::Open { arrivals }, 2.5, 1);
        assert!((4_850..5_150).contains(&made.len()), "{}", made.len());
        let span = made.span().unwrap().as_secs();
        assert!((1_960..=2_040).contains(&span), "{span}");
        let Workload::Open { arrivals } = made else {
            panic!("it was open")
        };
        assert!(arrivals.is_sorted_by_key(|(at, _)| *at));
    }
}
