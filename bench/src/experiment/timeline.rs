//! One run as it went: what came, which split there was, who waited and who was served in time.

use std::time::Duration;

use policies::{ratio::Split, time::Timestamp, worker::Role};
use serde::{Deserialize, Serialize};

use super::{arms::Arm, grid::Cell};
use crate::sim::{Absence, Outcome, Served, Slo};

/// Time between two points.
const STEP: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    pub arm: String,
    pub engine: String,
    pub traffic: String,
    pub load: f64,
    pub dark_s: u64,
    pub seed: u64,
    pub step_s: f64,
    pub points: Vec<Point>,
}

/// What arrived in one step, and how things stood at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Point {
    pub t_s: f64,
    pub prompt_tokens_per_s: f64,
    /// Those that the requests ask for that arrived.
    pub output_tokens_per_s: f64,
    pub prefill_workers: u32,
    pub decode_workers: u32,
    /// Workers that were given nothing: they drained, were between roles, or dead.
    pub away: u32,
    /// Requests that waited for their first token, in the router or at a worker.
    pub queued: u32,
    /// Of the requests that arrived in this step; `None` where none did.
    pub good_share: Option<f64>,
}

impl Timeline {
    /// Of a run of `arm` in `cell` that began with `start`.
    pub fn new(cell: &Cell, arm: &Arm, seed: u64, start: Split, outcome: &Outcome) -> Self {
        Self {
            arm: arm.name(),
            engine: cell.fleet.name.to_owned(),
            traffic: cell.traffic.name(),
            load: cell.load,
            dark_s: cell.dark.as_secs(),
            seed,
            step_s: STEP.as_secs_f64(),
            points: points(start, outcome, &cell.fleet.slo),
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a timeline is plain data with string keys")
    }
}

fn points(start: Split, outcome: &Outcome, slo: &Slo) -> Vec<Point> {
    let last = outcome.requests.last().map(|request| request.arrived);
    let steps = last.map_or(0, |last| step_of(last) + 1);
    let mut points: Vec<_> = (0..steps)
        .map(|step| at_beginning(start, &outcome.absences, STEP * step as u32))
        .collect();
    let mut good = vec![(0_u32, 0_u32); steps];
    for request in &outcome.requests {
        let step = step_of(request.arrived);
        let point = &mut points[step];
        let a_second = |tokens: u32| f64::from(tokens) / STEP.as_secs_f64();
        point.prompt_tokens_per_s += a_second(request.job.prompt_tokens);
        point.output_tokens_per_s += a_second(request.job.output_tokens);
        good[step].0 += u32::from(request.is_good(slo));
        good[step].1 += 1;
        for waiting in &mut points[waits_at(request, steps)] {
            waiting.queued += 1;
        }
    }
    for (point, (good, all)) in points.iter_mut().zip(good) {
        point.good_share = (all > 0).then(|| f64::from(good) / f64::from(all));
    }
    points
}

fn step_of(at: Timestamp) -> usize {
    (at.as_micros() / STEP.as_micros() as u64) as usize
}

/// The steps at whose beginnings a request waits for its first token.
fn waits_at(request: &Served, steps: usize) -> std::ops::Range<usize> {
    let until = request.first_token.unwrap_or(request.ended);
    let first = (step_of(request.arrived) + 1).min(steps);
    first..(step_of(until) + 1).clamp(first, steps)
}

/// The workers after `time`.
fn at_beginning(start: Split, absences: &[Absence], time: Duration) -> Point {
    let now = Timestamp::ZERO.after(time);
    let mut point = Point {
        t_s: time.as_secs_f64(),
        prefill_workers: start.prefill,
        decode_workers: start.decode,
        ..Point::default()
    };
    for absence in absences.iter().filter(|absence| absence.closed <= now) {
        let is_back = absence.back.is_some_and(|back| back <= now);
        if is_back {
            add(&mut point, absence.to, 1);
        } else {
            point.away += 1;
        }
        add(&mut point, absence.from, -1);
    }
    point
}

/// Workers that do both are in either role.
fn add(point: &mut Point, role: Role, workers: i32) {
    if role != Role::Decode {
        point.prefill_workers = point.prefill_workers.saturating_add_signed(workers);
    }
    if role != Role::Prefill {
        point.decode_workers = point.decode_workers.saturating_add_signed(workers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sim::{self, RoleChange, Setup},
        workload::{Job, Workload},
    };
    use policies::model::WorkerModel;

    #[test]
    fn a_timeline_shows_what_came_and_where_the_workers_were() {
        let job = Job {
            prompt_tokens: 100,
            cached_tokens: 0,
            output_tokens: 10,
            class: 0,
        };
        let at = |second: u64| Timestamp::from_micros(second * 1_000_000);
        let workload = Workload::Open {
            arrivals: (0..30).map(|second| (at(second), job)).collect(),
        };
        let setup = Setup {
            changes: vec![RoleChange {
                at: at(7),
                from: Role::Prefill,
                dark: Duration::from_secs(6),
            }],
            ..Setup::study(WorkerModel::default(), 2, 2)
        };
        let start = Split {
            prefill: 2,
            decode: 2,
        };
        let points = points(start, &sim::run(&setup, &workload), &setup.slo);
        assert_eq!(points.len(), 6);
        let workers: Vec<_> = points
            .iter()
            .map(|point| (point.prefill_workers, point.decode_workers, point.away))
            .collect();
        assert_eq!(
            workers,
            [
                (2, 2, 0),
                (2, 2, 0),
                (1, 2, 1),
                (1, 3, 0),
                (1, 3, 0),
                (1, 3, 0)
            ]
        );
        for point in &points {
            assert!((point.prompt_tokens_per_s - 100.0).abs() < 1e-9);
            assert_eq!((point.good_share, point.queued), (Some(1.0), 0));
        }
        let json = serde_json::to_string(&points).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Point>>(&json).unwrap(), points);
    }
}
