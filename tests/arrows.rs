//! The arrows between crates and modules, as ARCHITECTURE.md draws them.
//!
//! Crates are checked by their manifests, modules by the text of their code: both say what *may* be used, which a
//! review of one change doesn't see.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

const OURS: [&str; 4] = [
    "policies",
    "simulated-worker",
    "adaptive-router",
    "pd-bench",
];

/// Async runtimes, HTTP, metrics and entropy: what a pure decision has no use for.
const IMPURE: [&str; 12] = [
    "tokio",
    "tokio-util",
    "axum",
    "hyper",
    "hyper-util",
    "reqwest",
    "tower",
    "tower-http",
    "prometheus",
    "tracing",
    "fastrand",
    "rand",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The crates that `<folder>/Cargo.toml` names for its own build; its tests may use more.
fn dependencies(folder: &str) -> Vec<String> {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).expect("every crate has a manifest");
    let manifest: Table = text.parse().expect("cargo has read it before");
    manifest["dependencies"]
        .as_table()
        .expect("dependencies are a table")
        .keys()
        .cloned()
        .collect()
}

/// Which of `forbidden` the crate in `folder` depends on.
fn forbidden_in(folder: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = dependencies(folder);
    found.retain(|name| forbidden.contains(&name.as_str()));
    found
}

/// Durations and deadlines are of the monotonic clock, so that a jump of the wall clock changes nothing. Wall time is read
/// to be shown: once at the start, from which timestamps are counted on, and in the answer to `/v1/loads`.
#[test]
fn wall_time_is_read_where_it_is_shown_and_nowhere_else() {
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut all = Vec::new();
    for folder in ["src", "policies/src"] {
        sources(&root().join(folder), &mut all);
    }
    let reads = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a source");
        [
            "SystemTime::now",
            "jiff::",
            "chrono::",
            "time::OffsetDateTime",
        ]
        .iter()
        .any(|clock| text.contains(clock))
    };
    let mut reading: Vec<_> = all
        .iter()
        .filter(|path| reads(path))
        .map(|path| path.strip_prefix(root()).expect("below the root"))
        .collect();
    reading.sort();
    assert_eq!(
        reading,
        [Path::new("src/admin/loads.rs"), Path::new("src/clock.rs")]
    );
}

/// A module's own file and what lies in its folder.
fn sources_of(module: &str) -> Vec<PathBuf> {
    let src = root().join("src");
    let mut files = rust_files(&src.join(module));
    files.push(src.join(module).with_extension("rs"));
    files
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Whether `word` stands in the code of `text`, comments left out.
fn names(text: &str, word: &str) -> bool {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .any(|code| code.contains(word))
}

/// Which of `files` name one of `words`.
fn files_naming(files: &[PathBuf], words: &[&str]) -> Vec<PathBuf> {
    let mut found = files.to_vec();
    found.retain(|path| {
        let text = fs::read_to_string(path).expect("the file was just listed");
        words.iter().any(|word| names(&text, word))
    });
    found
}

const NOTHING: [PathBuf; 0] = [];

#[test]
fn policies_depend_on_no_crate_of_ours_and_on_nothing_impure() {
    let forbidden = [&OURS[..], &IMPURE[..]].concat();
    assert!(forbidden_in("policies", &forbidden).is_empty());
}

#[test]
fn the_simulated_worker_shares_nothing_with_the_router() {
    let forbidden = ["adaptive-router", "pd-bench"];
    assert!(forbidden_in("bench/simulated-worker", &forbidden).is_empty());
}

#[test]
fn the_router_does_not_depend_on_the_bench() {
    assert!(forbidden_in(".", &["pd-bench"]).is_empty());
}

#[test]
fn every_manifest_names_what_its_arrow_says_it_does() {
    // So that the tests above read the right tables: an arrow that is there is seen.
    assert_eq!(forbidden_in(".", &OURS), ["policies", "simulated-worker"]);
    assert_eq!(forbidden_in("bench/simulated-worker", &OURS), ["policies"]);
}

#[test]
fn only_upstream_names_the_http_client() {
    let upstream = sources_of("upstream");
    let mut others = rust_files(&root().join("src"));
    others.retain(|path| !upstream.contains(path));
    for client in ["reqwest", "httparse", "hyper_util::client"] {
        assert_eq!(files_naming(&others, &[client]), NOTHING);
        assert_ne!(files_naming(&upstream, &[client]), NOTHING);
    }
    assert_eq!(files_naming(&others, &["hyper::client"]), NOTHING);
}

#[test]
fn proxy_and_control_meet_in_workers_only() {
    let from_proxy = files_naming(&sources_of("proxy"), &["crate::control", "control::"]);
    assert_eq!(from_proxy, NOTHING);
    let from_control = files_naming(&sources_of("control"), &["crate::proxy", "proxy::"]);
    assert_eq!(from_control, NOTHING);
}

#[test]
fn a_name_in_a_comment_is_not_in_the_code() {
    assert!(names(
        "use crate::control::health; // why",
        "crate::control"
    ));
    assert!(!names("//! Unlike crate::control, ...", "crate::control"));
    assert!(!names("let x = 1; // crate::control", "crate::control"));
}
