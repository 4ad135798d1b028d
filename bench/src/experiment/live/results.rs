//! What was played beside what was simulated, in full: what is written as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Demand, LivePlan, figures::Figures, play::Played, scene::Scene};
use crate::experiment::Measures;
use crate::experiment::arms::SLO;

/// Live and simulated attainment agree up to so much.
pub const TOLERANCE: f64 = 0.05;

/// Both sides of all arms. Times are in the model's time, if nothing else is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveResults {
    pub workers: u32,
    /// How many times as long as the model's everything took.
    pub time_scale: f64,
    /// Prompt and answer tokens of the two kinds, in the mean.
    pub kinds: [String; 2],
    /// A share of what the best split carries of each kind; nothing where rates were asked for.
    pub load: Option<f64>,
    pub requests_per_second: [f64; 2],
    pub phase_seconds: f64,
    pub seconds: f64,
    /// That a request waits in the router at most.
    pub queue_seconds: f64,
    pub slo_ttft_s: f64,
    pub slo_itl_s: f64,
    /// How long a worker was away in the simulator when its role was changed, after its drain.
    pub away_s: f64,
    /// What the router did besides, in all arms.
    #[serde(flatten)]
    pub measures: Measures,
    pub arms: Vec<Live>,
}

/// An arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    pub arm: String,
    pub runs: Vec<LiveRun>,
}

/// One seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveRun {
    pub seed: u64,
    pub live: Side,
    /// One for each draw of the routing policy.
    pub simulated: Vec<Side>,
    pub failed_moves: f64,
    /// Seconds that workers drained before their role changes, and were away for them, added up.
    pub drain_s: f64,
    pub away_s: f64,
    /// The 99th percentile of how long after its moment a request was sent, by the clock.
    pub sent_late_p99_s: f64,
    /// Processors that the router had in the mean; nothing where the system doesn't say.
    pub router_cpus: Option<f64>,
}

/// One run, played or simulated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Side {
    #[serde(flatten)]
    pub figures: Figures,
    pub moves: f64,
}

impl Side {
    pub(super) fn new(scene: &Scene, requests: &[super::Request], moves: f64) -> Self {
        Self {
            figures: Figures::of(requests, scene.seconds, scene.scale),
            moves,
        }
    }
}

impl LiveRun {
    pub(super) fn new(seed: u64, scene: &Scene, played: &Played, simulated: Vec<Side>) -> Self {
        let Played {
            requests, moves, ..
        } = played;
        Self {
            seed,
            live: Side::new(scene, requests, moves.made),
            simulated,
            failed_moves: moves.failed,
            drain_s: moves.drain_seconds / scene.scale,
            away_s: moves.away_seconds / scene.scale,
            sent_late_p99_s: played.sent_late_p99_seconds,
            router_cpus: played.router_cpus,
        }
    }

    /// A figure of the simulated runs, in the mean.
    pub fn simulated(&self, of: impl Fn(&Side) -> f64) -> f64 {
        mean(self.simulated.iter().map(of))
    }
}

impl Live {
    /// A figure of the runs that were played, in the mean.
    pub fn live(&self, of: impl Fn(&Side) -> f64) -> f64 {
        mean(self.runs.iter().map(|run| of(&run.live)))
    }

    /// The same of the simulated ones.
    pub fn simulated(&self, of: impl Fn(&Side) -> f64) -> f64 {
        mean(self.runs.iter().map(|run| run.simulated(&of)))
    }

    /// By how much more was attained live.
    pub fn difference(&self) -> f64 {
        let attainment = |side: &Side| side.figures.attainment;
        self.live(attainment) - self.simulated(attainment)
    }

    pub fn agrees(&self) -> bool {
        self.difference().abs() <= TOLERANCE
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    sum / f64::max(count, 1.0)
}

impl LiveResults {
    pub(super) fn new(plan: &LivePlan, scene: &Scene, away: Duration, arms: Vec<Live>) -> Self {
        Self {
            workers: scene.workers,
            time_scale: scene.scale,
            kinds: scene.kinds.map(super::Kind::name),
            load: match plan.demand {
                Demand::Load(load) => Some(load),
                Demand::Rates(_) => None,
            },
            requests_per_second: scene.rates,
            phase_seconds: scene.phase_seconds,
            seconds: scene.seconds,
            queue_seconds: scene.queue_seconds,
            slo_ttft_s: SLO.ttft.as_secs_f64(),
            slo_itl_s: SLO.itl.as_secs_f64(),
            away_s: away.as_secs_f64() / scene.scale,
            measures: Measures {
                migrate: false,
                ..Measures::EVERY
            },
            arms,
        }
    }

    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("results are plain data with string keys")
    }
}
