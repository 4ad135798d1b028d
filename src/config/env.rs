//! Settings from environment variables: `ADAPTIVE_ROUTER_` and the flag's name, for every flag.
//!
//! An empty variable counts as not set, because that is what templates of deployments leave behind.

use std::ffi::{OsStr, OsString};

use super::cli;
use super::tokens::{Given, Shape};

const PREFIX: &str = "ADAPTIVE_ROUTER_";

/// What the environment sets.
pub(super) fn given(lookup: &dyn Fn(&str) -> Option<OsString>) -> Given {
    let mut given = Given::default();
    for arg in cli::shown().get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let Some(value) = lookup(&variable(long)).filter(|value| is_meant_for_us(value)) else {
            continue;
        };
        given.add(arg, occurrences(Shape::of(arg), value));
    }
    given
}

fn variable(long: &str) -> String {
    format!("{PREFIX}{}", long.replace('-', "_").to_uppercase())
}

/// Kubernetes describes a Service called `adaptive-router` to every pod beside it by variables of its own making:
/// `ADAPTIVE_ROUTER_PORT=tcp://10.0.0.7:8000` is no port that anyone chose.
fn is_meant_for_us(value: &OsStr) -> bool {
    let by_kubernetes = value
        .to_str()
        .is_some_and(|text| text.starts_with("tcp://") || text.starts_with("udp://"));
    !value.is_empty() && !by_kubernetes
}

fn occurrences(shape: Shape, value: OsString) -> Vec<Vec<OsString>> {
    // What is not UTF-8 can be a path; for all else the parser refuses it with the right words.
    let Some(text) = value.to_str() else {
        return vec![vec![value]];
    };
    let words = || text.split_whitespace().map(OsString::from);
    match shape {
        Shape::One => vec![vec![value]],
        Shape::Switch => vec![vec![switch(text).into()]],
        Shape::List => vec![words().collect()],
        Shape::Repeated => words().map(|word| vec![word]).collect(),
        Shape::Groups => groups(text),
    }
}

/// The usual ways to say yes and no; anything else is left for the parser to refuse.
fn switch(text: &str) -> &str {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => "true",
        "0" | "false" | "no" | "off" => "false",
        _ => text,
    }
}

/// `URL PORT URL URL PORT`: every URL begins anew.
fn groups(text: &str) -> Vec<Vec<OsString>> {
    let mut groups: Vec<Vec<OsString>> = Vec::new();
    for word in text.split_whitespace() {
        match groups.last_mut() {
            Some(group) if !word.contains("://") => group.push(word.into()),
            Some(_) | None => groups.push(vec![word.into()]),
        }
    }
    groups
}
