//! What both sides measured, and the table of it.

use super::{Case, Comparison};
use crate::{
    exposition::Exposition,
    load::{self, Percentiles},
    telemetry::MeasureError,
};
use serde_json::{Value, json};
use std::{fmt, time::Duration};

const TTFT_WINDOW: &str = "adaptive_router_ttft_window_seconds";
const ITL_WINDOW: &str = "adaptive_router_itl_window_seconds";
const TTFT_COUNT: &str = "adaptive_router_ttft_seconds_count";
const ITL_COUNT: &str = "adaptive_router_itl_seconds_count";

/// All cases of one run.
#[derive(Debug)]
pub struct Report(pub Vec<Outcome>);

/// One case.
#[derive(Debug)]
pub struct Outcome {
    pub case: Case,
    pub took: Duration,
    pub counts: [Count; 2],
    pub rows: [Row; 4],
}

/// How many values both sides have of something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Count {
    pub what: &'static str,
    pub client: u64,
    pub router: f64,
}

/// One percentile of one latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    pub latency: &'static str,
    pub comparison: Comparison,
}

impl Count {
    pub fn agrees(&self) -> bool {
        // Counts are whole numbers, far below where floats have gaps.
        (self.router - self.client as f64).abs() < 0.5
    }
}

/// First tokens and gaps, counted by both. TTFT is observed for both workers of a pair: one role stands for all.
pub(super) fn counts(report: &load::Report, scrape: &Exposition) -> [Count; 2] {
    let count = |points: Option<Percentiles>| points.map_or(0, |points| points.count);
    [
        Count {
            what: "first tokens",
            client: count(report.first_token),
            router: scrape.sum(TTFT_COUNT, &[("role", "decode")]),
        },
        Count {
            what: "gaps",
            client: count(report.between_tokens),
            router: scrape.sum(ITL_COUNT, &[]),
        },
    ]
}

impl Outcome {
    pub(super) fn new(
        case: Case,
        report: &load::Report,
        scrape: &Exposition,
    ) -> Result<Self, MeasureError> {
        let [ttft_p50, ttft_p99] = rows(
            ["TTFT p50", "TTFT p99"],
            report.first_token,
            scrape,
            TTFT_WINDOW,
        )?;
        let [itl_p50, itl_p99] = rows(
            ["ITL p50", "ITL p99"],
            report.between_tokens,
            scrape,
            ITL_WINDOW,
        )?;
        Ok(Self {
            case,
            took: report.took,
            counts: counts(report, scrape),
            rows: [ttft_p50, ttft_p99, itl_p50, itl_p99],
        })
    }

    /// Whether the router counted everything and measured it near enough.
    pub fn agrees(&self) -> bool {
        self.counts.iter().all(Count::agrees) && self.rows.iter().all(|row| row.comparison.agrees())
    }

    fn to_json(&self) -> Value {
        let counts = self.counts.iter().map(|count| {
            json!({"of": count.what, "client": count.client, "router": count.router, "agrees": count.agrees()})
        });
        let rows = self.rows.iter().map(|row| {
            let Row {
                latency,
                comparison,
            } = row;
            json!({
                "latency": latency,
                "client_ms": comparison.client * 1e3,
                "router_ms": comparison.router * 1e3,
                "difference_ms": comparison.difference() * 1e3,
                "difference_percent": comparison.share() * 1e2,
                "agrees": comparison.agrees(),
            })
        });
        json!({
            "case": self.case.to_string(),
            "duration_s": self.took.as_secs_f64(),
            "counts": counts.collect::<Vec<_>>(),
            "latencies": rows.collect::<Vec<_>>(),
            "agrees": self.agrees(),
        })
    }
}

fn rows(
    names: [&'static str; 2],
    client: Option<Percentiles>,
    scrape: &Exposition,
    window: &'static str,
) -> Result<[Row; 2], MeasureError> {
    let Percentiles { p50, p99, .. } = client.ok_or(MeasureError::NoTokens)?;
    let row = |latency, client: Duration, quantile| {
        let router = scrape.value(window, &[("quantile", quantile)]);
        let comparison = Comparison {
            client: client.as_secs_f64(),
            router: router.ok_or(MeasureError::NoSeries(window))?,
        };
        Ok(Row {
            latency,
            comparison,
        })
    };
    Ok([row(names[0], p50, "0.5")?, row(names[1], p99, "0.99")?])
}

impl Report {
    pub fn agrees(&self) -> bool {
        self.0.iter().all(Outcome::agrees)
    }

    pub fn to_json(&self) -> Value {
        let cases: Vec<_> = self.0.iter().map(Outcome::to_json).collect();
        json!({"agrees": self.agrees(), "cases": cases})
    }
}

/// As Markdown, so that it can be put into a document as it stands.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| case | | client | router | difference | | within 2 ms or 5 % |"
        )?;
        writeln!(f, "|---|---|--:|--:|--:|--:|---|")?;
        for outcome in &self.0 {
            for count in &outcome.counts {
                let Count {
                    what,
                    client,
                    router,
                } = count;
                let difference = router - *client as f64;
                let verdict = if count.agrees() { "equal" } else { "NO" };
                writeln!(
                    f,
                    "| {} | {what} | {client} | {router} | {difference:+} | | {verdict} |",
                    outcome.case
                )?;
            }
            for Row {
                latency,
                comparison,
            } in &outcome.rows
            {
                writeln!(
                    f,
                    "| {} | {latency} | {:.2} ms | {:.2} ms | {:+.2} ms | {:+.1} % | {} |",
                    outcome.case,
                    comparison.client * 1e3,
                    comparison.router * 1e3,
                    comparison.difference() * 1e3,
                    comparison.share() * 1e2,
                    if comparison.agrees() { "yes" } else { "NO" },
                )?;
            }
        }
        let agree = self.0.iter().filter(|outcome| outcome.agrees()).count();
        write!(f, "\n{agree} of {} cases agree", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Report as LoadReport;
    use std::collections::BTreeMap;

    fn points(count: u64, p50_ms: u64, p99_ms: u64) -> Percentiles {
        Percentiles {
            count,
            p50: Duration::from_millis(p50_ms),
            p99: Duration::from_millis(p99_ms),
        }
    }

    fn client() -> LoadReport {
        LoadReport {
            ok: 10,
            failures: BTreeMap::new(),
            examples: Vec::new(),
            took: Duration::from_secs(1),
            events: 0,
            reads: 0,
            first_token: Some(points(10, 100, 200)),
            between_tokens: Some(points(90, 8, 12)),
            whole: None,
        }
    }

    fn scrape(gaps: u64, itl_p99: &str) -> Exposition {
        Exposition::parse(&format!(
            "{TTFT_COUNT}{{worker=\"p\",role=\"prefill\"}} 10\n\
             {TTFT_COUNT}{{worker=\"d\",role=\"decode\"}} 10\n\
             {ITL_COUNT}{{worker=\"d\"}} {gaps}\n\
             {TTFT_WINDOW}{{quantile=\"0.5\"}} 0.099\n{TTFT_WINDOW}{{quantile=\"0.99\"}} 0.199\n\
             {ITL_WINDOW}{{quantile=\"0.5\"}} 0.008\n{ITL_WINDOW}{{quantile=\"0.99\"}} {itl_p99}\n"
        ))
        .unwrap()
    }

    #[test]
    fn a_case_agrees_if_every_token_is_counted_and_every_latency_is_near() {
        let table = [
            (scrape(90, "0.013"), true),
            (scrape(89, "0.013"), false),
            (scrape(90, "0.019"), false),
            (scrape(90, "NaN"), false),
        ];
        for (scrape, agrees) in table {
            let outcome = Outcome::new(Case::ALL[0], &client(), &scrape).unwrap();
            assert_eq!(outcome.agrees(), agrees, "{outcome:?}");
            let report = Report(vec![outcome]);
            assert_eq!(report.to_json()["agrees"], agrees);
            assert_eq!(report.to_string().contains("| NO |"), !agrees, "{report}");
        }
    }

    #[test]
    fn a_missing_window_is_named() {
        let scrape = Exposition::parse(&format!("{TTFT_WINDOW}{{quantile=\"0.5\"}} 0.1")).unwrap();
        let error = Outcome::new(Case::ALL[0], &client(), &scrape).unwrap_err();
        assert!(
            matches!(error, MeasureError::NoSeries(TTFT_WINDOW)),
            "{error}"
        );
    }
}
