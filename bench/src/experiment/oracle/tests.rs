use std::path::Path;

use super::*;
use crate::{
    experiment::{
        Engine,
        arms::{Measures, SLO, START},
        capacity::Kind,
    },
    sim,
    workload::{WorkloadSpec, spec::PhaseMix},
};

fn arm(planning: Planning) -> Arm {
    Arm {
        planning,
        measures: Measures::EVERY,
    }
}

/// Two phases that no split suits both.
fn work() -> Workload {
    let phase = |prompt, output, rate| PhaseMix {
        rate,
        mix: Kind { prompt, output }.mix(),
    };
    let spec = WorkloadSpec::Phases {
        mixes: vec![phase(2_048, 128, 46.0), phase(128, 2_048, 13.0)],
        phase_s: 120.0,
        jitter: 0.0,
        duration_s: 360.0,
    };
    spec.make(1, Path::new("")).unwrap()
}

#[test]
fn the_oracle_is_never_below_what_it_knows_and_finds_more() {
    let (work, dark) = (work(), Duration::from_secs(5));
    let setup = arm(Planning::Oracle).setup(&Engine::Calibrated.fleet(), dark, 1);
    let question = Question::new(&setup, dark, &work);
    let planned = arm(Planning::Controller).setup(&Engine::Calibrated.fleet(), dark, 1);
    let known = Trial::seen(START, &sim::run(&planned, &work), &SLO);
    let fixed = Split::all(4).into_iter().map(|split| {
        let setup = arm(Planning::Fixed(split)).setup(&Engine::Calibrated.fleet(), dark, 1);
        sim::run(&setup, &work).attainment(&SLO)
    });
    let most = fixed.fold(known.attainment(), f64::max);
    let found = find(&question, vec![known]);
    assert!(
        found.attainment() > most + 0.02,
        "{} {most}",
        found.attainment()
    );
    assert!(found.figures.moves >= 2.0);
}

#[test]
fn what_a_planner_did_is_done_again_by_its_schedule() {
    let (work, dark) = (work(), Duration::from_secs(5));
    let planned = arm(Planning::Threshold).setup(&Engine::Calibrated.fleet(), dark, 1);
    let seen = Trial::seen(START, &sim::run(&planned, &work), &SLO);
    assert!(seen.figures.moves >= 1.0);
    let setup = arm(Planning::Oracle).setup(&Engine::Calibrated.fleet(), dark, 1);
    let again = Trial::of(&Question::new(&setup, dark, &work), &seen.schedule);
    assert!((again.attainment() - seen.attainment()).abs() < 0.01);
    assert_eq!(again.splits, seen.splits);
}
