//! Results as CSV: a line for each run, to work with.

use serde::Serialize;

use super::results::Results;

/// What a run was.
#[derive(Serialize)]
struct Key<'a> {
    engine: &'a str,
    traffic: &'a str,
    load: f64,
    dark_s: u64,
    fresh_first: bool,
    migrate: bool,
    wait_for_decode: bool,
    arm: &'a str,
    seed: u64,
}

pub fn csv(results: &Results) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (cell, contest, arm) in results.arms() {
        for (seed, run) in results.seeds.iter().zip(&arm.runs) {
            let key = Key {
                engine: &cell.engine,
                traffic: &cell.traffic,
                load: cell.load,
                dark_s: cell.dark_s,
                fresh_first: contest.measures.fresh_first,
                migrate: contest.measures.migrate,
                wait_for_decode: contest.measures.wait_for_decode,
                arm: &arm.arm,
                seed: *seed,
            };
            writer
                .serialize((key, run))
                .expect("a run is plain values, and memory takes them");
        }
    }
    let bytes = writer.into_inner().expect("memory takes what is left");
    String::from_utf8(bytes).expect("names and numbers are text")
}
