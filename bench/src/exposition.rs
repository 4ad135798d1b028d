//! Reading what a program says to Prometheus: the text format, as far as comparing values needs it.
//!
//! Own code rather than the router's library: a witness that shares the writer's code would share its errors.

use std::fmt;

/// All samples of one scrape.
#[derive(Debug)]
pub struct Exposition(Vec<Sample>);

#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// The line that is none of the text format's.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a line of Prometheus' text format: {}", self.0)
    }
}

impl std::error::Error for ParseError {}

impl Exposition {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| Sample::parse(line).ok_or_else(|| ParseError(line.into())))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The one sample with this name and at least these labels; None where there is none, or no single one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values = self.values(name, labels);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// All samples with this name and at least these labels, added up.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.values(name, labels).sum()
    }

    fn values(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let matching = self
            .0
            .iter()
            .filter(move |sample| sample.name == name && sample.has(labels));
        matching.map(|sample| sample.value)
    }
}

impl Sample {
    /// `name{label="value",...} value timestamp`, where labels and timestamp may be missing.
    fn parse(line: &str) -> Option<Self> {
        let name_ends = line.find(['{', ' ', '\t'])?;
        let (name, rest) = line.split_at(name_ends);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        let value = rest.split_ascii_whitespace().next()?;
        Some(Self {
            name: name.into(),
            labels,
            // Rust reads the format's `+Inf` and `NaN` too.
            value: value.parse().ok()?,
        })
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.labels.iter().any(|(n, v)| n == name && v == value))
    }
}

/// Reads labels up to the closing brace; returns them and what follows.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once('=')?;
        let (value, after) = quoted_text(quoted.trim_start().strip_prefix('"')?)?;
        labels.push((name.trim().into(), value));
        rest = after;
    }
}

/// Reads a label's value up to the closing quote; returns it and what follows.
fn quoted_text(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                escaped => escaped,
            }),
            char => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP itl_seconds Time between tokens.
# TYPE itl_seconds histogram
itl_seconds_bucket{worker=\"http://a:1\",le=\"+Inf\"} 70
itl_seconds_count{worker=\"http://a:1\"} 70

itl_seconds_count{worker=\"http://b:1\"} 30
window{quantile=\"0.5\"} 0.0076
window{quantile=\"0.99\"} NaN
up 1 1732430000000
odd{text=\"a \\\"}, \\\\ \\n b\",} -1.5e3
";

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let scrape = Exposition::parse(TEXT).unwrap();
        assert_eq!(scrape.value("window", &[("quantile", "0.5")]), Some(0.0076));
        assert_eq!(scrape.value("up", &[]), Some(1.0));
        assert!(
            scrape
                .value("window", &[("quantile", "0.99")])
                .is_some_and(f64::is_nan)
        );
        assert_eq!(
            scrape.value("odd", &[("text", "a \"}, \\ \n b")]),
            Some(-1500.0)
        );
        assert_eq!(scrape.value("window", &[("quantile", "0.9")]), None);
    }

    #[test]
    fn the_series_of_all_workers_add_up() {
        let scrape = Exposition::parse(TEXT).unwrap();
        assert_eq!(
            scrape.value("itl_seconds_count", &[]),
            None,
            "two are no single one"
        );
        let sum = |labels: &[_]| scrape.sum("itl_seconds_count", labels);
        assert!((sum(&[]) - 100.0).abs() < 1e-9);
        assert!((sum(&[("worker", "http://b:1")]) - 30.0).abs() < 1e-9);
        assert!(sum(&[("worker", "http://c:1")]).abs() < 1e-9);
    }

    #[test]
    fn a_line_of_another_format_is_named() {
        for line in [
            "{\"ttft\": 1}",
            "ttft",
            "ttft{a=\"b} 1",
            "ttft{a=b} 1",
            "ttft one",
        ] {
            let error = Exposition::parse(line).unwrap_err();
            assert_eq!(error, ParseError(line.into()));
        }
    }
}
