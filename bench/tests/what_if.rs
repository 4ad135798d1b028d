//! `pd-bench what-if` as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn excerpt() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/traces/azure-code-2023-excerpt.csv")
}

fn what_if(trace: &Path, out: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pd-bench"))
        .args(["what-if", "--fleet", "4x2", "--rate-scale", "6", "--trace"])
        .arg(trace)
        .arg("--out")
        .arg(out)
        .args(more)
        .output()
        .expect("the program was built with this test")
}

#[test]
fn a_trace_gives_a_choice_and_two_pictures() {
    let folder = std::env::temp_dir().join(format!("pd-bench-what-if-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let output = what_if(&excerpt(), &folder.join("azure"), &["--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let pictures = ["attainment.svg", "attainment.png", "rates.svg", "rates.png"];
    let missing: Vec<_> = pictures
        .into_iter()
        .filter(|name| !folder.join(format!("azure-{name}")).exists())
        .collect();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(answer["traffic"]["requests"], 1_500);
    let attained = |split: usize| {
        answer["fixed"][split]["figures"]["attainment"]
            .as_f64()
            .unwrap()
    };
    // Code completion has long prompts and short answers.
    assert!(attained(0) < attained(1) && attained(1) < attained(2));
}

#[test]
fn a_trace_that_is_not_there_is_named_and_nothing_is_written() {
    let output = what_if(Path::new("no-such-trace.csv"), Path::new("nowhere"), &[]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no-such-trace.csv"), "{said}");
    assert!(!Path::new("nowhere-rates.svg").exists());
}
