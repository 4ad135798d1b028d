//! Which policy picks the worker of each leg.
//!
//! The policies' own settings and their defaults live with the policies; here they get their flags.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use policies::route::{AssignmentMode, PolicyKind, RouteSettings};

use super::parse;

/// The policy of each leg.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingSettings {
    /// For prefill, and for the one leg of regular mode.
    pub prefill: PolicyKind,
    pub decode: PolicyKind,
    /// The number of prefill and decode workers follows the traffic.
    pub ratio_controller: bool,
    pub route: RouteSettings,
}

/// What `--policy` can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MainPolicy {
    Route(PolicyKind),
    RatioController,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Routing Policy")]
pub(super) struct RoutingFlags {
    /// Picks the worker of each leg. Under cache_aware decode uses power_of_two unless --decode-policy says otherwise
    /// (decode workers keep no prefix cache by default, affinity would only unbalance them); ratio-controller moves
    /// workers between prefill and decode and picks by power_of_two
    #[arg(long, default_value = "cache_aware", value_parser = main_policy())]
    policy: MainPolicy,

    /// Policy of the prefill leg, if not --policy
    #[arg(long, value_name = "POLICY", value_parser = policy(&PolicyKind::ALL))]
    prefill_policy: Option<PolicyKind>,

    /// Policy of the decode leg, if not --policy
    #[arg(long, value_name = "POLICY", value_parser = policy(&ANY_ROLE))]
    decode_policy: Option<PolicyKind>,

    /// cache_aware: the part of a prompt (0 to 1) that a worker must know to be preferred
    #[arg(long, value_name = "SHARE", default_value_t = defaults().cache_threshold, value_parser = parse::share_f32)]
    cache_threshold: f32,

    /// cache_aware, bucket: balance when the loads differ by more than this ...
    #[arg(long, value_name = "LOAD", default_value_t = defaults().balance_abs_threshold, value_parser = parse::whole::<u64>)]
    balance_abs_threshold: u64,

    /// cache_aware, bucket: ... and the largest is more than this many times the smallest
    #[arg(long, value_name = "FACTOR", default_value_t = defaults().balance_rel_threshold, value_parser = parse::factor_f32)]
    balance_rel_threshold: f32,

    /// cache_aware: seconds in which the age of remembered prompts is counted
    #[arg(
        id = "eviction-interval-secs", long, value_name = "SECS",
        default_value = parse::seconds_text(defaults().eviction_interval), value_parser = parse::positive_seconds
    )]
    eviction_interval: Duration,

    // The peer abbreviates this to --max-t and --max-tr, and our --max-transitions must not make them ambiguous.
    /// cache_aware: how much prompt is remembered, in bytes
    #[arg(long, aliases = ["max-t", "max-tr"], value_name = "BYTES", default_value_t = defaults().max_tree_size, value_parser = parse::positive_size)]
    max_tree_size: usize,

    /// manual: seconds after which an unused routing key is forgotten
    #[arg(
        id = "max-idle-secs", long, value_name = "SECS",
        default_value = parse::seconds_text(defaults().max_idle), value_parser = parse::positive_seconds
    )]
    max_idle: Duration,

    /// manual: the worker that a new routing key gets: any, the least loaded, the one with the fewest keys
    #[arg(long, value_name = "MODE", default_value_t = defaults().assignment_mode, value_parser = assignment_mode())]
    assignment_mode: AssignmentMode,

    /// bucket: seconds between adjustments of the prompt length ranges
    #[arg(
        id = "bucket-adjust-interval-secs", long, value_name = "SECS",
        default_value = parse::seconds_text(defaults().bucket_adjust_interval), value_parser = parse::positive_seconds
    )]
    bucket_adjust_interval: Duration,
}

fn defaults() -> RouteSettings {
    RouteSettings::default()
}

impl RoutingFlags {
    pub(super) fn conclude(self) -> RoutingSettings {
        let (prefill, decode) = self.policy.by_role();
        RoutingSettings {
            prefill: self.prefill_policy.unwrap_or(prefill),
            decode: self.decode_policy.unwrap_or(decode),
            ratio_controller: self.policy == MainPolicy::RatioController,
            route: RouteSettings {
                cache_threshold: self.cache_threshold,
                balance_abs_threshold: self.balance_abs_threshold,
                balance_rel_threshold: self.balance_rel_threshold,
                eviction_interval: self.eviction_interval,
                max_tree_size: self.max_tree_size,
                max_idle: self.max_idle,
                assignment_mode: self.assignment_mode,
                bucket_adjust_interval: self.bucket_adjust_interval,
            },
        }
    }
}

impl MainPolicy {
    /// What the prefill and the decode leg use where they are not named.
    fn by_role(self) -> (PolicyKind, PolicyKind) {
        match self {
            Self::RatioController => (PolicyKind::PowerOfTwo, PolicyKind::PowerOfTwo),
            Self::Route(PolicyKind::CacheAware) => (PolicyKind::CacheAware, PolicyKind::PowerOfTwo),
            Self::Route(kind) => (kind, kind),
        }
    }
}

/// All but `bucket`, which goes by prompt length: decode work doesn't.
const ANY_ROLE: [PolicyKind; 7] = [
    PolicyKind::Random,
    PolicyKind::RoundRobin,
    PolicyKind::PowerOfTwo,
    PolicyKind::CacheAware,
    PolicyKind::Manual,
    PolicyKind::ConsistentHashing,
    PolicyKind::PrefixHash,
];

const RATIO_CONTROLLER: &str = "ratio-controller";

fn main_policy() -> impl TypedValueParser<Value = MainPolicy> {
    let controller = PossibleValue::new(RATIO_CONTROLLER).alias("ratio_controller");
    PossibleValuesParser::new(names(&ANY_ROLE).chain([controller])).map(|name| {
        // The only accepted names that are no policy's are the controller's two spellings.
        parse_name(&name).map_or(MainPolicy::RatioController, MainPolicy::Route)
    })
}

fn policy(kinds: &'static [PolicyKind]) -> impl TypedValueParser<Value = PolicyKind> {
    PossibleValuesParser::new(names(kinds))
        .map(|name| parse_name(&name).expect("only names of policies are accepted"))
}

fn names(kinds: &'static [PolicyKind]) -> impl Iterator<Item = PossibleValue> {
    kinds.iter().map(|kind| PossibleValue::new(kind.as_str()))
}

fn parse_name(name: &str) -> Option<PolicyKind> {
    name.parse().ok()
}

fn assignment_mode() -> impl TypedValueParser<Value = AssignmentMode> {
    PossibleValuesParser::new(AssignmentMode::ALL.map(AssignmentMode::as_str))
        .map(|name| name.parse().expect("only names of modes are accepted"))
}
