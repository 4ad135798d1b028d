//! What the program prints when nobody reads it to the end, as in `pd-bench report DIR | head -1`.

use std::{io, path::Path, process::Command};

fn sim(scenario: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pd-bench"));
    command
        .args(["sim", "--scenario"])
        .arg(folder.join(scenario));
    command
}

#[test]
fn a_reader_that_has_left_changes_nothing() {
    for flags in [&[][..], &["--json"]] {
        let (reader, writer) = io::pipe().expect("the system has pipes");
        drop(reader);
        let mut command = sim("study-2048-128.toml");
        let ended = command.args(flags).stdout(writer).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        assert!(ended.stderr.is_empty(), "{ended:?}");
    }
}

#[test]
fn an_error_that_nobody_reads_is_one() {
    let (reader, writer) = io::pipe().expect("the system has pipes");
    drop(reader);
    let ended = sim("none.toml").stderr(writer).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
}
