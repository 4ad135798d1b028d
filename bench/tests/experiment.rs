//! The experiment at the size that every build can afford.

use pd_bench::experiment::{Arm, Grid, Measures, Planning, Report, Results, Store, csv, run};
use pd_bench::scenario::Progress;

#[test]
fn the_controller_beats_what_it_is_held_against_where_the_mix_shifts() {
    let folder = std::env::temp_dir().join(format!("pd-bench-experiment-{}", std::process::id()));
    let store = Store::open(folder.clone(), true).unwrap();
    let mut grid = Grid::quick(&[101]);
    grid.cells.truncate(1);
    grid.cells[0].arms.push(Arm {
        planning: Planning::Advise,
        measures: Measures::BOTH,
    });
    let done = run(&grid, &store, Progress::Hidden).unwrap();
    let results = Results::new(&grid, &done.rows);
    assert_eq!(results.cells.len(), 1);
    for (_, contest) in results.contests() {
        assert!(contest.over_best_fixed.mean > 0.1, "{contest:?}");
        assert!(contest.over_threshold.mean > -0.03, "{contest:?}");
        // A fixed split may keep somebody waiting for longer than the router lets wait; moving workers loses nobody.
        for planner in ["threshold", "controller"] {
            assert!(contest.arm(planner).unwrap().failed == 0.0, "{planner}");
        }
        // Deciding alone changes nothing: what is left is another draw of the routing policy now and then.
        let attained = |arm: &str| contest.arm(arm).unwrap().attainment.mean;
        let apart = attained("controller, advise only") - attained("2P2D");
        assert!(apart.abs() < 0.005, "{apart}");
    }

    let csv = csv(&results);
    assert_eq!(csv.lines().count() - 1, 6, "a line for each arm");
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
