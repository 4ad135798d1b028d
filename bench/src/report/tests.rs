//! Reports of small made-up experiments.

mod files;
mod golden;
mod sentences;

use super::directory::Directory;
use crate::{
    experiment::{
        Part, Results,
        results::{ArmResult, CellResult, Contest},
        statistics::Estimate,
        timeline::{Point, Timeline},
    },
    scenario::Figures,
};

const SEEDS: [u64; 3] = [1, 2, 3];

/// An arm and its attainment by seed.
type Attained<'a> = (&'a str, [f64; 3]);

/// The fixed split that all others are compared with is 2P2D.
fn contest(arms: &[Attained]) -> Contest {
    let attained = |name: &str| {
        let arm = arms.iter().find(|(arm, _)| *arm == name);
        arm.map(|(_, attained)| *attained)
    };
    let best = attained("2P2D").unwrap();
    let oracle = attained("oracle");
    let results = arms.iter().map(|(arm, attained)| ArmResult {
        arm: (*arm).to_owned(),
        attainment: Estimate::of(attained),
        over_best_fixed: Estimate::of_differences(attained, &best),
        regret: oracle.map(|oracle| Estimate::of_differences(&oracle, attained)),
        goodput: 10.0 * attained[0],
        moves: 4.0,
        failed: 0.0,
        away_worker_seconds: 120.0,
        runs: attained.map(run).into(),
    });
    let controller = attained("controller").unwrap_or(best);
    let threshold = attained("threshold").unwrap_or(best);
    Contest {
        measures: crate::experiment::Measures::EVERY,
        best_fixed: "2P2D".to_owned(),
        arms: results.collect(),
        over_best_fixed: Estimate::of_differences(&controller, &best),
        over_threshold: Estimate::of_differences(&controller, &threshold),
    }
}

fn run(attainment: f64) -> Figures {
    Figures {
        requests: 1000.0,
        attainment,
        goodput: 10.0 * attainment,
        steady_attainment: Some(attainment),
        ttft_p50_ms: 100.0,
        ttft_p90_ms: 900.0,
        ttft_p99_ms: 4000.0,
        itl_p50_ms: 8.0,
        itl_p90_ms: 12.0,
        itl_p99_ms: 30.0,
        late_ttft_p50_ms: 2500.0,
        late_ttft_p90_ms: 5000.0,
        late_ttft_p99_ms: 9000.0,
        ..Figures::default()
    }
}

fn cell(phase_seconds: u32, load: f64, dark_s: u64, contest: Contest) -> CellResult {
    CellResult {
        engine: "calibrated".to_owned(),
        traffic: format!("phases of {} min", phase_seconds / 60),
        phase_seconds: Some(phase_seconds),
        load,
        dark_s,
        contests: vec![contest],
    }
}

fn results(cells: Vec<CellResult>) -> Results {
    Results {
        simulated: true,
        part: Part::Shifting,
        seeds: SEEDS.into(),
        slo_ttft_s: 2.0,
        slo_itl_s: 0.025,
        cells,
        sustained: Vec::new(),
    }
}

/// Two cells: the controller wins the one and loses the other.
fn won_and_lost() -> Results {
    let won = contest(&[
        ("2P2D", [0.70, 0.72, 0.71]),
        ("3P1D", [0.50, 0.52, 0.51]),
        ("threshold", [0.75, 0.74, 0.73]),
        ("controller", [0.90, 0.92, 0.92]),
        ("oracle", [0.95, 0.96, 0.97]),
    ]);
    let lost = contest(&[
        ("2P2D", [0.70, 0.72, 0.71]),
        ("3P1D", [0.50, 0.52, 0.51]),
        ("threshold", [0.60, 0.61, 0.62]),
        ("controller", [0.66, 0.69, 0.67]),
        ("oracle", [0.75, 0.76, 0.77]),
    ]);
    results(vec![cell(300, 0.8, 30, won), cell(120, 0.8, 90, lost)])
}

fn timeline() -> Timeline {
    let point = |step: u32| Point {
        t_s: 5.0 * f64::from(step),
        prompt_tokens_per_s: 40_000.0,
        output_tokens_per_s: 900.0,
        prefill_workers: 2,
        decode_workers: if step == 1 { 1 } else { 2 },
        away: u32::from(step == 1),
        queued: 7 * step,
        good_share: (step != 2).then_some(0.5),
    };
    Timeline {
        arm: "controller".to_owned(),
        engine: "calibrated".to_owned(),
        traffic: "phases of 5 min".to_owned(),
        load: 0.8,
        dark_s: 30,
        seed: 1,
        step_s: 5.0,
        points: (0..4).map(point).collect(),
    }
}

fn directory(results: Results) -> Directory {
    Directory {
        parts: vec![results],
        timelines: vec![timeline()],
        missing: Vec::new(),
    }
}
