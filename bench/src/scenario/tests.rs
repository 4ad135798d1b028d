use std::time::Duration;

use super::*;

const SMALLEST: &str = r#"
description = "Smallest"
[fleet]
splits = ["1P1D"]
[workload.closed]
jobs = 40
concurrency = 4
mix = { prompt = { uniform = { mean = 512, spread = 0.5 } }, output = { fixed = 16 } }
"#;

fn parsed(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(Path::new("scenario.toml"), text)
}

#[test]
fn the_same_seed_gives_the_same_report_and_another_another() {
    let scenario = parsed(SMALLEST).unwrap();
    let report = || run(&scenario, 2, Progress::Hidden).unwrap();
    assert_eq!(report().to_json(), report().to_json());
    let runs = &report().splits[0].runs;
    assert_ne!(runs[0], runs[1]);
}

#[test]
fn the_workers_are_those_of_the_model_file_beside_the_scenario() {
    let with = |file: &str| {
        let line = format!("splits = [\"1P1D\"]\nmodel = \"{file}\"");
        let text = SMALLEST.replace("splits = [\"1P1D\"]", &line);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/scenario.toml");
        Scenario::parse(Path::new(path), &text)
    };
    let report = |scenario: &Scenario| run(scenario, 1, Progress::Hidden).unwrap().to_json();
    let shipped = with("../models/h200-gpt-oss-120b-tp2.toml").unwrap();
    assert_eq!(report(&shipped), report(&parsed(SMALLEST).unwrap()));
    let error = with("../models/none.toml").unwrap_err().to_string();
    assert!(error.contains("fleet.model: cannot read"), "{error}");
}

#[test]
fn every_split_sees_the_same_requests() {
    let text = SMALLEST.replace("\"1P1D\"", "\"1P2D\", \"2P1D\"");
    let report = run(&parsed(&text).unwrap(), 1, Progress::Hidden).unwrap();
    let requests: Vec<_> = report
        .splits
        .iter()
        .map(|split| split.mean.requests)
        .collect();
    assert_eq!(requests, [40.0, 40.0]);
}

#[test]
fn a_launcher_gives_its_changes_their_dark_time() {
    let text = format!(
        "{SMALLEST}\n[launchers.restart]\ndark_s = 60\n[[role_changes]]\nat_s = 5\nfrom = \"decode\"\nlauncher = \"restart\"\n"
    );
    let scenario = parsed(&text).unwrap();
    let change = scenario.setup(scenario.splits[0], 0).changes[0];
    assert_eq!(change.dark, Duration::from_secs(60));
    assert_eq!(change.at.as_micros(), 5_000_000);
}

#[test]
fn what_is_wrong_is_said_with_file_and_key() {
    let change = |text: &str| format!("{SMALLEST}\n{text}");
    let table = [
        (SMALLEST.replace("concurrency", "concurency"), "concurency"),
        (change("[rooting]\n"), "rooting"),
        (change("[slo]\nttft = 5\n"), "ttft"),
        (SMALLEST.replace("1P1D", "1P0D"), "'1P0D' is not a split"),
        (SMALLEST.replace("\"1P1D\"", ""), "fleet.splits"),
        (
            change("[[role_changes]]\nat_s = 5\nfrom = \"decode\"\nlauncher = \"restart\"\n"),
            "'restart' is not in launchers",
        ),
        (
            change(
                "[launchers.x]\ndark_s = 0\n[[role_changes]]\nat_s = 5\nfrom = \"regular\"\nlauncher = \"x\"\n",
            ),
            "expected prefill or decode",
        ),
        (
            change("[[failures]]\nat_s = -5\nworker = 0\ndown_s = 1\n"),
            "failures.at_s",
        ),
        (
            change("[[failures]]\nat_s = 5\nworker = 2\ndown_s = 1\n"),
            "2 is not in 1P1D",
        ),
    ];
    for (text, expected) in table {
        let error = parsed(&text).unwrap_err().to_string();
        assert!(error.starts_with("scenario.toml: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_workload_that_makes_no_sense_ends_the_sweep() {
    let text = SMALLEST.replace("jobs = 40", "jobs = 0");
    let refused = run(&parsed(&text).unwrap(), 3, Progress::Hidden);
    assert!(matches!(refused, Err(ScenarioError::Workload(_))));
}
