//! `--prefill URL [PORT|none]`: the one flag whose occurrences have an inner structure.
//!
//! Deriving flattens the values of all occurrences into one list, so this one is written by hand against the same
//! two traits that the derived ones implement.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::fleet::PD;
use super::parse::{self, BadValue};

/// A prefill worker as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefillUrl {
    pub url: String,
    /// Where decode workers meet it. Without one the worker is asked.
    pub bootstrap_port: Option<u16>,
}

/// All `--prefill` of a command line, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct PrefillUrls(pub(super) Vec<PrefillUrl>);

const ID: &str = "prefill";

impl Args for PrefillUrls {
    fn augment_args(command: Command) -> Command {
        command.arg(
            Arg::new(ID)
                .long(ID)
                .help("Prefill worker and its bootstrap port (a number, or none: ask the worker); repeat for more")
                .help_heading(PD)
                .value_names(["URL", "PORT"])
                .num_args(1..=2)
                .action(ArgAction::Append),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PrefillUrls {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let occurrences = matches.get_occurrences::<String>(ID);
        occurrences
            .into_iter()
            .flatten()
            .map(|values| prefill_url(values.map(String::as_str)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn prefill_url<'a>(mut values: impl Iterator<Item = &'a str>) -> Result<PrefillUrl, clap::Error> {
    let url = values.next().unwrap_or_default();
    Ok(PrefillUrl {
        url: parse::worker_url(url).map_err(|problem| refusal(url, problem))?,
        bootstrap_port: match values.next() {
            Some(port) => parse::bootstrap_port(port).map_err(|problem| refusal(port, problem))?,
            None => None,
        },
    })
}

fn refusal(value: &str, problem: BadValue) -> clap::Error {
    let message = format!("invalid value '{value}' for '--prefill <URL> [PORT]': {problem}");
    clap::Error::raw(ErrorKind::ValueValidation, message)
}
