//! The experiment at the size that every build can afford.

use pd_bench::experiment::{
    Arm, Grid, Measures, Planning, Report, Results, Store, csv, given, run,
};
use pd_bench::scenario::Progress;

#[test]
fn the_controller_beats_what_it_is_held_against_where_the_mix_shifts() {
    let folder = std::env::temp_dir().join(format!("pd-bench-experiment-{}", std::process::id()));
    let store = Store::open(folder.clone(), true).unwrap();
    let mut grid = Grid::quick(&[101]);
    grid.cells.truncate(1);
    grid.cells[0].arms.push(Arm {
        planning: Planning::Advise,
        measures: Measures::EVERY,
    });
    let at_decode = Measures {
        wait_for_decode: false,
        ..Measures::EVERY
    };
    grid.cells[0].arms.extend(Arm::all_with(at_decode, 4));
    let done = run(&grid, &store, Progress::Hidden).unwrap();
    let results = Results::new(&grid, &done.rows);
    assert_eq!(results.cells.len(), 1);
    for (_, contest) in results.contests() {
        // Where requests wait for decode in the workers a split that doesn't suit costs far more.
        let waits = contest.measures.wait_for_decode;
        let least = if waits { 0.02 } else { 0.1 };
        assert!(contest.over_best_fixed.mean > least, "{contest:?}");
        assert!(contest.over_threshold.mean > -0.03, "{contest:?}");
        // A fixed split may keep somebody waiting for longer than the router lets wait; moving workers loses nobody.
        for planner in ["threshold", "controller"] {
            assert!(contest.arm(planner).unwrap().failed == 0.0, "{planner}");
        }
        if !waits {
            continue;
        }
        // Deciding alone changes nothing: what is left is another draw of the routing policy now and then.
        let attained = |arm: &str| contest.arm(arm).unwrap().attainment.mean;
        let apart = attained("controller, advise only") - attained("2P2D");
        assert!(apart.abs() < 0.005, "{apart}");
    }

    let csv = csv(&results);
    assert_eq!(csv.lines().count() - 1, 6 + 5, "a line for each arm");
    let header = csv.lines().next().unwrap();
    assert!(header.starts_with("engine,traffic,load,"), "{header}");
    assert!(header.contains("late_ttft_p99_ms"), "{header}");
    let back: Results = serde_json::from_str(&results.to_json()).unwrap();
    assert_eq!(back.to_json(), results.to_json());
    assert!(Report(&back).to_string().starts_with("Simulated."));

    // An experiment that goes on where it was has the same results, from what was kept.
    let kept = std::fs::read_dir(&folder).unwrap().count();
    let again = run(&grid, &store, Progress::Hidden).unwrap();
    assert_eq!(
        Results::new(&grid, &again.rows).to_json(),
        results.to_json()
    );
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), kept);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Three workers, and two kinds of requests that take turns.
const SCENARIO: &str = r#"
description = "Small"
[fleet]
splits = ["1P2D"]
[launchers.in_place]
dark_s = 2
[workload.phases]
phase_s = 60
duration_s = 240
mixes = [
    { rate = 20, mix = { prompt = { fixed = 2048 }, output = { fixed = 64 } } },
    { rate = 6, mix = { prompt = { fixed = 128 }, output = { fixed = 1024 } } },
]
"#;

#[test]
fn a_scenario_of_ones_own_is_played_under_every_arm() {
    let file = std::env::temp_dir().join(format!("pd-bench-mine-{}.toml", std::process::id()));
    std::fs::write(&file, SCENARIO).unwrap();
    let grid = given(&file, &[1, 2]).unwrap();
    std::fs::remove_file(file).unwrap();
    let done = run(&grid, &Store::nowhere(), Progress::Hidden).unwrap();
    let results = Results::new(&grid, &done.rows);
    assert_eq!((results.cells.len(), results.contests().count()), (1, 6));
    for (_, contest) in results.contests() {
        let fixed = contest.arms.iter().filter(|arm| arm.is_fixed());
        let fixed: Vec<_> = fixed.map(|arm| arm.arm.as_str()).collect();
        assert_eq!(fixed, ["1P2D", "2P1D"]);
        let oracle = contest.arm("oracle").map(|arm| arm.attainment.mean);
        assert_eq!(oracle.is_some(), contest.measures == Measures::EVERY);
        let best = contest.arm(&contest.best_fixed).unwrap().attainment.mean;
        assert!(oracle.is_none_or(|oracle| oracle >= best), "{contest:?}");
    }
    // Every arm's run with the first seed is there as it went.
    assert_eq!(done.timelines.len(), 2 + 2 + 5);
    let report = Report(&results).to_string();
    let name = format!("pd-bench-mine-{} 1, 2 s", std::process::id());
    assert!(report.contains(" 1P2D  "), "{report}");
    assert!(report.contains(&name), "{report}");
}
