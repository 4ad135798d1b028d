//! What a worker can be made to do wrong.
//!
//! A [`Rule`] is a fault, how often it strikes and how many times at most. The dice are seeded, so a failing run can
//! be repeated. Rules come from the configuration, from the [`Faults`] handle and from `POST /simulated/faults`.

use crate::config::Role;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// One way to go wrong. `stall_ms: None` stalls until the client leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Answer a request with this status before any work.
    Refuse {
        status: u16,
        #[serde(default)]
        retry_after_s: Option<u64>,
    },
    /// Accept a request and send nothing, not even a head.
    StallBeforeHead {
        #[serde(default)]
        stall_ms: Option<u64>,
    },
    /// Stop in the middle of a stream, after so many tokens.
    StallMidStream {
        #[serde(default)]
        after_tokens: u32,
        #[serde(default)]
        stall_ms: Option<u64>,
    },
    /// Close the connection instead of answering.
    ResetBeforeHead,
    /// Break the body off with an error, after so many tokens.
    ResetMidStream {
        #[serde(default)]
        after_tokens: u32,
    },
    /// End the body as if it were complete, after so many tokens: no finish, no `[DONE]`.
    CutShort {
        #[serde(default)]
        after_tokens: u32,
    },
    /// Go on with bytes that are no event and no JSON, after so many tokens, and end as if complete.
    Garbage {
        #[serde(default)]
        after_tokens: u32,
    },
    /// Report an error inside a 200 stream, after so many tokens; as a plain 500 where nothing is streamed.
    ErrorEvent {
        #[serde(default)]
        after_tokens: u32,
    },
    /// Multiply every duration of the engine.
    Slow { factor: f64 },
    /// Claim another role in `/model_info`, `/server_info` and `/v1/loads`.
    WrongRole { role: Role },
    /// `/ready` and `/health` say 503.
    Unready,
    /// The bootstrap server drops every connection, while `/health` stays green.
    BootstrapDead,
    /// A role switch fails: before anything was changed, where it is safe to restore; else half way, after which the
    /// worker is unhealthy until it is restarted.
    SwitchFails {
        #[serde(default)]
        safe_to_restore: bool,
    },
}

/// Whether a worker can go on in its old role after a failed switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restorable {
    Yes,
    No,
}

/// A fault with its odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    #[serde(flatten)]
    pub fault: Fault,
    /// Chance that the fault strikes, each time it could.
    #[serde(default = "certain")]
    pub probability: f64,
    /// How many times it strikes in all; unlimited where absent.
    #[serde(default)]
    pub limit: Option<u64>,
}

const fn certain() -> f64 {
    1.0
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            probability: certain(),
            limit: None,
        }
    }
}

impl Fault {
    /// The first `count` times only.
    pub fn times(self, count: u64) -> Rule {
        Rule {
            limit: Some(count),
            ..self.into()
        }
    }
}

/// `kind` or `kind:key=value,key=value`, with the names of the JSON form: `refuse:status=503,probability=0.1`.
impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (kind, settings) = text.split_once(':').unwrap_or((text, ""));
        let mut fields = serde_json::Map::new();
        fields.insert("fault".into(), kind.into());
        for setting in settings.split(',').filter(|s| !s.is_empty()) {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| RuleError(format!("{setting:?} is not key=value")))?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            fields.insert(key.into(), value);
        }
        serde_json::from_value(fields.into()).map_err(|error| RuleError(error.to_string()))
    }
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError(String);

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a fault: {}", self.0)
    }
}

impl std::error::Error for RuleError {}

/// The faults that a worker has now; may be changed while it serves.
#[derive(Debug)]
pub struct Faults {
    /// Most workers never have a fault: one relaxed load tells.
    any: AtomicBool,
    injected: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    rules: Vec<Rule>,
    dice: fastrand::Rng,
}

impl Faults {
    pub(crate) fn new(rules: Vec<Rule>, seed: u64) -> Self {
        Self {
            any: AtomicBool::new(!rules.is_empty()),
            injected: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                rules,
                dice: fastrand::Rng::with_seed(seed),
            }),
        }
    }

    /// Replaces all rules.
    pub fn set(&self, rules: impl IntoIterator<Item = Rule>) {
        let mut inner = self.inner.lock();
        inner.rules = rules.into_iter().collect();
        self.any.store(!inner.rules.is_empty(), Ordering::Relaxed);
    }

    pub fn add(&self, rule: impl Into<Rule>) {
        self.inner.lock().rules.push(rule.into());
        self.any.store(true, Ordering::Relaxed);
    }

    pub fn clear(&self) {
        self.set([]);
    }

    /// The rules with what is left of their limits.
    pub fn rules(&self) -> Vec<Rule> {
        self.inner.lock().rules.clone()
    }

    /// How often a fault struck.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    /// Rolls the dice for one inference request: the first rule that strikes decides.
    pub(crate) fn for_request(&self) -> Option<Fault> {
        self.strike(|fault| fault.of_request().then(|| fault.clone()))
    }

    pub(crate) fn slow_factor(&self) -> f64 {
        self.strike(|fault| match fault {
            Fault::Slow { factor } => Some(*factor),
            _ => None,
        })
        .unwrap_or(1.0)
    }

    pub(crate) fn claimed_role(&self) -> Option<Role> {
        self.strike(|fault| match fault {
            Fault::WrongRole { role } => Some(*role),
            _ => None,
        })
    }

    pub(crate) fn unready(&self) -> bool {
        self.strike(|fault| (*fault == Fault::Unready).then_some(()))
            .is_some()
    }

    pub(crate) fn bootstrap_dead(&self) -> bool {
        self.strike(|fault| (*fault == Fault::BootstrapDead).then_some(()))
            .is_some()
    }

    pub(crate) fn switch_failure(&self) -> Option<Restorable> {
        self.strike(|fault| match fault {
            Fault::SwitchFails {
                safe_to_restore: true,
            } => Some(Restorable::Yes),
            Fault::SwitchFails {
                safe_to_restore: false,
            } => Some(Restorable::No),
            _ => None,
        })
    }

    fn strike<T>(&self, matches: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let Inner { rules, dice } = &mut *self.inner.lock();
        let struck = rules.iter_mut().find_map(|rule| {
            let effect = matches(&rule.fault)?;
            rule.strikes(dice).then_some(effect)
        })?;
        self.injected.fetch_add(1, Ordering::Relaxed);
        Some(struck)
    }
}

impl Rule {
    fn strikes(&mut self, dice: &mut fastrand::Rng) -> bool {
        if self.limit == Some(0) || dice.f64() >= self.probability {
            return false;
        }
        if let Some(left) = &mut self.limit {
            *left -= 1;
        }
        true
    }
}

impl Fault {
    const fn of_request(&self) -> bool {
        match self {
            Self::Refuse { .. }
            | Self::StallBeforeHead { .. }
            | Self::StallMidStream { .. }
            | Self::ResetBeforeHead
            | Self::ResetMidStream { .. }
            | Self::CutShort { .. }
            | Self::Garbage { .. }
            | Self::ErrorEvent { .. } => true,
            Self::Slow { .. }
            | Self::WrongRole { .. }
            | Self::Unready
            | Self::BootstrapDead
            | Self::SwitchFails { .. } => false,
        }
    }
}

/// Waits as long as a stall lasts.
pub(crate) async fn stall(stall_ms: Option<u64>) {
    match stall_ms {
        Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_from_a_flag() {
        let rule: Rule = "refuse:status=503,retry_after_s=2,probability=0.5,limit=3"
            .parse()
            .unwrap();
        assert_eq!(
            rule,
            Rule {
                fault: Fault::Refuse {
                    status: 503,
                    retry_after_s: Some(2)
                },
                probability: 0.5,
                limit: Some(3),
            }
        );
        assert_eq!(
            "wrong_role:role=decode".parse::<Rule>().unwrap(),
            Fault::WrongRole { role: Role::Decode }.into()
        );
    }

    #[test]
    fn an_unknown_fault_is_refused_with_its_name() {
        let error = "explode".parse::<Rule>().unwrap_err();
        assert!(error.to_string().contains("explode"), "{error}");
    }

    #[test]
    fn a_limit_ends_a_fault() {
        let faults = Faults::new(vec![Fault::ResetBeforeHead.times(2)], 0);
        let struck = (0..5).filter(|_| faults.for_request().is_some()).count();
        assert_eq!(struck, 2);
        assert_eq!(faults.injected(), 2);
    }

    #[test]
    fn the_same_seed_strikes_the_same_requests() {
        let draw = |seed| {
            let rule = Rule {
                probability: 0.3,
                ..Fault::ResetBeforeHead.into()
            };
            let faults = Faults::new(vec![rule], seed);
            (0..64)
                .map(|_| faults.for_request().is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
