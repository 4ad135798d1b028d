use super::*;
use crate::experiment::Measures;

const FILE: &str = r#"
description = "Eight workers"
[fleet]
splits = ["4P4D"]
warm = false
[slo]
ttft_ms = 500
itl_ms = 10
[launchers.restart]
dark_s = 60
[launchers.in_place]
dark_s = 2
[[failures]]
at_s = 5
worker = 7
down_s = 1
[workload.phases]
phase_s = 90
duration_s = 360
mixes = [
    { rate = 2, mix = { prompt = { fixed = 100 }, output = { fixed = 4 } } },
    { rate = 2, mix = { prompt = { fixed = 4 }, output = { fixed = 100 } } },
]
"#;

const CLOSED: &str = r#"
description = "A closed loop"
[fleet]
splits = ["1P2D", "2P1D"]
[workload.closed]
jobs = 10
concurrency = 2
mix = { prompt = { fixed = 100 }, output = { fixed = 4 } }
"#;

fn read(name: &str, text: &str) -> Result<Grid, GivenError> {
    let folder = std::env::temp_dir().join(format!("pd-bench-given-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("mine.toml");
    std::fs::write(&path, text).unwrap();
    let grid = grid(&path, &[1, 2]);
    std::fs::remove_dir_all(folder).unwrap();
    grid
}

#[test]
fn a_scenario_is_a_cell_for_each_time_away_with_all_arms_of_its_fleet() {
    let grid = read("phases", FILE).unwrap();
    let away: Vec<_> = grid.cells.iter().map(|cell| cell.dark.as_secs()).collect();
    assert_eq!(away, [2, 60]);
    let cell = &grid.cells[0];
    assert_eq!(cell.name(), "calibrated, mine, load 1, 2 s away");
    assert_eq!(cell.traffic.phase_seconds(), Some(90));
    assert_eq!(cell.traffic.failures(1, 8)[0].worker, 7);
    // Seven splits and two planners with each choice of measures, five more with every one.
    assert_eq!(cell.arms.len(), 6 * 9 + 5);
    let arm = Arm {
        planning: Planning::Controller,
        measures: Measures::EVERY,
    };
    let setup = arm.setup(&cell.fleet, cell.dark, 1);
    assert_eq!((setup.prefill, setup.decode, setup.warm), (4, 4, false));
    assert_eq!(setup.slo.ttft, Duration::from_millis(500));
}

#[test]
fn a_closed_loop_has_no_oracle_and_half_a_minute_away() {
    let grid = read("closed", CLOSED).unwrap();
    let [cell] = &grid.cells[..] else {
        panic!("one cell was expected");
    };
    assert_eq!(cell.dark, AWAY);
    let oracles = cell
        .arms
        .iter()
        .filter(|arm| arm.planning == Planning::Oracle);
    assert_eq!(oracles.count(), 0);
}

#[test]
fn what_arms_cannot_share_is_refused_with_what_to_do() {
    let with = |text: &str| format!("{text}\n{CLOSED}");
    let change = "[[role_changes]]\nat_s = 5\nfrom = \"decode\"\nlauncher = \"x\"\n";
    let change = format!("{CLOSED}\n[launchers.x]\ndark_s = 1\n{change}");
    let table = [
        (
            "sizes",
            CLOSED.replace("2P1D", "2P2D"),
            "all splits must have as many",
        ),
        (
            "few",
            CLOSED.replace("\"1P2D\", \"2P1D\"", "\"1P1D\""),
            "at least 3",
        ),
        ("changes", change, "pd-bench sim"),
        ("toml", with("="), "mine.toml"),
    ];
    for (name, text, expected) in table {
        let error = read(name, &text).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}
