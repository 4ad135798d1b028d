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

/// One line: a label, and a figure with its format.
macro_rules! line {
    ($f:expr, $label:expr, $($figure:tt)*) => {
        writeln!($f, "{:<40} {:<10}", $label, format_args!($($figure)*).to_string())
    };
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures;
        writeln!(f, "{:=^WIDTH$}", " Serving Benchmark Result ")?;
        line!(f, "Successful requests:", "{}", figures.completed)?;
        line!(f, "Failed requests:", "{}", figures.failed)?;
        if let Some(most) = self.about.max_concurrency {
            line!(f, "Maximum request concurrency:", "{most}")?;
        }
        match self.about.rate {
            Rate::Unlimited => {}
            Rate::Drawn(rate) => line!(f, "Request rate configured (RPS):", "{rate:.2}")?,
            Rate::Recorded(rate) => line!(f, "Request rate recorded (RPS):", "{rate:.2}")?,
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
        let seconds = figures.duration.as_secs_f64();
        let rate = |count| figures.per_second(count);
        let tokens = figures.input_tokens + figures.output_tokens;
        line!(f, "Benchmark duration (s):", "{seconds:.2}")?;
        line!(f, "Total input tokens:", "{}", figures.input_tokens)?;
        line!(f, "Total generated tokens:", "{}", figures.output_tokens)?;
        line!(
            f,
            "Request throughput (req/s):",
            "{:.2}",
            rate(figures.completed)
        )?;
        if let Some(good) = figures.good {
            line!(f, "Request goodput (req/s):", "{:.2}", rate(good))?;
        }
        line!(
            f,
            "Output token throughput (tok/s):",
            "{:.2}",
            rate(figures.output_tokens)
        )?;
        let peak = figures.peak_output_tokens;
        line!(f, "Peak output token throughput (tok/s):", "{peak}.00")?;
        line!(
            f,
            "Peak concurrent requests:",
            "{}.00",
            figures.peak_concurrency
        )?;
        line!(f, "Total token throughput (tok/s):", "{:.2}", rate(tokens))
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for series in &self.figures.series {
            let metric = series.metric;
            writeln!(f, "{:-^WIDTH$}", metric.title())?;
            line!(f, format!("Mean {metric} (ms):"), "{:.2}", series.mean)?;
            line!(f, format!("Median {metric} (ms):"), "{:.2}", series.median)?;
            for (percent, value) in &series.percentiles {
                line!(f, format!("P{percent} {metric} (ms):"), "{value:.2}")?;
            }
        }
        if self.about.rate != Rate::Unlimited {
            let late = self.figures.late;
            writeln!(f, "{:-^WIDTH$}", "Start after the Scheduled Time")?;
            line!(f, "Mean late start (ms):", "{:.2}", late.mean)?;
            line!(f, "P99 late start (ms):", "{:.2}", late.p99)?;
            line!(f, "Max late start (ms):", "{:.2}", late.max)?;
        }
        Ok(())
    }

    /// What went wrong, if anything did.
    fn trouble(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures;
        if !figures.failures.is_empty() {
            writeln!(f, "{:-^WIDTH$}", "Failures")?;
            for (failure, count) in &figures.failures {
                line!(f, format!("{failure}:"), "{count}")?;
            }
            for example in &figures.examples {
                let (number, detail) = (example.number, &example.detail);
                writeln!(f, "  request {number}, {}: {detail}", example.failure)?;
            }
        }
        if self.outcome.interrupted {
            let (abandoned, unsent) = (self.outcome.abandoned, self.outcome.unsent);
            writeln!(f, "{:-^WIDTH$}", "Interrupted")?;
            line!(f, "Requests under way, not awaited:", "{abandoned}")?;
            line!(f, "Requests never sent:", "{unsent}")?;
        }
        Ok(())
    }
}
