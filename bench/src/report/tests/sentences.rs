//! The verdict follows from the figures.

use super::*;
use crate::report::verdict::verdict;

const FIXED: Attained = ("2P2D", [0.70, 0.72, 0.71]);

/// A cell: phase seconds, seconds away, the controller's attainment.
type Fought = (u32, u64, [f64; 3]);

fn sentences(cells: &[Fought]) -> Vec<String> {
    let cells = cells.iter().map(|(phase_seconds, dark_s, attained)| {
        let arms = [FIXED, ("controller", *attained)];
        cell(*phase_seconds, 0.8, *dark_s, contest(&arms))
    });
    verdict(&[results(cells.collect())])
}

const AHEAD: [f64; 3] = [0.90, 0.92, 0.92];
const EVEN: [f64; 3] = [0.60, 0.72, 0.80];
const BEHIND: [f64; 3] = [0.66, 0.69, 0.67];

#[test]
fn a_verdict_is_three_sentences_that_say_what_the_figures_say() {
    let table: &[(&[Fought], [&str; 3])] = &[
        (
            &[(300, 30, AHEAD), (120, 2, AHEAD), (600, 90, AHEAD)],
            [
                "beats the best fixed ratio, which nobody knows in advance, in 3 of 3 cells, loses in 0 and is level in 0: +20.3 points of all requests",
                "It wins with phases as short as 2 min (where a role change keeps a worker away for up to 2 s), and with role changes that keep a worker away for as long as 90 s (where phases last 10 min or more).",
                "Over all 3 comparisons that were run, with and without the router's measures, it is nowhere behind.",
            ],
        ),
        (
            &[(300, 30, AHEAD), (120, 90, BEHIND)],
            [
                "in 1 of 2 cells, loses in 1 and is level in 0",
                "phases as short as 5 min (where a role change keeps a worker away for up to 30 s)",
                "it loses in 1 beyond chance; the largest loss against the best fixed ratio is 3.7 points (calibrated, phases of 2 min, load 0.8, 90 s away).",
            ],
        ),
        (
            &[(300, 30, BEHIND)],
            [
                "in 0 of 1 cell, loses in 1 and is level in 0: -3.7 points",
                "There is no phase length and no cost of a role change",
                "it loses in 1 beyond chance",
            ],
        ),
        (
            &[(300, 30, EVEN), (120, 30, EVEN)],
            [
                "and the best fixed ratio are level: none of 2 cells shows a difference beyond chance (-0.3 points",
                "There is no phase length",
                "it loses in none beyond chance; the largest loss against the best fixed ratio, which may be chance, is 0.3 points (calibrated, phases of 5 min, load 0.8, 30 s away).",
            ],
        ),
    ];
    for (cells, expected) in table {
        let sentences = sentences(cells);
        assert_eq!(sentences.len(), 3);
        for (sentence, expected) in sentences.iter().zip(expected) {
            assert!(sentence.contains(expected), "{sentence}\nlacks: {expected}");
        }
        assert!(sentences[0].starts_with("On traffic that shifts (simulated), a ratio"));
    }
}

#[test]
fn one_seed_is_said_to_tell_nothing() {
    let mut one = won_and_lost();
    for contest in one.cells.iter_mut().flat_map(|cell| &mut cell.contests) {
        contest.over_best_fixed = Estimate::of(&[0.2]);
    }
    let sentences = verdict(&[one]);
    assert!(
        sentences[0].contains("with one seed can't be told from chance"),
        "{}",
        sentences[0]
    );
    assert!(sentences[1].starts_with("There is no phase length"));
}

#[test]
fn shifting_traffic_with_all_measures_decides_and_the_worst_is_looked_for_everywhere() {
    let mut shifting = won_and_lost();
    shifting.cells.truncate(1);
    let mut steady = won_and_lost();
    steady.cells.remove(0);
    steady.cells[0].phase_seconds = None;
    steady.cells[0].traffic = "steady".to_owned();
    steady.cells[0].contests[0].measures.migrate = false;
    let sentences = verdict(&[shifting, steady.clone()]);
    assert!(sentences[0].contains("in 1 of 1 cell,"), "{}", sentences[0]);
    let worst =
        "(calibrated, steady, load 0.8, 90 s away, measures: fresh-first and waiting for decode)";
    assert!(sentences[2].contains(worst), "{}", sentences[2]);
    let alone = verdict(&[steady]);
    assert!(
        alone[0].starts_with("On traffic that does not shift"),
        "{}",
        alone[0]
    );
}

#[test]
fn workers_without_a_split_are_named_where_they_win() {
    for (aggregated, expected) in [
        (BEHIND, None),
        (
            [0.98, 0.99, 0.99],
            Some("as \"aggregated, at best\" in 1 of 1 cell (+7.3 points"),
        ),
    ] {
        let arms = [
            FIXED,
            ("controller", AHEAD),
            ("aggregated, at best", aggregated),
        ];
        let sentences = verdict(&[results(vec![cell(300, 0.8, 30, contest(&arms))])]);
        assert_eq!(sentences.len(), if expected.is_some() { 4 } else { 3 });
        let last = sentences.last().unwrap();
        assert!(
            last.contains(expected.unwrap_or("nowhere behind")),
            "{last}"
        );
    }
}

#[test]
fn without_results_there_is_no_verdict() {
    assert!(verdict(&[]).is_empty());
    assert!(verdict(&[results(Vec::new())]).is_empty());
}

#[test]
fn a_scenario_of_ones_own_has_a_verdict_of_its_own() {
    let table = [
        (
            AHEAD,
            "On the traffic of the scenario (simulated), a ratio that follows the traffic beats the best fixed ratio (2P2D)",
            "It wins with role changes that keep a worker away for as long as 30 s.",
        ),
        (
            EVEN,
            "a ratio that follows the traffic and the best fixed ratio (2P2D) are level",
            "There is no cost of a role change",
        ),
        (
            BEHIND,
            "a ratio that follows the traffic loses against the best fixed ratio (2P2D)",
            "There is no cost of a role change",
        ),
    ];
    for (attained, first, second) in table {
        let arms = [FIXED, ("controller", attained)];
        let given = Results {
            part: Part::Scenario,
            ..results(vec![cell(300, 1.0, 30, contest(&arms))])
        };
        let sentences = verdict(&[given]);
        assert!(sentences[0].contains(first), "{}", sentences[0]);
        assert!(sentences[1].starts_with(second), "{}", sentences[1]);
    }
}
