//! Settings of a file or of the environment as the words of a command line.

use std::ffi::OsString;

use clap::{Arg, ArgAction};

/// How often a flag stands on a command line, and with how many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `--flag`
    Switch,
    /// `--flag value`
    One,
    /// `--flag value value`
    List,
    /// `--flag value --flag value`
    Repeated,
    /// `--flag value value --flag value`
    Groups,
}

impl Shape {
    pub(super) fn of(arg: &Arg) -> Self {
        let several = arg
            .get_num_args()
            .is_some_and(|values| values.max_values() > 1);
        match (arg.get_action(), several) {
            (ArgAction::SetTrue, _) => Self::Switch,
            (ArgAction::Append, true) => Self::Groups,
            (ArgAction::Append, false) => Self::Repeated,
            (_, true) => Self::List,
            (_, false) => Self::One,
        }
    }
}

/// The flags that a source gives, each with its occurrences and their values.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<GivenFlag>);

#[derive(Debug)]
struct GivenFlag {
    id: String,
    long: String,
    occurrences: Vec<Vec<OsString>>,
}

impl Given {
    pub(super) fn add(&mut self, arg: &Arg, occurrences: Vec<Vec<OsString>>) {
        self.0.push(GivenFlag {
            id: arg.get_id().to_string(),
            long: arg.get_long().unwrap_or_default().to_owned(),
            occurrences,
        });
    }

    pub(super) fn has(&self, arg: &Arg) -> bool {
        self.0.iter().any(|flag| flag.id == arg.get_id().as_str())
    }

    /// A flag whose list holds a word that the command line would take for a flag.
    pub(super) fn with_a_dash(&self) -> Option<&str> {
        let dashed = |flag: &&GivenFlag| flag.occurrences.iter().any(|values| has_a_dash(values));
        self.0.iter().find(dashed).map(|flag| flag.long.as_str())
    }

    /// The words for the flags whose id is `wanted`.
    pub(super) fn tokens(&self, wanted: impl Fn(&str) -> bool) -> Vec<OsString> {
        let flags = self.0.iter().filter(|flag| wanted(&flag.id));
        flags
            .flat_map(|flag| flag.occurrences.iter().map(|values| (&flag.long, values)))
            .flat_map(|(long, values)| occurrence(long, values))
            .collect()
    }
}

/// Negative numbers are values everywhere, and a single value is tied to its flag.
fn has_a_dash(values: &[OsString]) -> bool {
    values.len() > 1
        && values.iter().any(|value| {
            let text = value.to_string_lossy();
            text.starts_with('-') && text.parse::<f64>().is_err()
        })
}

/// A single value is tied to its flag, so that it can't be taken for a flag itself. The values of a list can't be.
fn occurrence(long: &str, values: &[OsString]) -> Vec<OsString> {
    let mut flag = OsString::from(format!("--{long}"));
    if let [value] = values {
        flag.push("=");
        flag.push(value);
        return vec![flag];
    }
    let mut words = vec![flag];
    words.extend_from_slice(values);
    words
}
