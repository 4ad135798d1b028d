//! The scenarios that come with the project give the figures that were kept.
//!
//! A change to the model, the simulator or a policy shows here as figures that differ. Where they are meant to,
//! `UPDATE_EXPECT=1 cargo test -p pd-bench --test scenarios` keeps the new ones, and the diff says what the change did.

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use pd_bench::scenario::{Progress, Scenario, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// In the order of their names.
fn scenarios() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("the folder comes with the crate");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("its entries can be read").path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    paths
}

#[test]
fn every_scenario_gives_its_golden_result() {
    let scenarios = scenarios();
    assert!(!scenarios.is_empty());
    for path in scenarios {
        let scenario = Scenario::load(&path).unwrap();
        let report = run(&scenario, 2, Progress::Hidden).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let golden = folder().join("golden").join(format!("{name}.txt"));
        expect_file![golden].assert_eq(&report.to_string());
    }
}

#[test]
fn no_golden_result_is_left_without_its_scenario() {
    for entry in std::fs::read_dir(folder().join("golden")).unwrap() {
        let golden = entry.unwrap().path();
        let scenario = folder().join(golden.file_stem().unwrap());
        assert!(scenario.with_extension("toml").exists(), "{golden:?}");
    }
}
