//! Every file of the fuzz targets' corpora, through what its target calls: what a fuzzer found once stays mended where no
//! fuzzer runs.

use std::fs;
use std::path::Path;

use adaptive_router::{cluster, config, launch, proxy, upstream};

type Property = fn(&[u8]);

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
