//! The families as a page for people: `docs/metrics.md`.

use std::fmt::Write as _;

use super::catalogue::Description;

const HEAD: &str = "\
# Metrics

Served on `--prometheus-port` (29000, every path) and at `/metrics` of the main port. This page is made from the code; \
`UPDATE_EXPECT=1 cargo test --test metrics` writes it anew.

Names that begin with `smg_` are those of `sglang_router`, with its labels and its meaning, so that dashboards made \
for it go on working. `adaptive_router_*` is what it does not have. Durations are in seconds and lengths in tokens \
unless the name says otherwise.

* `worker` is a worker's URL as it was given. Its series end when the worker leaves.
* `model` is the request's, `default` where it names none, and `other` beyond 64 names.
* `endpoint` and `path` are routes, never a client's text.

How tokens are counted: a `/generate` event says how many tokens there are so far (`completion_tokens`), and so does an \
OpenAI chunk where the client asked for `stream_options: {\"include_usage\": true, \"continuous_usage_stats\": true}`; \
the difference to the event before is what the event brought. An OpenAI chunk without usage that has text counts as \
one token, however many a worker put into it (`--stream-interval`, text held back); the usage at the end, where asked \
for, corrects the length of the answer and its mean time per token. `source` tells the two apart. Answers that are not \
streamed have no TTFT or ITL.

No accepted request is lost from the books: `sum(smg_router_requests_total)` is \
`sum(adaptive_router_requests_finished_total) + sum(adaptive_router_requests_in_flight)` at any time, but for a request \
that is between two of them while they are read. What was refused before it was accepted is in \
`smg_http_rate_limit_total` and `smg_http_responses_total`.
";

const GROUPS: [(&str, &str); 3] = [
    ("smg_", "The peer's families"),
    ("adaptive_router_", "Families of this router"),
    ("process_", "The process"),
];

pub(super) fn page(families: &[Description]) -> String {
    let mut page = HEAD.to_owned();
    for (prefix, title) in GROUPS {
        let _ = write!(
            page,
            "\n## {title}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n"
        );
        let mut group: Vec<_> = families
            .iter()
            .filter(|family| family.name.starts_with(prefix))
            .collect();
        group.sort_by(|a, b| a.name.cmp(&b.name));
        for family in group {
            let labels: Vec<_> = family
                .labels
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                family.name,
                family.kind,
                labels.join(" "),
                family.help
            );
        }
    }
    page
}
