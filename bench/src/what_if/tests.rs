use std::path::Path;

use super::*;
use crate::workload::WorkloadSpec;
use policies::route::PolicyKind;

fn question() -> Question {
    Question {
        model: WorkerModel::default(),
        fleet: "3x2".parse().unwrap(),
        slo: Slo {
            ttft: Duration::from_secs(2),
            itl: Duration::from_millis(25),
        },
        routing: Routing {
            policy: PolicyKind::PowerOfTwo,
            dispatch: Dispatch::AtOnce,
        },
        slot: Duration::from_secs(30),
        dark: vec![Duration::from_secs(2), Duration::from_secs(90)],
    }
}

fn work(toml: &str) -> Workload {
    let spec: WorkloadSpec = toml::from_str(toml).unwrap();
    spec.make(0, Path::new("")).unwrap()
}

/// Long prompts for two minutes, then long answers, at loads that no one split carries both of.
fn phases() -> Workload {
    work(
        r"
        [phases]
        phase_s = 120
        duration_s = 360
        mixes = [
            { rate = 40, mix = { prompt = { fixed = 2048 }, output = { fixed = 64 } } },
            { rate = 27, mix = { prompt = { fixed = 128 }, output = { fixed = 512 } } },
        ]
        ",
    )
}

/// Long prompts all the time.
fn steady() -> Workload {
    work(
        r"
        [poisson]
        rate = 34
        duration_s = 60
        mix = { prompt = { fixed = 2048 }, output = { fixed = 32 } }
        ",
    )
}

#[test]
fn steady_traffic_takes_its_split_and_gains_nothing_by_moving() {
    let answer = answer(&question(), &steady(), Progress::Hidden);
    assert_eq!(answer.best_fixed().split, "2P1D");
    let attained = answer.best_fixed().figures.attainment;
    for ceiling in &answer.ceilings {
        let moving = ceiling
            .best
            .as_ref()
            .map_or(0.0, |best| best.figures.attainment);
        assert!(moving <= attained + 0.01, "{moving} {attained}");
    }
}

#[test]
fn traffic_that_shifts_gains_by_moving_and_less_where_moving_is_dear() {
    let answer = answer(&question(), &phases(), Progress::Hidden);
    let fixed = answer.best_fixed().figures.attainment;
    let [cheap, dear] = [0, 1].map(|place| {
        let best = answer.ceilings[place].best.as_ref().unwrap();
        best.figures.attainment
    });
    assert!(cheap > fixed + 0.05, "{cheap} {fixed}");
    assert!(dear < cheap, "{dear} {cheap}");
}

#[test]
fn more_traffic_is_never_served_better() {
    let answer = answer(&question(), &steady(), Progress::Hidden);
    for place in 0..answer.fixed.len() {
        let attained = answer.rates.iter().map(|at| at.fixed[place].attainment);
        let attained: Vec<_> = attained.collect();
        // Up to the luck of which requests meet in a batch.
        assert!(attained.is_sorted_by(|a, b| *b <= a + 0.02), "{attained:?}");
    }
}

#[test]
fn an_answer_says_what_to_take() {
    let text = answer(&question(), &steady(), Progress::Hidden).to_string();
    for part in [
        "on 6 GPUs",
        "Fixed: take 2P1D",
        "wants the same split all the time",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn splits_that_attain_the_same_are_told_apart_by_what_they_do_under_more_traffic() {
    // Both splits attain everything now, and one prefill worker would be too few for twice as much.
    let idle = work(
        r"
        [poisson]
        rate = 15
        duration_s = 30
        mix = { prompt = { fixed = 2048 }, output = { fixed = 16 } }
        ",
    );
    let answer = answer(&question(), &idle, Progress::Hidden);
    let attained = answer.fixed.iter().map(|fixed| fixed.figures.attainment);
    assert_eq!(attained.collect::<Vec<_>>(), [1.0, 1.0]);
    assert_eq!(answer.best_fixed().split, "2P1D");
}
