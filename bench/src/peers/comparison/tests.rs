use super::*;
use crate::peers::{
    machine::Machine,
    results::{Outcome, Turn},
    scenario::Unit,
};
use std::collections::BTreeMap;

fn figures(cpu_seconds: f64) -> Figures {
    Figures {
        units: 1_000_000,
        seconds: 1.0,
        cpu_seconds: Some(cpu_seconds),
        idle: None,
        peak_kib: None,
        held: None,
        right: 1,
        failures: BTreeMap::new(),
        whole: None,
        first_token: None,
        between_tokens: None,
        on_the_way: None,
        on_the_way_p99_of_a_slice: None,
    }
}

/// CPU seconds of each contender in each round; a turn that failed has none.
fn results(turns: &[(Contender, [Option<f64>; 3])]) -> Results {
    let turns = turns.iter().flat_map(|&(contender, rounds)| {
        rounds.into_iter().zip(0..).map(move |(cpu, round)| Turn {
            round,
            contender,
            outcome: cpu.map_or(Outcome::Failed("it broke".into()), |cpu| {
                Outcome::Figures(Box::new(figures(cpu)))
            }),
        })
    });
    Results {
        scenario: "chat".into(),
        about: String::new(),
        unit: Unit::Request,
        date: String::new(),
        machine: Machine::this(),
        pinned: true,
        seed: 0,
        rounds: 3,
        window_s: 1.0,
        versions: BTreeMap::new(),
        skipped: BTreeMap::new(),
        turns: turns.collect(),
    }
}

const OURS: Contender = Contender::AdaptiveRouter;
const PEER: Contender = Contender::SglangRouter;

#[test]
fn ratios_are_taken_within_rounds() {
    // The machine was ten times slower in the second round: ratios of medians would say 0.5 / 2.0.
    let results = results(&[
        (OURS, [Some(0.5), Some(10.0), Some(0.4)]),
        (PEER, [Some(1.0), Some(20.0), Some(2.0)]),
    ]);
    let ratio = ratio(&results, OURS, PEER, Figures::cpu_micros_per_unit);
    let expected = Spread {
        median: 0.5,
        least: 0.2,
        most: 0.5,
    };
    assert_eq!(ratio, Some(expected));
}

#[test]
fn a_round_that_one_of_them_lacks_has_no_ratio() {
    let results = results(&[
        (OURS, [Some(1.0), None, Some(3.0)]),
        (PEER, [Some(2.0), Some(1.0), None]),
    ]);
    let ratio = ratio(&results, OURS, PEER, Figures::cpu_micros_per_unit);
    assert_eq!(
        ratio.map(|ratio| (ratio.least, ratio.most)),
        Some((0.5, 0.5))
    );
}

#[test]
fn what_the_workers_take_is_not_the_routers() {
    let results = results(&[
        (OURS, [Some(1.5), Some(2.5), Some(3.5)]),
        (Contender::Direct, [Some(1.0), Some(1.0), Some(1.0)]),
    ]);
    let added = added(&results, OURS, Figures::busy).unwrap();
    assert!((added.median - 1.5).abs() < 1e-9, "{added:?}");
}

#[test]
fn the_median_of_an_even_number_is_between_the_middle_two() {
    let expected = Spread {
        median: 2.5,
        least: 1.0,
        most: 4.0,
    };
    assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]), Some(expected));
    assert_eq!(Spread::of([]), None);
}
