//! The command line: all flags in one command, and the one parser that every source of settings goes through.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

use super::admission::AdmissionSettings;
use super::auth::AuthFlags;
use super::breaker::BreakerSettings;
use super::continuation::ContinuationSettings;
use super::controller::RatioSettings;
use super::error::{ConfigError, Source};
use super::fleet::FleetFlags;
use super::health::HealthSettings;
use super::logging::LoggingSettings;
use super::metrics::MetricsSettings;
use super::queue::QueueFlags;
use super::retry::RetryFlags;
use super::routing::RoutingFlags;
use super::server::ServerSettings;
use super::slo::SloSettings;
use super::timeouts::TimeoutSettings;
use super::tracing::TracingSettings;
use super::upstream_tls::UpstreamTlsSettings;
use super::without_effect::WithoutEffect;

/// An HTTP router for SGLang workers with disaggregated prefill and decode
#[derive(Parser)]
#[command(
    name = "adaptive-router", version, after_help = AFTER_HELP, term_width = 110,
    infer_long_args = true, args_override_self = true
)]
pub(super) struct Flags {
    #[command(flatten)]
    pub(super) server: ServerSettings,
    #[command(flatten)]
    pub(super) fleet: FleetFlags,
    #[command(flatten)]
    pub(super) routing: RoutingFlags,
    #[command(flatten)]
    pub(super) ratio: RatioSettings,
    #[command(flatten)]
    pub(super) timeouts: TimeoutSettings,
    #[command(flatten)]
    pub(super) continuation: ContinuationSettings,
    #[command(flatten)]
    pub(super) admission: AdmissionSettings,
    #[command(flatten)]
    pub(super) queue: QueueFlags,
    #[command(flatten)]
    pub(super) retry: RetryFlags,
    #[command(flatten)]
    pub(super) breaker: BreakerSettings,
    #[command(flatten)]
    pub(super) health: HealthSettings,
    #[command(flatten)]
    pub(super) auth: AuthFlags,
    #[command(flatten)]
    pub(super) upstream_tls: UpstreamTlsSettings,
    #[command(flatten)]
    pub(super) slo: SloSettings,
    #[command(flatten)]
    pub(super) metrics: MetricsSettings,
    #[command(flatten)]
    pub(super) logging: LoggingSettings,
    #[command(flatten)]
    pub(super) tracing: TracingSettings,
    #[command(flatten)]
    pub(super) without_effect: WithoutEffect,

    /// Read settings from a TOML file
    #[arg(long = CONFIG, value_name = "FILE", help_heading = "Configuration")]
    pub(super) config: Option<PathBuf>,

    /// Print the settings that result from flags, environment and file as such a file, and end
    #[arg(long = PRINT_CONFIG, help_heading = "Configuration")]
    pub(super) print_config: bool,
}

pub(super) const CONFIG: &str = "config";
pub(super) const PRINT_CONFIG: &str = "print-config";

const AFTER_HELP: &str = "\
Every flag is also a key of the file that --config names, and an environment variable:
  --queue-size 100    queue-size = 100    ADAPTIVE_ROUTER_QUEUE_SIZE=100
A flag wins over the environment, the environment over the file. A switch takes =false to undo them.
In the environment, several values are separated by spaces.

Flags, names and defaults are those of sglang_router, but for the port: 8000 here, 30000 there.

Examples:
  adaptive-router --policy ratio-controller --simulate
  adaptive-router --pd-disaggregation --prefill http://127.0.0.1:30000 9000 --decode http://127.0.0.1:30001
  adaptive-router --worker-urls http://127.0.0.1:30000 http://127.0.0.1:30001";

/// The flags as they are shown: a switch is a bare word.
pub(super) fn shown() -> Command {
    Flags::command()
}

/// Whether a flag, as an error names it (`--api-key <KEY>`), takes a secret.
pub(super) fn is_secret(flag: &str) -> bool {
    let long = flag.split([' ', '=']).next().unwrap_or(flag);
    shown().get_arguments().any(|arg| {
        arg.is_hide_env_values_set() && arg.get_long() == Some(long.trim_start_matches('-'))
    })
}

/// The flags as they are parsed: more liberal than shown.
///
/// A switch can be turned off again (`--disable-retries=false`), because the file and the environment may have turned
/// it on. A negative number is a value, whatever the flag: "-5 is not in 1..=65535" helps, "unknown flag -5" doesn't.
fn parsed() -> Command {
    shown().mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_name("BOOL")
            .default_value("false")
            .default_missing_value("true"),
        _ => arg.allow_negative_numbers(true),
    })
}

/// What parsing came to.
pub(super) enum Outcome {
    Settings(ArgMatches),
    /// The help or the version was asked for.
    Text(String),
}

/// Parses the tokens of one source; the program's name is not among them.
pub(super) fn parse(tokens: &[OsString], source: &Source) -> Result<Outcome, ConfigError> {
    let name = OsString::from("adaptive-router");
    match parsed().try_get_matches_from(std::iter::once(&name).chain(tokens)) {
        Ok(matches) => read(&matches, source).map(|_| Outcome::Settings(matches)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp => Ok(Outcome::Text(shown().render_help().to_string())),
            ErrorKind::DisplayVersion => Ok(Outcome::Text(error.to_string())),
            _ => Err(refused(source, error)),
        },
    }
}

/// The typed flags. Values that only make sense together (a URL and its port) are judged here.
pub(super) fn read(matches: &ArgMatches, source: &Source) -> Result<Flags, ConfigError> {
    Flags::from_arg_matches(matches).map_err(|error| refused(source, error))
}

fn refused(source: &Source, error: clap::Error) -> ConfigError {
    ConfigError::Arguments {
        source: source.clone(),
        error,
    }
}

/// Scripts that call `sglang-router` say `launch` first.
pub(super) fn without_launch_word(mut args: Vec<OsString>) -> Vec<OsString> {
    if args.first().is_some_and(|word| word == "launch") {
        args.remove(0);
    }
    args
}
