//! The result file, with the names that `vllm bench serve` gives its fields.

use super::{
    drive::Outcome,
    figures::{Figures, Series},
    record::Record,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What was run.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// Such as `20250914-020903`.
    pub date: String,
    pub label: Option<String>,
    pub backend: &'static str,
    pub model: String,
    /// `None` where prompt lengths are approximate.
    pub tokenizer: Option<String>,
    pub requests: usize,
    pub rate: Rate,
    pub burstiness: f64,
    pub max_concurrency: Option<usize>,
    /// What the caller wants to find in the file.
    pub metadata: Vec<(String, String)>,
}

/// Requests a second that are offered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// As soon as there is room.
    Unlimited,
    Drawn(f64),
    /// The mean of a file that has times.
    Recorded(f64),
}

/// The whole file. With `detailed` it has arrays with one value for each request, in their order.
pub fn to_json(about: &About, outcome: &Outcome, figures: &Figures, detailed: bool) -> Value {
    let mut file = Map::new();
    let mut put = |name: &str, value: Value| file.insert(name.to_owned(), value);
    put("date", about.date.clone().into());
    put("endpoint_type", about.backend.into());
    put("backend", about.backend.into());
    put("label", about.label.clone().into());
    put("model_id", about.model.clone().into());
    put("tokenizer_id", about.tokenizer.clone().into());
    put("num_prompts", about.requests.into());
    for (name, value) in &about.metadata {
        put(name, value.clone().into());
    }
    let rate = match about.rate {
        Rate::Unlimited => "inf".into(),
        Rate::Drawn(rate) | Rate::Recorded(rate) => rate.into(),
    };
    put("request_rate", rate);
    // JSON has no infinity.
    let burstiness = if about.burstiness.is_finite() {
        about.burstiness.into()
    } else {
        "inf".into()
    };
    put("burstiness", burstiness);
    put("max_concurrency", about.max_concurrency.into());
    put("interrupted", outcome.interrupted.into());
    put("abandoned", outcome.abandoned.into());
    put("unsent", outcome.unsent.into());
    put(
        "tool",
        concat!("pd-bench serve ", env!("CARGO_PKG_VERSION")).into(),
    );
    put_figures(&mut file, figures);
    if detailed {
        put_details(&mut file, outcome);
    }
    Value::Object(file)
}

fn put_figures(file: &mut Map<String, Value>, figures: &Figures) {
    let mut put = |name: &str, value: Value| file.insert(name.to_owned(), value);
    let rate = |count| Value::from(figures.per_second(count));
    put("duration", figures.duration.as_secs_f64().into());
    put("completed", figures.completed.into());
    put("failed", figures.failed.into());
    put("total_input_tokens", figures.input_tokens.into());
    put("total_output_tokens", figures.output_tokens.into());
    put("request_throughput", rate(figures.completed));
    put("request_goodput", figures.good.map(rate).into());
    put("output_throughput", rate(figures.output_tokens));
    let tokens = figures.input_tokens + figures.output_tokens;
    put("total_token_throughput", rate(tokens));
    put("max_output_tokens_per_s", figures.peak_output_tokens.into());
    put("max_concurrent_requests", figures.peak_concurrency.into());
    let failures: BTreeMap<String, u64> = figures
        .failures
        .iter()
        .map(|(failure, count)| (failure.to_string(), *count))
        .collect();
    put("failures", json!(failures));
    put("mean_late_start_ms", figures.late.mean.into());
    put("p99_late_start_ms", figures.late.p99.into());
    put("max_late_start_ms", figures.late.max.into());
    for series in &figures.series {
        let Series {
            metric,
            mean,
            median,
            std,
            percentiles,
        } = series;
        let key = metric.key();
        put(&format!("mean_{key}_ms"), (*mean).into());
        put(&format!("median_{key}_ms"), (*median).into());
        put(&format!("std_{key}_ms"), (*std).into());
        for (percent, value) in percentiles {
            // Rust prints 99.0 as 99, as the file wants it.
            put(&format!("p{percent}_{key}_ms"), (*value).into());
        }
    }
}

fn put_details(file: &mut Map<String, Value>, outcome: &Outcome) {
    let mut records: Vec<&Record> = outcome.recorder.records.iter().collect();
    records.sort_by_key(|record| record.number);
    let mut put = |name: &str, value: &dyn Fn(&Record) -> Value| {
        let values: Vec<Value> = records.iter().map(|record| value(record)).collect();
        file.insert(name.to_owned(), values.into());
    };
    put("input_lens", &|record| record.prompt_tokens.into());
    put("output_lens", &|record| {
        record
            .answered
            .map_or(0, |answered| answered.output_tokens)
            .into()
    });
    put("ttfts", &|record| {
        record
            .answered
            .map_or(0.0, |answered| answered.ttft.as_secs_f64())
            .into()
    });
    put("latencies", &|record| {
        record
            .answered
            .map_or(0.0, |answered| answered.whole.as_secs_f64())
            .into()
    });
    put("start_times", &|record| {
        record.sent.saturating_sub(record.late).as_secs_f64().into()
    });
    put("queue_times", &|record| record.late.as_secs_f64().into());
    put("itls", &|record| {
        let gaps = record.detail.iter().flat_map(|detail| &detail.gaps);
        gaps.flat_map(|gap| std::iter::repeat_n(gap.seconds_per_token(), gap.tokens as usize))
            .collect()
    });
    put("generated_texts", &|record| {
        record
            .detail
            .as_ref()
            .map_or("", |detail| &detail.text)
            .into()
    });
    put("errors", &|record| {
        record
            .detail
            .as_ref()
            .map_or("", |detail| &detail.error)
            .into()
    });
}

impl About {
    /// The name that vLLM's client would give the file.
    pub(super) fn file_name(&self) -> String {
        let label = self.label.as_deref().unwrap_or(self.backend);
        let rate = match self.rate {
            Rate::Unlimited => "inf".to_owned(),
            // As Python prints a float.
            Rate::Drawn(rate) | Rate::Recorded(rate) => format!("{rate:?}"),
        };
        let concurrency = self
            .max_concurrency
            .map_or(String::new(), |most| format!("-concurrency{most}"));
        let model = self.model.rsplit('/').next().unwrap_or_default();
        format!("{label}-{rate}qps{concurrency}-{model}-{}.json", self.date)
    }
}
