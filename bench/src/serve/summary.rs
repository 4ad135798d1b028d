//! The summary on the terminal, line for line as users of `vllm bench serve` know it; what that doesn't say comes after.

use super::{
    drive::Outcome,
    figures::Figures,
    result::{About, Rate},
};
use std::fmt;

pub struct Summary<'a> {
    pub about: &'a About,
    pub outcome: &'a Outcome,
    pub figures: &'a Figures,
}

/// Columns of the summary.
const WIDTH: usize = 50;

fn count(f: &mut fmt::Formatter<'_>, label: &str, figure: u64) -> fmt::Result {
    writeln!(f, "{label:<40} {figure:<10}")
}

fn decimal(f: &mut fmt::Formatter<'_>, label: &str, figure: f64) -> fmt::Result {
    writeln!(f, "{label:<40} {figure:<10.2}")
}

fn heading(f: &mut fmt::Formatter<'_>, title: &str) -> fmt::Result {
    writeln!(f, "{title:-^WIDTH$}")
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:=^WIDTH$}", " Serving Benchmark Result ")?;
        count(f, "Successful requests:", self.figures.completed)?;
        count(f, "Failed requests:", self.figures.failed)?;
        if let Some(most) = self.about.max_concurrency {
            count(f, "Maximum request concurrency:", most as u64)?;
        }
        match self.about.rate {
            Rate::Unlimited => {}
            Rate::Drawn(rate) => decimal(f, "Request rate configured (RPS):", rate)?,
            Rate::Recorded(rate) => decimal(f, "Request rate recorded (RPS):", rate)?,
        }
        self.throughput(f)?;
        self.latencies(f)?;
        self.trouble(f)?;
        write!(f, "{:=^WIDTH$}", "")
    }
}

impl Summary<'_> {
    fn throughput(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures;
        let rate = |count| figures.per_second(count);
        let (input, output) = (figures.input_tokens, figures.output_tokens);
        decimal(f, "Benchmark duration (s):", figures.duration.as_secs_f64())?;
        count(f, "Total input tokens:", input)?;
        count(f, "Total generated tokens:", output)?;
        decimal(f, "Request throughput (req/s):", rate(figures.completed))?;
        if let Some(good) = figures.good {
            decimal(f, "Request goodput (req/s):", rate(good))?;
        }
        decimal(f, "Output token throughput (tok/s):", rate(output))?;
        let peak_tokens = figures.peak_output_tokens as f64;
        decimal(f, "Peak output token throughput (tok/s):", peak_tokens)?;
        let peak_requests = figures.peak_concurrency as f64;
        decimal(f, "Peak concurrent requests:", peak_requests)?;
        decimal(f, "Total token throughput (tok/s):", rate(input + output))
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for series in &self.figures.series {
            let metric = series.metric;
            heading(f, metric.title())?;
            decimal(f, &format!("Mean {metric} (ms):"), series.mean)?;
            decimal(f, &format!("Median {metric} (ms):"), series.median)?;
            for (percent, value) in &series.percentiles {
                decimal(f, &format!("P{percent} {metric} (ms):"), *value)?;
            }
        }
        if self.about.rate != Rate::Unlimited {
            let late = self.figures.late;
            heading(f, "Start after the Scheduled Time")?;
            decimal(f, "Mean late start (ms):", late.mean)?;
            decimal(f, "P99 late start (ms):", late.p99)?;
            decimal(f, "Max late start (ms):", late.max)?;
        }
        Ok(())
    }

    /// What went wrong, if anything did.
    fn trouble(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.figures.failures.is_empty() {
            heading(f, "Failures")?;
            for (failure, requests) in &self.figures.failures {
                count(f, &format!("{failure}:"), *requests)?;
            }
            for example in &self.figures.examples {
                let (number, detail) = (example.number, &example.detail);
                writeln!(f, "  request {number}, {}: {detail}", example.failure)?;
            }
        }
        if self.outcome.interrupted {
            heading(f, "Interrupted")?;
            count(
                f,
                "Requests under way, not awaited:",
                self.outcome.abandoned,
            )?;
            count(f, "Requests never sent:", self.outcome.unsent)?;
        }
        Ok(())
    }
}
