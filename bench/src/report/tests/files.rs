//! What is read and what is written.

use std::path::PathBuf;

use super::*;
use crate::report::{DirectoryError, document, html::html, markdown::markdown, pictures};

/// A directory of this test's own, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("pd-bench-report-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_missing_is_named_with_what_makes_it() {
    let folder = Folder::new("partial");
    folder.put("shifting.json", &won_and_lost().to_json());
    let directory = Directory::read(&folder.0).unwrap();
    assert_eq!(directory.parts.len(), 1);
    let said = markdown(&document(&directory, None));
    for expected in [
        "Parts that were not run: loads, steady, varied, recorded, study.",
        "Of the part shifting 2 of 54 cells were run.",
        "The part shifting ran without: 1P3D; aggregated; aggregated, at best; controller, advise only; controller, known lengths.",
        "the timelines are missing",
        "pd-bench experiment --sim --part loads,steady,varied,recorded,study --out '",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    folder.put("timeline-controller.json", &timeline().to_json());
    let directory = Directory::read(&folder.0).unwrap();
    assert_eq!(directory.timelines, [timeline()]);
    assert!(!markdown(&document(&directory, None)).contains("the timelines are missing"));
}

#[test]
fn a_scenario_of_ones_own_is_not_held_against_the_standard_grid() {
    let folder = Folder::new("scenario");
    let given = Results {
        part: Part::Scenario,
        ..won_and_lost()
    };
    folder.put("scenario.json", &given.to_json());
    let directory = Directory::read(&folder.0).unwrap();
    assert!(directory.is_of_a_scenario());
    let said = markdown(&document(&directory, None));
    assert!(!said.contains("What is missing here"), "{said}");
    assert!(said.contains("Part scenario, engine calibrated"), "{said}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::new("broken");
    let empty = Directory::read(&folder.0).unwrap_err();
    assert!(matches!(empty, DirectoryError::Empty { .. }));
    assert!(
        empty.to_string().contains("pd-bench experiment --sim"),
        "{empty}"
    );
    folder.put("steady.json", "{");
    let broken = Directory::read(&folder.0).unwrap_err().to_string();
    assert!(broken.contains("steady.json"), "{broken}");
    let absent = Directory::read(&folder.0.join("absent")).unwrap_err();
    assert!(matches!(absent, DirectoryError::Read { .. }));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = html(&document(&directory(won_and_lost()), None));
    for part in [
        "<svg",
        "<polygon",
        "<table",
        "prefers-color-scheme: dark",
        "@media print",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for elsewhere in [
        "http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link",
    ] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
}

#[test]
fn names_from_files_stay_text() {
    const HOSTILE: &str = "<script>alert(1)</script>|`\"&";
    let mut hostile = won_and_lost();
    for cell in &mut hostile.cells {
        cell.engine = HOSTILE.to_owned();
        cell.traffic = HOSTILE.to_owned();
        for arm in cell
            .contests
            .iter_mut()
            .flat_map(|contest| &mut contest.arms)
        {
            if arm.arm == "threshold" {
                arm.arm = HOSTILE.to_owned();
            }
        }
    }
    let document = document(&directory(hostile), None);
    for text in [html(&document), markdown(&document)] {
        assert!(!text.contains("<script"), "{text}");
        assert!(text.contains("&lt;script&gt;"));
    }
    assert!(
        markdown(&document).contains("\\|\\`"),
        "a cell of a table stays one"
    );
}

#[test]
fn results_without_an_oracle_make_a_page_without_regret() {
    let regret_in =
        |results| html(&document(&directory(results), None)).contains("points behind the oracle");
    assert!(regret_in(won_and_lost()));
    let mut without = won_and_lost();
    for contest in without.cells.iter_mut().flat_map(|cell| &mut cell.contests) {
        contest.arms.retain(|arm| arm.arm != "oracle");
        for arm in &mut contest.arms {
            arm.regret = None;
        }
    }
    assert!(!regret_in(without));
}

#[test]
fn one_seed_has_bars_without_intervals() {
    const INTERVAL: &str = "stroke=\"var(--plot-ink)\"";
    let intervals = |results: &Results| {
        let (_, figures) = pictures::attainment(std::slice::from_ref(results)).unwrap();
        let bodies = figures.iter().map(|figure| &figure.picture.body);
        bodies
            .map(|body| body.matches(INTERVAL).count())
            .sum::<usize>()
    };
    let mut results = won_and_lost();
    assert_eq!(intervals(&results), 2 * 5);
    let contests = results.cells.iter_mut().flat_map(|cell| &mut cell.contests);
    for arm in contests.flat_map(|contest| &mut contest.arms) {
        arm.attainment = Estimate::of(&[arm.attainment.mean]);
    }
    assert_eq!(intervals(&results), 0);
}
