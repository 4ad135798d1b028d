//! The router's settings: from flags, environment and file to values that are known to be good.
//!
//! A setting is defined once, as a field with its flag, its help, its default and its parser, in the file of its
//! concern. Every other source is brought into the form of a command line and goes through the same parser:
//!
//! ```text
//! router.toml ──file──┐
//! environment ──env───┼─► tokens ─► cli::parse ─► Flags ─► conclude ─► Config
//! command line ───────┘               │
//!                                     └─► print: what was parsed, as a file
//! ```
//! so that there is one set of names, checks and error messages. `conclude` does what needs more than one flag: the
//! mode of the fleet, the policy of each leg, settings that contradict each other.

mod admission;
mod auth;
mod breaker;
mod cli;
mod cluster;
mod continuation;
mod controller;
mod env;
mod error;
mod file;
mod fleet;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod logging;
mod metrics;
mod parse;
mod prefill;
mod print;
mod queue;
mod retry;
mod routing;
mod server;
mod slo;
mod timeouts;
mod tokens;
mod tracing;
mod upstream_tls;
mod without_effect;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

pub use self::admission::{AdmissionSettings, Limit};
pub use self::auth::{AuthSettings, ControlPlaneKey, ControlPlaneRole};
pub use self::breaker::BreakerSettings;
pub use self::cluster::ClusterSettings;
pub use self::continuation::{ContinuationSettings, Switch};
pub use self::controller::{Overdue, PlannerName, RatioSettings, TransitionSettings};
pub use self::error::{ConfigError, Conflict, FileProblem, Source};
pub use self::fleet::{FleetSettings, Mode, SimulateSettings};
pub use self::health::HealthSettings;
pub use self::logging::{LogLevel, LoggingSettings};
pub use self::metrics::MetricsSettings;
pub use self::prefill::PrefillUrl;
pub use self::queue::{QueueSettings, Urgent};
pub use self::retry::RetrySettings;
pub use self::routing::RoutingSettings;
pub use self::server::ServerSettings;
pub use self::slo::SloSettings;
pub use self::timeouts::TimeoutSettings;
pub use self::tracing::{OtlpEndpoint, OtlpProtocol, TracingSettings};
pub use self::upstream_tls::UpstreamTlsSettings;

use self::cli::{Flags, Outcome};

/// Everything that is set when the router starts. Each module takes its own part.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub server: ServerSettings,
    pub fleet: FleetSettings,
    pub routing: RoutingSettings,
    pub ratio: RatioSettings,
    pub retry: RetrySettings,
    pub breaker: BreakerSettings,
    pub health: HealthSettings,
    pub timeouts: TimeoutSettings,
    pub continuation: ContinuationSettings,
    pub admission: AdmissionSettings,
    pub queue: QueueSettings,
    pub auth: AuthSettings,
    pub upstream_tls: UpstreamTlsSettings,
    pub slo: SloSettings,
    pub metrics: MetricsSettings,
    pub logging: LoggingSettings,
    pub tracing: TracingSettings,
    /// Flags that were given and do nothing, to be named in one warning.
    pub ignored: Vec<String>,
}

/// What the program is to do.
#[derive(Debug)]
pub enum Parsed {
    Run(Box<Config>),
    /// Print this on standard output and end: help, version or configuration.
    Print(String),
}

impl Config {
    /// Reads the arguments that follow the program's name, the process's environment and the file that they name.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, ConfigError> {
        Self::from_sources(args, &|name| std::env::var_os(name))
    }

    /// The same with the environment as an argument.
    pub fn from_sources(
        args: impl IntoIterator<Item = OsString>,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Parsed, ConfigError> {
        let args = cli::without_launch_word(args.into_iter().collect());
        let mut settings = match cli::parse(&args, &Source::CommandLine)? {
            Outcome::Settings(matches) => Layers::new(args, matches),
            Outcome::Text(text) => return Ok(Parsed::Print(text)),
        };
        settings.put_below(&env::given(environment), &Source::Environment)?;
        if let Some(path) = settings.top().get_one::<PathBuf>(cli::CONFIG).cloned() {
            settings.put_below(&file::given(&path)?, &Source::File(path))?;
        }
        conclude(settings.top())
    }
}

impl Default for Config {
    /// What the program has without arguments.
    fn default() -> Self {
        match Self::from_sources([], &|_| None) {
            Ok(Parsed::Run(config)) => *config,
            Ok(Parsed::Print(_)) | Err(_) => unreachable!("no arguments are good arguments"),
        }
    }
}

/// The sources so far, the strongest last, as one command line.
struct Layers {
    tokens: Vec<OsString>,
    matches: ArgMatches,
}

impl Layers {
    fn new(tokens: Vec<OsString>, matches: ArgMatches) -> Self {
        Self { tokens, matches }
    }

    fn top(&self) -> &ArgMatches {
        &self.matches
    }

    /// Adds a weaker source: only what no stronger one has set counts, so that lists replace and never grow together.
    fn put_below(&mut self, given: &tokens::Given, source: &Source) -> Result<(), ConfigError> {
        if let Some(flag) = given.with_a_dash() {
            return Err(ConfigError::Dash {
                source: source.clone(),
                flag: flag.to_owned(),
            });
        }
        // Alone first, and all of it: an error is then known to be this source's, also in what is overridden.
        parse_below(&given.tokens(|_| true), source)?;
        let mut tokens =
            given.tokens(|id| self.matches.value_source(id) != Some(ValueSource::CommandLine));
        tokens.append(&mut self.tokens);
        self.matches = parse_below(&tokens, source)?;
        self.tokens = tokens;
        Ok(())
    }
}

fn parse_below(tokens: &[OsString], source: &Source) -> Result<ArgMatches, ConfigError> {
    match cli::parse(tokens, source)? {
        Outcome::Settings(matches) => Ok(matches),
        Outcome::Text(_) => unreachable!("neither help nor version is a setting"),
    }
}

fn conclude(matches: &ArgMatches) -> Result<Parsed, ConfigError> {
    let flags = cli::read(matches, &Source::CommandLine)?;
    let print = flags.print_config;
    let print_commands = flags.fleet.cluster.print_launch_commands;
    let config = flags.conclude()?;
    Ok(match &config.fleet.cluster {
        _ if print => Parsed::Print(print::toml(matches)),
        Some(settings) if print_commands => Parsed::Print(settings.cluster.launch_commands()),
        Some(_) | None => Parsed::Run(Box::new(config)),
    })
}

impl Flags {
    fn conclude(self) -> Result<Config, ConfigError> {
        let mut ignored = self.without_effect.given;
        let fleet = self.fleet.conclude(&mut ignored)?;
        let routing = self.routing.conclude();
        let queue = self
            .queue
            .conclude(fleet.mode, routing.ratio_controller, &mut ignored);
        let config = Config {
            server: self.server,
            fleet,
            routing,
            queue,
            ratio: self.ratio,
            retry: self.retry.conclude()?,
            breaker: self.breaker,
            health: self.health,
            timeouts: self.timeouts,
            continuation: self.continuation,
            admission: self.admission,
            auth: self.auth.conclude(),
            upstream_tls: self.upstream_tls,
            slo: self.slo,
            metrics: self.metrics,
            logging: self.logging,
            tracing: self.tracing,
            ignored,
        };
        config.refuse_contradictions()?;
        Ok(config)
    }
}

impl Config {
    fn refuse_contradictions(&self) -> Result<(), Conflict> {
        if self.server.tls_cert_path.is_some() != self.server.tls_key_path.is_some() {
            return Err(Conflict::TlsNeedsBoth);
        }
        let tls = &self.upstream_tls;
        if tls.client_cert_path.is_some() != tls.client_key_path.is_some() {
            return Err(Conflict::ClientTlsNeedsBoth);
        }
        let MetricsSettings {
            duration_buckets,
            ttft_buckets,
            itl_buckets,
            ..
        } = &self.metrics;
        for (flag, buckets) in [
            ("--prometheus-duration-buckets", duration_buckets),
            ("--prometheus-ttft-buckets", ttft_buckets),
            ("--prometheus-itl-buckets", itl_buckets),
        ] {
            if !buckets.is_sorted_by(|a, b| a < b) {
                return Err(Conflict::BucketsDoNotRise(flag));
            }
        }
        // Port 0 is a free port each time.
        let port = self.server.port;
        if port != 0 && port == self.metrics.port && self.server.host == self.metrics.host {
            return Err(Conflict::OnePortForTwo(port));
        }
        Ok(())
    }
}
