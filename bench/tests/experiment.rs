//! The experiment at the size that every build can afford.

use pd_bench::experiment::{Grid, Report, run};
use pd_bench::scenario::Progress;

#[test]
fn the_controller_beats_what_it_is_held_against_where_the_mix_shifts() {
    let mut grid = Grid::quick(&[101]);
    grid.cells.truncate(1);
    let rows = run(&grid, Progress::Hidden).unwrap();
    let report = Report::new(&grid, &rows);
    assert_eq!(report.cells.len(), 1);
    for cell in &report.cells {
        for contest in &cell.contests {
            assert!(contest.over_best_fixed.mean > 0.1, "{contest:?}");
            assert!(contest.over_threshold.mean > -0.03, "{contest:?}");
            assert!(contest.arms.iter().all(|arm| arm.failed == 0.0));
        }
    }
    let runs = report.to_csv().lines().count() - 1;
    assert_eq!(runs, 5, "a line for each arm");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["simulated"], true);
    assert!(report.to_string().starts_with("Simulated."));
}
