//! The published study's nine workloads: so many clients, each of which sends the next of 500 requests when its last was
//! answered. A third of the answers run to the cap and the others stop at about 30 tokens, as in the study's own runs
//! (`docs/model.md`).

use std::path::Path;

use crate::workload::{Lengths, Mix, Workload, WorkloadError, WorkloadSpec};

const REQUESTS: usize = 500;
const STOP: u32 = 30;
const CAPPED: f64 = 1.0 / 3.0;

/// One of its mixes, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StudyRun {
    pub prompt: u32,
    pub cap: u32,
    /// Prompts are in the prefix caches, as those of its later runs seem to have been; else none is.
    pub cached: bool,
}

impl StudyRun {
    pub const MIXES: [(u32, u32); 3] = [(128, 2_048), (2_048, 2_048), (2_048, 128)];

    pub(super) fn name(self) -> String {
        let cached = if self.cached { ", cached" } else { "" };
        format!("study {}/{}{cached}", self.prompt, self.cap)
    }

    pub(super) fn make(self, clients: f64, seed: u64) -> Result<Workload, WorkloadError> {
        let Self {
            prompt,
            cap,
            cached,
        } = self;
        // The last token of a prompt is computed in any case.
        let known = f64::from(prompt.saturating_sub(1)) / f64::from(prompt);
        let spec = WorkloadSpec::Closed {
            jobs: REQUESTS,
            concurrency: clients as usize,
            mix: Mix {
                prompt: Lengths::Fixed(prompt),
                output: Lengths::Bimodal {
                    capped: CAPPED,
                    cap,
                    stop: STOP,
                },
                cached: if cached { known } else { 0.0 },
            },
        };
        spec.make(seed, Path::new(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_the_studys_requests() {
        for (cached, tokens) in [(true, 2_047), (false, 0)] {
            let run = StudyRun {
                prompt: 2_048,
                cap: 128,
                cached,
            };
            let Workload::Closed { jobs, concurrency } = run.make(64.0, 1).unwrap() else {
                panic!("it is closed")
            };
            assert_eq!((jobs.len(), concurrency), (500, 64));
            assert!(jobs.iter().all(|job| job.cached_tokens == tokens));
            let mean = jobs.iter().map(|job| job.output_tokens).sum::<u32>() / 500;
            assert!((55..70).contains(&mean), "the study's are 62 to 67: {mean}");
        }
    }
}
