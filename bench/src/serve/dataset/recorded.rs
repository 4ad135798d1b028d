//! Requests whose lengths and times a file states, or draws.

use super::{Dataset, DatasetError, Requests};
use crate::{
    serve::item::{Item, Prompt},
    workload::{Job, Workload, WorkloadSpec, trace},
};
use policies::time::Timestamp;
use std::{path::Path, time::Duration};

/// What was recorded.
pub(super) fn trace(asked: &Dataset, path: &Path) -> Result<Requests, DatasetError> {
    let recorded = trace::load(path, trace::default_cache_blocks()).map_err(DatasetError::Trace)?;
    Ok(requests(asked, recorded))
}

/// What a workload of the simulator draws: a file of it alone, or a scenario with it.
pub(super) fn workload(asked: &Dataset, path: &Path) -> Result<Requests, DatasetError> {
    let text = std::fs::read_to_string(path).map_err(|error| DatasetError::Read {
        path: path.to_owned(),
        error,
    })?;
    let not_toml = |error| DatasetError::NotToml {
        path: path.to_owned(),
        error,
    };
    let mut file: toml::Table = toml::from_str(&text).map_err(not_toml)?;
    let table = file.remove("workload").unwrap_or(toml::Value::Table(file));
    let spec: WorkloadSpec = table.try_into().map_err(not_toml)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let drawn = spec
        .make(asked.seed, folder)
        .map_err(DatasetError::Workload)?;
    Ok(requests(asked, drawn))
}

fn requests(asked: &Dataset, workload: Workload) -> Requests {
    let most = asked.requests.unwrap_or(usize::MAX);
    match workload.accelerated(asked.rate_scale) {
        Workload::Closed { jobs, concurrency } => Requests {
            items: jobs.iter().take(most).map(|job| item(job, None)).collect(),
            concurrency: Some(concurrency),
        },
        Workload::Open { arrivals } => Requests {
            items: arrivals
                .iter()
                .take(most)
                .map(|(at, job)| item(job, Some(at.since(Timestamp::ZERO))))
                .collect(),
            concurrency: None,
        },
    }
}

/// What a prompt would have found in a prefix cache is a beginning that all prompts share.
fn item(job: &Job, due: Option<Duration>) -> Item {
    Item {
        due,
        prompt: Prompt::Drawn {
            shared: job.cached_tokens,
            fresh: job.prompt_tokens - job.cached_tokens,
        },
        output_tokens: job.output_tokens,
    }
}
