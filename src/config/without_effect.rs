//! Flags that `sglang_router` has and that do nothing here: accepted, checked for their form, and named once when given.
//!
//! They act on the peer's tokenizer, tool parsers, conversation store, gRPC backends and Kubernetes watch; nothing of
//! that lies in the path of an HTTP request through this router. No setting comes out of them, so they are a table
//! rather than a struct.

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::parse;

/// What was given in vain, in words for a warning.
#[derive(Debug, Clone, Default)]
pub(super) struct WithoutEffect {
    pub(super) given: Vec<String>,
}

/// What stands after a flag.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    Text,
    /// Text that must not be shown.
    Secret,
    Words,
    Number(&'static str),
    /// One of these; the first is the default.
    OneOf(&'static [&'static str]),
    /// One of these, or not given.
    AnyOf(&'static [&'static str]),
}

const DISCOVERY: &str = "Service Discovery (Kubernetes): accepted without effect";
const NO_EFFECT: &str = "Accepted Without Effect Over HTTP";

const DISCOVERY_SWITCH: &str = "service-discovery";
const DISCOVERY_FLAGS: [(&str, Takes, &str); 6] = [
    (
        DISCOVERY_SWITCH,
        Takes::Nothing,
        "Watch pods; here workers are registered by POST /workers",
    ),
    ("selector", Takes::Words, "Labels of workers, key=value"),
    (
        "service-discovery-port",
        Takes::Number("80"),
        "Port of the pods",
    ),
    (
        "service-discovery-namespace",
        Takes::Text,
        "Namespace of the pods",
    ),
    (
        "prefill-selector",
        Takes::Words,
        "Labels of prefill workers, key=value",
    ),
    (
        "decode-selector",
        Takes::Words,
        "Labels of decode workers, key=value",
    ),
];

#[rustfmt::skip] // a table reads best one flag a line
const OTHER_FLAGS: [(&str, Takes, &str); 27] = [
    ("dp-aware", Takes::Nothing, "Route to data-parallel ranks"),
    ("enable-igw", Takes::Nothing, "Several models behind one router"),
    ("model-path", Takes::Text, "Model to load a tokenizer for"),
    ("tokenizer-path", Takes::Text, "Tokenizer"),
    ("chat-template", Takes::Text, "Chat template"),
    ("tokenizer-cache-enable-l0", Takes::Nothing, "Whole-string tokenizer cache"),
    ("tokenizer-cache-l0-max-entries", Takes::Number("10000"), "Its size"),
    ("tokenizer-cache-enable-l1", Takes::Nothing, "Prefix tokenizer cache"),
    ("tokenizer-cache-l1-max-memory", Takes::Number("52428800"), "Its size in bytes"),
    ("reasoning-parser", Takes::Text, "Parser of reasoning text"),
    ("tool-call-parser", Takes::AnyOf(&TOOL_CALL_PARSERS), "Parser of tool calls"),
    ("mcp-config-path", Takes::Text, "MCP servers"),
    ("backend", Takes::OneOf(&["sglang", "openai"]), "Kind of backend"),
    ("history-backend", Takes::OneOf(&["memory", "none", "oracle", "postgres", "redis"]), "Conversation store"),
    ("oracle-wallet-path", Takes::Text, "Oracle wallet"),
    ("oracle-tns-alias", Takes::Text, "Oracle TNS alias"),
    ("oracle-connect-descriptor", Takes::Text, "Oracle connect descriptor"),
    ("oracle-username", Takes::Text, "Oracle user"),
    ("oracle-password", Takes::Secret, "Oracle password"),
    ("oracle-pool-min", Takes::Number("1"), "Oracle connections, at least"),
    ("oracle-pool-max", Takes::Number("16"), "Oracle connections, at most"),
    ("oracle-pool-timeout-secs", Takes::Number("30"), "Oracle connection timeout"),
    ("postgres-db-url", Takes::Secret, "PostgreSQL database"),
    ("postgres-pool-max", Takes::Number("16"), "PostgreSQL connections, at most"),
    ("redis-url", Takes::Secret, "Redis database"),
    ("redis-pool-max", Takes::Number("16"), "Redis connections, at most"),
    ("redis-retention-days", Takes::Number("30"), "Days that Redis keeps a conversation; -1 is for ever"),
];

const TOOL_CALL_PARSERS: [&str; 13] = [
    "deepseek",
    "glm45_moe",
    "glm47_moe",
    "json",
    "kimik2",
    "llama",
    "minimax_m2",
    "mistral",
    "passthrough",
    "pythonic",
    "qwen",
    "qwen_coder",
    "step3",
];

impl Args for WithoutEffect {
    fn augment_args(command: Command) -> Command {
        command
            .args(
                DISCOVERY_FLAGS
                    .into_iter()
                    .map(|row| flag(row).help_heading(DISCOVERY)),
            )
            .args(
                OTHER_FLAGS
                    .into_iter()
                    .map(|row| flag(row).help_heading(NO_EFFECT)),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag((name, takes, help): (&'static str, Takes, &'static str)) -> Arg {
    let flag = Arg::new(name).long(name).help(help);
    match takes {
        Takes::Nothing => flag
            .action(ArgAction::SetTrue)
            .value_parser(value_parser!(bool)),
        Takes::Text => flag.value_name("TEXT"),
        Takes::Secret => flag.value_name("TEXT").hide_env_values(true),
        Takes::Words => flag.value_name("TEXT").num_args(1..),
        Takes::Number(default) => flag
            .value_name("N")
            .value_parser(parse::whole::<i64>)
            .default_value(default),
        Takes::OneOf(names) => flag
            .value_name("NAME")
            .value_parser(PossibleValuesParser::new(names))
            .default_value(names[0]),
        Takes::AnyOf(names) => flag
            .value_name("NAME")
            .value_parser(PossibleValuesParser::new(names)),
    }
}

impl FromArgMatches for WithoutEffect {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given: Vec<String> = OTHER_FLAGS
            .into_iter()
            .filter(|&(name, takes, _)| is_given(matches, name, takes))
            .map(|(name, ..)| format!("--{name}"))
            .collect();
        // The rest of discovery's flags do nothing without the switch in the peer either: the switch speaks for all.
        if matches.get_flag(DISCOVERY_SWITCH) {
            given.push(format!(
                "--{DISCOVERY_SWITCH} (register workers by POST /workers)"
            ));
        }
        Ok(Self { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn is_given(matches: &ArgMatches, name: &str, takes: Takes) -> bool {
    match takes {
        Takes::Nothing => matches.get_flag(name),
        Takes::Text
        | Takes::Secret
        | Takes::Words
        | Takes::Number(_)
        | Takes::OneOf(_)
        | Takes::AnyOf(_) => matches.value_source(name) == Some(ValueSource::CommandLine),
    }
}

/// Whether the flag is one of this table.
pub(super) fn contains(name: &str) -> bool {
    let mut rows = DISCOVERY_FLAGS.iter().chain(&OTHER_FLAGS);
    rows.any(|(row, ..)| *row == name)
}
