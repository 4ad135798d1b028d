//! The settings that were parsed, written as a configuration file.
//!
//! What is printed is what the parser was given, flag by flag, so that reading it back is parsing it again.

use std::ffi::OsStr;
use std::fmt::Write;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use toml::Value;

use super::tokens::Shape;
use super::{cli, cluster, without_effect};

/// The whole file.
///
/// Left out: flags without effect that nobody gave, and secrets, whose place a comment takes: the output of a program
/// ends up in logs and tickets.
pub(super) fn toml(matches: &ArgMatches) -> String {
    let mut text = format!("# adaptive-router {}\n", env!("CARGO_PKG_VERSION"));
    let mut heading = None;
    for arg in cli::shown().get_arguments() {
        let Some(line) = line(arg, matches) else {
            continue;
        };
        if heading.as_deref() != arg.get_help_heading() {
            heading = arg.get_help_heading().map(str::to_owned);
            // Writing to a string can't fail.
            let _ = write!(text, "\n# {}\n", heading.as_deref().unwrap_or_default());
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn line(arg: &Arg, matches: &ArgMatches) -> Option<String> {
    let long = arg.get_long()?;
    let source = matches.value_source(arg.get_id().as_str())?;
    let is_default = source == ValueSource::DefaultValue;
    if [
        cli::CONFIG,
        cli::PRINT_CONFIG,
        cluster::PRINT_LAUNCH_COMMANDS,
    ]
    .contains(&long)
    {
        return None;
    }
    if is_default && without_effect::contains(long) {
        return None;
    }
    if arg.is_hide_env_values_set() {
        return Some(format!("# {long} is set: a secret, not printed"));
    }
    match value(arg, matches) {
        Some(value) => Some(format!("{long} = {value}")),
        None => Some(format!("# {long} is set, but not UTF-8: not printed")),
    }
}

/// `None` if it can't be written in TOML.
fn value(arg: &Arg, matches: &ArgMatches) -> Option<Value> {
    let shape = Shape::of(arg);
    let mut occurrences = Vec::new();
    for values in matches.get_raw_occurrences(arg.get_id().as_str())? {
        let texts = values.map(OsStr::to_str).collect::<Option<Vec<_>>>()?;
        occurrences.push(texts);
    }
    let scalars = |texts: Vec<&str>| texts.into_iter().map(scalar).collect();
    let flat = occurrences.iter().flatten().copied();
    Some(match shape {
        Shape::Switch => Value::Boolean(flat.last()?.parse().ok()?),
        Shape::One => scalar(flat.last()?),
        Shape::List | Shape::Repeated => Value::Array(scalars(flat.collect())),
        Shape::Groups => {
            let groups = occurrences.into_iter().map(scalars).map(Value::Array);
            Value::Array(groups.collect())
        }
    })
}

/// A number stays the text that it was, digit by digit, or it is written as a string.
fn scalar(text: &str) -> Value {
    let integer = text.parse().ok().map(Value::Integer);
    let float = text.parse().ok().map(Value::Float);
    let numbers = integer.into_iter().chain(float);
    numbers
        .into_iter()
        .find(|number| number.to_string() == text)
        .unwrap_or_else(|| Value::String(text.to_owned()))
}
