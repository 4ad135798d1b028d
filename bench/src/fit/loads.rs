//! A fit to recorded `/v1/loads` answers.
//!
//! A log has one answer a line, as a worker gave it. Where several workers are in one log, each line has a member
//! `worker` besides, any text that tells them apart. The counters in them give the prefill line and the decode line
//! ([`policies::estimate::CapacityEstimator`]); everything else stays as in the model that the fit begins with.

use std::{collections::BTreeMap, fmt};

use policies::{
    estimate::{CapacityEstimator, WorkerCounters},
    model::{Parameter, WorkerModel},
    worker::{Role, WorkerId},
};
use serde::Deserialize;

/// What counters say of a worker.
pub const FITTED: [Parameter; 4] = [
    Parameter::BatchBase,
    Parameter::PerToken,
    Parameter::StepBase,
    Parameter::PerSequence,
];

/// Windows that a fit is made from, the last ones of longer logs: a day of two workers, looked at every two seconds.
const WINDOWS: usize = 1 << 16;

/// Why there is no fit.
#[derive(Debug)]
pub enum LoadsError {
    Line {
        line: usize,
        error: serde_json::Error,
    },
    /// Not one difference of counters.
    NoWork,
}

impl fmt::Display for LoadsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line, error } => {
                write!(f, "line {line}: not an answer of /v1/loads: {error}")
            }
            Self::NoWork => f.write_str(
                "no work between its lines; record /v1/loads of a worker that serves, at least twice",
            ),
        }
    }
}

impl std::error::Error for LoadsError {}

/// A fit and what it was made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadsFit {
    pub model: WorkerModel,
    pub prefill_windows: usize,
    pub decode_windows: usize,
    /// KV tokens of a running sequence on average; `None` where none ran.
    pub kv_per_sequence: Option<f64>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    worker: String,
    loads: Vec<Load>,
}

#[derive(Deserialize)]
struct Load {
    #[serde(default)]
    dp_rank: u32,
    #[serde(default)]
    num_running_reqs: u64,
    #[serde(default)]
    num_used_tokens: u64,
    total_prefill_uncached_tokens: u64,
    total_prefill_busy_us: u64,
    decode_moments: Option<[f64; 6]>,
    disaggregation: Option<Disaggregation>,
}

#[derive(Deserialize, Default)]
struct Disaggregation {
    mode: String,
    #[serde(default)]
    decode_transfer_queue_reqs: u64,
}

impl Load {
    fn counters(&self, worker: WorkerId) -> WorkerCounters {
        let mode = self.disaggregation.as_ref().map(|one| one.mode.as_str());
        WorkerCounters {
            worker,
            role: mode.map_or(Role::Regular, |mode| mode.parse().unwrap_or(Role::Regular)),
            prefill_tokens: self.total_prefill_uncached_tokens,
            prefill_busy_us: self.total_prefill_busy_us,
            decode_moments: self.decode_moments.unwrap_or_default(),
        }
    }

    /// Sequences that have KV, and all of their tokens, where some run.
    fn held(&self) -> Option<(u64, u64)> {
        let coming = self.disaggregation.as_ref();
        let coming = coming.map_or(0, |one| one.decode_transfer_queue_reqs);
        let sequences = self.num_running_reqs + coming;
        (self.num_running_reqs > 0).then_some((sequences, self.num_used_tokens))
    }
}

/// Fits to the lines of a log, beginning with `prior`.
pub fn fit(log: &str, prior: WorkerModel) -> Result<LoadsFit, LoadsError> {
    let mut estimator = CapacityEstimator::with_memory(prior, WINDOWS);
    // Ranks of a worker count for themselves.
    let mut known: BTreeMap<(String, u32), WorkerId> = BTreeMap::new();
    let mut fleet: BTreeMap<WorkerId, WorkerCounters> = BTreeMap::new();
    let (mut sequences, mut tokens) = (0, 0);
    for (line, text) in (1..)
        .zip(log.lines())
        .filter(|(_, text)| !text.trim().is_empty())
    {
        let answer: Answer =
            serde_json::from_str(text).map_err(|error| LoadsError::Line { line, error })?;
        for load in &answer.loads {
            let next = WorkerId(known.len() as u64);
            let of = (answer.worker.clone(), load.dp_rank);
            let worker = *known.entry(of).or_insert(next);
            fleet.insert(worker, load.counters(worker));
            if let Some((some, held)) = load.held() {
                (sequences, tokens) = (sequences + some, tokens + held);
            }
        }
        // Those that are not in this line are as they were, which adds nothing.
        estimator.observe(&fleet.values().copied().collect::<Vec<_>>());
    }
    let kv_per_sequence = (sequences > 0).then(|| tokens as f64 / sequences as f64);
    if let Some(tokens) = kv_per_sequence {
        estimator.sequences_hold(tokens);
    }
    let (prefill_windows, decode_windows) = estimator.windows();
    if prefill_windows + decode_windows == 0 {
        return Err(LoadsError::NoWork);
    }
    Ok(LoadsFit {
        model: super::rounded(estimator.model()),
        prefill_windows,
        decode_windows,
        kv_per_sequence,
    })
}

impl LoadsFit {
    /// The fitted worker as a model file.
    pub fn model_file(&self, source: &str, kept: impl Fn(Parameter) -> String) -> String {
        let heading = format!(
            "Timing of a worker, written by `pd-bench fit`.\n\nFitted to counters of /v1/loads: {source}."
        );
        self.model.to_toml(&heading, |parameter| {
            if FITTED.contains(&parameter) {
                "Fitted.".to_owned()
            } else {
                kept(parameter)
            }
        })
    }
}

impl fmt::Display for LoadsFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for parameter in FITTED {
            let (table, key) = parameter.key();
            let value = parameter.in_unit(&self.model);
            writeln!(f, "{table}.{key} = {value:.6}")?;
        }
        write!(
            f,
            "From {} windows of prefill and {} of decode",
            self.prefill_windows, self.decode_windows
        )?;
        match self.kv_per_sequence {
            Some(tokens) => writeln!(f, ", sequences holding {tokens:.0} tokens of KV."),
            None => writeln!(f, "."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_work_or_with_another_text_says_so() {
        let idle = r#"{"loads":[{"total_prefill_uncached_tokens":0,"total_prefill_busy_us":0,"decode_moments":null}]}"#;
        let error = |log: &str| fit(log, WorkerModel::default()).unwrap_err().to_string();
        assert!(error(&format!("{idle}\n{idle}")).contains("no work"));
        assert!(error("").contains("no work"));
        assert!(error(&format!("{idle}\n\n{{}}")).contains("line 3"));
    }
}
