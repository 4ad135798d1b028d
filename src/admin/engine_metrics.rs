//! `/engine_metrics`: what all workers count, on one page, each sample with the address of its worker.
//!
//! A scraper refuses a page that describes a family twice, so the workers' pages are taken apart and put together by
//! family rather than one after the other. SGLang's `sglang:` becomes `sglang_`: a colon is for recording rules.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use super::AdminState;
use super::ask::{self, ask_all};
use super::metrics::exposition;

/// Workers render their metrics on demand; a scraper waits 10 s by default, so the answer has to be earlier.
const SCRAPE_LIMIT: Duration = Duration::from_secs(5);

/// What a histogram's or a summary's samples, or an `OpenMetrics` counter's, add to the name of their family.
const SUFFIXES: [&str; 5] = ["_bucket", "_sum", "_count", "_total", "_created"];

pub(super) async fn engine_metrics(State(state): State<AdminState>) -> Response {
    let set = Arc::clone(&state.registry.snapshot());
    if set.members().is_empty() {
        return failure("No available workers");
    }
    let request = |worker: &_| ask::get(worker, "/metrics");
    let answers = ask_all(
        &state.upstream,
        set.members().to_vec(),
        SCRAPE_LIMIT,
        request,
    )
    .await;
    if answers.iter().all(|(_, answer)| answer.is_err()) {
        return failure("All backend requests failed");
    }
    let mut page = Page::default();
    for (member, answer) in &answers {
        match answer {
            Ok(body) => page.add(member.worker.url.as_str(), &String::from_utf8_lossy(body)),
            Err(error) => {
                tracing::warn!(worker = %member.worker.url, %error, "a worker's metrics are missing");
            }
        }
    }
    exposition(page.render().into_bytes())
}

fn failure(message: &'static str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
}

/// The families of all workers, by name.
#[derive(Debug, Default)]
struct Page(BTreeMap<String, Family>);

#[derive(Debug, Default)]
struct Family {
    /// The first worker's `HELP` and `TYPE` text.
    help: Option<String>,
    kind: Option<String>,
    samples: Vec<String>,
}

impl Page {
    /// Adds the exposition text of the worker at `address`.
    fn add(&mut self, address: &str, text: &str) {
        let label = format!("worker_addr=\"{}\"", escaped(address));
        // Samples follow the description of their family.
        let mut described = String::new();
        for line in text.lines().map(str::trim) {
            if let Some((keyword, name, rest)) = description(line) {
                described = renamed(name).into_owned();
                let family = self.0.entry(described.clone()).or_default();
                let slot = if keyword == "HELP" {
                    &mut family.help
                } else {
                    &mut family.kind
                };
                slot.get_or_insert_with(|| rest.to_owned());
            } else if !line.is_empty() && !line.starts_with('#') {
                let (name, rest) = sample(line);
                let name = renamed(name);
                let family = family_of(&name, &described);
                let sample = format!("{name}{}", labelled(rest, &label));
                self.0
                    .entry(family.to_owned())
                    .or_default()
                    .samples
                    .push(sample);
            }
        }
    }

    fn render(&self) -> String {
        let mut text = String::new();
        for (name, family) in self
            .0
            .iter()
            .filter(|(_, family)| !family.samples.is_empty())
        {
            for (keyword, rest) in [("HELP", &family.help), ("TYPE", &family.kind)] {
                if let Some(rest) = rest {
                    text.extend(["# ", keyword, " ", name, " ", rest, "\n"]);
                }
            }
            for sample in &family.samples {
                text.extend([sample, "\n"]);
            }
        }
        text
    }
}

/// Keyword, name and text of a `# HELP` or `# TYPE` line.
fn description(line: &str) -> Option<(&str, &str, &str)> {
    let (keyword, rest) = line.strip_prefix("# ")?.split_once(' ')?;
    let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
    matches!(keyword, "HELP" | "TYPE").then_some((keyword, name, text))
}

/// A sample's name, and what follows it.
fn sample(line: &str) -> (&str, &str) {
    let end = line
        .find(|c: char| c == '{' || c.is_whitespace())
        .unwrap_or(line.len());
    line.split_at(end)
}

/// The family that a sample belongs to: the one described last, where the names fit.
fn family_of<'a>(name: &'a str, described: &'a str) -> &'a str {
    match name.strip_prefix(described) {
        Some(suffix) if suffix.is_empty() || SUFFIXES.contains(&suffix) => described,
        _ => name,
    }
}

/// `rest` of a sample, labels and value, with `label` as its first label.
fn labelled(rest: &str, label: &str) -> String {
    match rest.strip_prefix('{') {
        None => format!("{{{label}}}{rest}"),
        Some(labels) if labels.trim_start().starts_with('}') => format!("{{{label}{labels}"),
        Some(labels) => format!("{{{label},{labels}"),
    }
}

fn renamed(name: &str) -> Cow<'_, str> {
    match name.strip_prefix("sglang:") {
        Some(rest) => format!("sglang_{rest}").into(),
        None => name.into(),
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::stand_in::{Bench, Reply};
    use policies::worker::Role;

    const PAGE: &str = "\
# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name=\"m} {\"} 2.0
# HELP sglang:ttft_seconds Time to first token.
# TYPE sglang:ttft_seconds histogram
sglang:ttft_seconds_bucket{le=\"+Inf\"} 1.0
sglang:ttft_seconds_sum{} 0.5
sglang:ttft_seconds_count 1.0
up 1
";

    fn page() -> Vec<(&'static str, Reply)> {
        vec![("/metrics", Reply::Text(PAGE.to_owned()))]
    }

    #[tokio::test]
    async fn each_family_is_described_once_and_each_sample_names_its_worker() {
        let bench = Bench::new([
            ("p:1", Role::Prefill, page()),
            ("d:1", Role::Decode, page()),
            ("d:2", Role::Decode, vec![]),
        ]);
        let answer = bench.get("/engine_metrics").await;
        assert_eq!(answer.content_type, "text/plain; version=0.0.4");
        let expected = expect_test::expect![[r#"
            # HELP sglang_num_running_reqs The number of running requests.
            # TYPE sglang_num_running_reqs gauge
            sglang_num_running_reqs{worker_addr="http://p:1",model_name="m} {"} 2.0
            sglang_num_running_reqs{worker_addr="http://d:1",model_name="m} {"} 2.0
            # HELP sglang_ttft_seconds Time to first token.
            # TYPE sglang_ttft_seconds histogram
            sglang_ttft_seconds_bucket{worker_addr="http://p:1",le="+Inf"} 1.0
            sglang_ttft_seconds_sum{worker_addr="http://p:1"} 0.5
            sglang_ttft_seconds_count{worker_addr="http://p:1"} 1.0
            sglang_ttft_seconds_bucket{worker_addr="http://d:1",le="+Inf"} 1.0
            sglang_ttft_seconds_sum{worker_addr="http://d:1"} 0.5
            sglang_ttft_seconds_count{worker_addr="http://d:1"} 1.0
            up{worker_addr="http://p:1"} 1
            up{worker_addr="http://d:1"} 1
        "#]];
        expected.assert_eq(answer.text());
    }

    #[tokio::test]
    async fn without_any_worker_that_answers_it_fails() {
        let cases = [
            (Bench::new([]), "No available workers"),
            (
                Bench::new([("p:1", Role::Prefill, vec![])]),
                "All backend requests failed",
            ),
        ];
        for (bench, message) in cases {
            let answer = bench.get("/engine_metrics").await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(answer.text(), message);
        }
    }
}
