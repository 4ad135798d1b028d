//! Settings from a TOML file: its keys are the long flags, with dashes or underscores.
//!
//! ```toml
//! pd-disaggregation = true
//! prefill = [["http://127.0.0.1:30000", 9000], { url = "http://127.0.0.1:30001", bootstrap-port = 9001 }]
//! decode = ["http://127.0.0.1:30002"]
//! ```
//! Only the shape of a value is judged here (is it one value or a list?); whether it is a good value is for the same
//! parser that reads the command line.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use toml::{Table, Value};

use super::error::{ConfigError, FileProblem};
use super::tokens::{Given, Shape};
use super::{cli, cluster};

/// What the file sets.
pub(super) fn given(path: &Path) -> Result<Given, ConfigError> {
    read(path).map_err(|problem| ConfigError::File {
        path: path.to_owned(),
        problem,
    })
}

fn read(path: &Path) -> Result<Given, FileProblem> {
    parse(&std::fs::read_to_string(path).map_err(FileProblem::Unreadable)?)
}

pub(super) fn parse(text: &str) -> Result<Given, FileProblem> {
    let table = text
        .parse::<Table>()
        .map_err(|error| not_toml(text, &error))?;
    let command = cli::shown();
    let mut given = Given::default();
    for (key, value) in table {
        let arg = find(&command, &key)?;
        if given.has(arg) {
            return Err(FileProblem::Twice { key });
        }
        let occurrences = occurrences(Shape::of(arg), &value)
            .map_err(|expected| FileProblem::WrongShape { key, expected })?;
        given.add(arg, occurrences);
    }
    Ok(given)
}

fn not_toml(text: &str, error: &toml::de::Error) -> FileProblem {
    let offset = error.span().map_or(0, |span| span.start);
    FileProblem::NotToml {
        line: text[..offset].lines().count().max(1),
        message: error.message().replace('\n', ", "),
    }
}

fn find<'a>(command: &'a Command, key: &str) -> Result<&'a Arg, FileProblem> {
    let name = key.replace('_', "-");
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(&name) && is_setting(&name))
        .ok_or_else(|| FileProblem::UnknownKey {
            key: key.to_owned(),
            similar: similar(command, &name),
        })
}

/// A file can't name another file, nor ask to be printed.
fn is_setting(name: &str) -> bool {
    ![
        cli::CONFIG,
        cli::PRINT_CONFIG,
        cluster::PRINT_LAUNCH_COMMANDS,
    ]
    .contains(&name)
}

/// The command line's own idea of what was meant.
fn similar(command: &Command, name: &str) -> Option<String> {
    let words = ["adaptive-router".to_owned(), format!("--{name}")];
    let command = command.clone().infer_long_args(false);
    let error = command.try_get_matches_from(words).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()),
        _ => None,
    }
}

type WrongShape = &'static str;

fn occurrences(shape: Shape, value: &Value) -> Result<Vec<Vec<OsString>>, WrongShape> {
    match shape {
        Shape::Switch => match value {
            Value::Boolean(on) => Ok(vec![vec![on.to_string().into()]]),
            _ => Err("true or false"),
        },
        Shape::One => Ok(vec![vec![scalar(value).ok_or("one value")?]]),
        Shape::List => Ok(vec![scalars(value).ok_or("a list of values")?]),
        Shape::Repeated => {
            let values = scalars(value).ok_or("a list of values")?;
            Ok(values.into_iter().map(|value| vec![value]).collect())
        }
        Shape::Groups => value
            .as_array()
            .and_then(|workers| workers.iter().map(group).collect())
            .ok_or(
                "a list like [[\"http://127.0.0.1:30000\", 9000], [\"http://127.0.0.1:30001\"]]",
            ),
    }
}

fn scalars(value: &Value) -> Option<Vec<OsString>> {
    value.as_array()?.iter().map(scalar).collect()
}

fn scalar(value: &Value) -> Option<OsString> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Integer(number) => Some(number.to_string().into()),
        Value::Float(number) => Some(number.to_string().into()),
        Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// `"URL"`, `["URL", PORT]` or `{ url = "URL", bootstrap-port = PORT }`.
fn group(value: &Value) -> Option<Vec<OsString>> {
    match value {
        Value::String(_) => Some(vec![scalar(value)?]),
        Value::Array(_) => scalars(value).filter(|values| !values.is_empty()),
        Value::Table(table) => worker(table),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => None,
    }
}

fn worker(table: &Table) -> Option<Vec<OsString>> {
    let mut values = vec![scalar(table.get("url")?)?];
    let port = table
        .get("bootstrap-port")
        .or_else(|| table.get("bootstrap_port"));
    values.extend(port.and_then(scalar));
    (values.len() == table.len()).then_some(values)
}
