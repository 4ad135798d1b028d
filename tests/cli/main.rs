//! The configuration as a user meets it: command lines, variables and files in, settings or one line of error out.

mod accepted;
mod peer_flags;
mod printed;
mod refused;
mod sources;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use adaptive_router::config::{Config, ConfigError, Parsed};

/// A command line as one would type it, without quoting: words are split at spaces.
fn parse(line: &str) -> Result<Parsed, ConfigError> {
    parse_with(line, &[])
}

fn parse_with(line: &str, environment: &[(&str, &str)]) -> Result<Parsed, ConfigError> {
    let lookup = |name: &str| {
        let mut variables = environment.iter();
        variables
            .find(|(key, _)| *key == name)
            .map(|(_, value)| OsString::from(value))
    };
    Config::from_sources(line.split_whitespace().map(OsString::from), &lookup)
}

#[track_caller]
fn config(line: &str) -> Config {
    config_with(line, &[])
}

#[track_caller]
fn config_with(line: &str, environment: &[(&str, &str)]) -> Config {
    match parse_with(line, environment) {
        Ok(Parsed::Run(config)) => *config,
        Ok(Parsed::Print(text)) => panic!("{line}: printed {text}"),
        Err(error) => panic!("{line}: {error}"),
    }
}

#[track_caller]
fn printed(line: &str) -> String {
    match parse(line) {
        Ok(Parsed::Print(text)) => text,
        Ok(Parsed::Run(_)) => panic!("{line}: would run"),
        Err(error) => panic!("{line}: {error}"),
    }
}

/// A file of this test's own.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("cargo makes this directory for tests");
    path
}
