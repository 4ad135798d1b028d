//! Long prompts with short answers, then short prompts with long answers, and so on: the traffic that no fixed split
//! suits.

use std::{path::Path, time::Duration};

use super::Kind;
use crate::workload::{
    Workload, WorkloadError, WorkloadSpec,
    arrivals::{Stretch, alternating},
    spec::PhaseMix,
};

pub(in crate::experiment) const KINDS: [Kind; 2] = [
    Kind {
        prompt: 2_048,
        output: 128,
    },
    Kind {
        prompt: 128,
        output: 2_048,
    },
];

/// A phase is up to so much shorter or longer than the mean.
pub(in crate::experiment) const JITTER: f64 = 0.4;

const TOTAL_SECONDS: f64 = 2_400.0;

pub(super) fn name(seconds: u32) -> String {
    format!("phases of {} min", f64::from(seconds) / 60.0)
}

pub(super) fn make(
    seconds: u32,
    rate: impl Fn(Kind) -> f64,
    seed: u64,
) -> Result<Workload, WorkloadError> {
    let mixes = KINDS.map(|kind| PhaseMix {
        rate: rate(kind),
        mix: kind.mix(),
    });
    WorkloadSpec::Phases {
        mixes: mixes.into(),
        phase_s: f64::from(seconds),
        jitter: JITTER,
        duration_s: TOTAL_SECONDS,
    }
    .make(seed, Path::new(""))
}

/// The phases of `seed`, whatever comes in them.
pub(super) fn stretches(seconds: u32, seed: u64) -> Vec<Stretch> {
    let mixes = KINDS.map(|kind| (1.0, kind.mix()));
    let [length, total] = [f64::from(seconds), TOTAL_SECONDS].map(Duration::from_secs_f64);
    alternating(&mixes, length, JITTER, total, seed)
}
