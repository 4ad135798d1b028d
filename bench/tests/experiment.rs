//! The experiment at the size that every build can afford.

use pd_bench::experiment::{Grid, Report, Results, Store, csv, run};
use pd_bench::scenario::Progress;

#[test]
fn the_controller_beats_what_it_is_held_against_where_the_mix_shifts() {
    let mut grid = Grid::quick(&[101]);
    grid.cells.truncate(1);
    let done = run(&grid, &Store::nowhere(), Progress::Hidden).unwrap();
    let results = Results::new(&grid, &done.rows);
    assert_eq!(results.cells.len(), 1);
    for (_, contest) in results.contests() {
        assert!(contest.over_best_fixed.mean > 0.1, "{contest:?}");
        assert!(contest.over_threshold.mean > -0.03, "{contest:?}");
        assert!(contest.arms.iter().all(|arm| arm.failed == 0.0));
    }
    let csv = csv(&results);
    assert_eq!(csv.lines().count() - 1, 5, "a line for each arm");
    let header = csv.lines().next().unwrap();
    assert!(header.starts_with("engine,traffic,load,"), "{header}");
    assert!(header.contains("late_ttft_p99_ms"), "{header}");
    let back: Results = serde_json::from_str(&results.to_json()).unwrap();
    assert_eq!(back.to_json(), results.to_json());
    assert!(Report(&back).to_string().starts_with("Simulated."));
}
