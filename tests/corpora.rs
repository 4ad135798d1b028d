//! Every file of the fuzz targets' corpora, through what its target calls: what a fuzzer found once stays mended where no
//! fuzzer runs. And seeded mutations of them, blind but many: `MUTATIONS=N` tries so many of each target.

use std::fs;
use std::path::Path;

use adaptive_router::{cluster, config, launch, proxy, upstream};

type Property = fn(&[u8]);

/// Of each target: all together take a few seconds in a debug build.
const MUTATIONS: u64 = 2_000;

/// Bytes and words on which parsers turn.
const TOKENS: [&[u8]; 20] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\n\n",
    b"\r\n",
    b"null",
    b"\xff",
    b"\x00",
    b"\"rid\":",
    b"\"bootstrap_room\":",
    b"data: ",
    b"[DONE]",
    b"0\r\n\r\n",
    b"-1",
    b"1e999",
];

/// By the names of the targets.
const TARGETS: [(&str, Property); 8] = [
    ("cluster_file", cluster::fuzzing::file),
    ("config_file", config::fuzzing::file),
    ("events", proxy::fuzzing::events),
    ("header_filter", proxy::fuzzing::header_filter),
    ("http1_chunked", upstream::fuzzing::chunked),
    ("http1_head", upstream::fuzzing::head),
    ("request", proxy::fuzzing::request),
    ("state_file", launch::process::fuzzing::state_file),
];

fn names(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|_| panic!("{} is there", folder.display()));
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be listed").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_target_has_a_property_and_a_corpus() {
    let targets = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names("fuzz/corpus"), targets);
    let files = targets.map(|name| format!("{name}.rs"));
    assert_eq!(names("fuzz/fuzz_targets"), files);
}

#[test]
fn every_file_of_a_corpus_has_its_property() {
    for (target, property) in TARGETS {
        let folder = format!("fuzz/corpus/{target}");
        let files = names(&folder);
        assert!(!files.is_empty(), "{folder} is empty");
        for name in files {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(&folder)
                .join(name);
            let bytes = fs::read(&path).expect("it can be read");
            println!("{}", path.display());
            property(&bytes);
        }
    }
}

/// One to four changes: a bit, a byte, a token put in, a part taken out or put in from another file.
fn mutated(dice: &mut fastrand::Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[dice.usize(0..corpus.len())].clone();
    for _ in 0..dice.u32(1..5) {
        let at = dice.usize(0..=bytes.len());
        let end = (at + dice.usize(0..32)).min(bytes.len());
        match dice.u32(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.u32(0..8),
            1 if at < bytes.len() => bytes[at] = dice.u8(..),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let token = TOKENS[dice.usize(0..TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
            _ => {
                let other = &corpus[dice.usize(0..corpus.len())];
                let from = dice.usize(0..=other.len());
                let to = (from + dice.usize(0..64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn mutations_of_a_corpus_have_its_property() {
    let number =
        std::env::var("MUTATIONS").map_or(MUTATIONS, |text| text.parse().expect("a number"));
    for (target, property) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/corpus/{target}"));
        let files = names(&format!("fuzz/corpus/{target}"));
        let read = |name: &String| fs::read(folder.join(name)).expect("it can be read");
        let corpus: Vec<_> = files.iter().map(read).collect();
        for seed in 0..number {
            let bytes = mutated(&mut fastrand::Rng::with_seed(seed), &corpus);
            let holds = std::panic::catch_unwind(|| property(&bytes)).is_ok();
            assert!(holds, "{target}, mutation {seed}: {}", bytes.escape_ascii());
        }
    }
}
