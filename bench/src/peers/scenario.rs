//! What is measured: each scenario is a load, the workers behind it, and the unit of work that its cost is given for.

mod ladder;

pub use self::ladder::{Ladder, Step};

use super::{
    contender::{Contender, Kind, Policy},
    fleet::Fleet,
    load::{Load, Prompts},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub name: &'static str,
    /// One line for the table.
    pub about: &'static str,
    pub fleet: Fleet,
    pub policy: Policy,
    pub tls: bool,
    pub work: Work,
    /// Of those that tell how a cost grows.
    pub step: Option<Step>,
}

/// What is done, and counted.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    Requests(Load),
    Events(Load),
    /// So many streams are opened, and then only held.
    Held {
        streams: u32,
    },
}

/// What a cost is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Request,
    Event,
    Stream,
}

impl Work {
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Requests(_) => Unit::Request,
            Self::Events(_) => Unit::Event,
            Self::Held { .. } => Unit::Stream,
        }
    }
}

/// A decode step of 20 ms: 50 tokens/s a stream.
const PACE: Duration = Duration::from_millis(20);

impl Scenario {
    /// All that are compared, in the order of the table.
    pub fn all() -> Vec<Self> {
        let mut all = Self::of_traffic();
        all.extend(Self::of_held_streams());
        all.extend(Self::of_picking());
        all.extend(Self::of_tls());
        all
    }

    /// Those that tell how a cost grows.
    pub fn ladders() -> Vec<Self> {
        Ladder::ALL.into_iter().flat_map(Ladder::steps).collect()
    }

    /// The one of that name, of all kinds.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::all().into_iter().chain(Self::ladders());
        all.find(|scenario| scenario.name == name)
    }

    /// What goes through: whole answers, streams, prompts.
    fn of_traffic() -> Vec<Self> {
        let two_and_two = Fleet::of(4);
        let paced = Fleet {
            between_tokens: PACE,
            ..two_and_two
        };
        let large = |clients, bytes| Work::Requests(whole(clients, 8, Prompts::Large { bytes }));
        vec![
            Self::plain("chat", "small chat, 64 at once", two_and_two, small_chat()),
            Self::plain(
                "flood",
                "32 streams of 2,048 events, as fast as they go",
                two_and_two,
                flood(),
            ),
            Self::plain(
                "paced",
                "512 streams at 50 tokens/s",
                paced,
                Work::Events(Load {
                    spread: Duration::from_secs(1),
                    ..streams(512, 250)
                }),
            ),
            Self::plain(
                "prompt-128k",
                "prompts of 128 KiB, 16 at once",
                two_and_two,
                large(16, 128 << 10),
            ),
            Self::plain(
                "prompt-4m",
                "prompts of 4 MiB, 4 at once",
                two_and_two,
                large(4, 4 << 20),
            ),
            Self::plain(
                "alone",
                "small chat, one at a time",
                two_and_two,
                Work::Requests(whole(1, 32, Prompts::Small)),
            ),
            Self::plain(
                "alone-stream",
                "a short stream, one at a time",
                two_and_two,
                Work::Requests(streams(1, 16)),
            ),
        ]
    }

    /// What streams cost that nothing comes on.
    fn of_held_streams() -> Vec<Self> {
        let silent = Fleet {
            silent_after: Some(1),
            ..Fleet::of(4)
        };
        vec![
            Self::plain(
                "held-2000",
                "2,000 idle streams",
                silent,
                Work::Held { streams: 2000 },
            ),
            Self::plain(
                "held-9500",
                "9,500 idle streams (two sockets each: 20,000 file descriptors hold no more)",
                silent,
                Work::Held { streams: 9500 },
            ),
        ]
    }

    /// What the choice of a worker costs: policies, and many workers.
    fn of_picking() -> Vec<Self> {
        let two_and_two = Fleet::of(4);
        vec![
            Self {
                policy: Policy::CacheAware,
                ..Self::plain(
                    "cache-aware",
                    "cache_aware, 32 system prompts shared by 1,024 users, 64 at once",
                    two_and_two,
                    Work::Requests(whole(64, 32, Prompts::Conversations)),
                )
            },
            Self {
                policy: Policy::PowerOfTwo,
                ..Self::plain(
                    "power-of-two",
                    "power_of_two, small chat, 64 at once",
                    two_and_two,
                    small_chat(),
                )
            },
            Self::plain(
                "workers-64",
                "small chat, 64 at once, 64 workers",
                Fleet::of(64),
                small_chat(),
            ),
            Self::plain(
                "workers-1000",
                "small chat, 64 at once, 1,000 workers",
                Fleet::of(1000),
                small_chat(),
            ),
        ]
    }

    fn of_tls() -> Vec<Self> {
        let two_and_two = Fleet::of(4);
        vec![
            Self {
                tls: true,
                ..Self::plain(
                    "tls-chat",
                    "small chat over TLS, 64 at once",
                    two_and_two,
                    small_chat(),
                )
            },
            Self {
                tls: true,
                ..Self::plain(
                    "tls-flood",
                    "32 streams of 2,048 events over TLS",
                    two_and_two,
                    flood(),
                )
            },
        ]
    }

    const fn plain(name: &'static str, about: &'static str, fleet: Fleet, work: Work) -> Self {
        Self {
            name,
            about,
            fleet,
            policy: Policy::RoundRobin,
            tls: false,
            work,
            step: None,
        }
    }

    /// Whether a contender can show anything here.
    pub fn is_for(&self, contender: Contender) -> bool {
        match contender.kind() {
            Kind::Pairs => true,
            Kind::Nobody => {
                !self.tls && !self.is_about_picking() && self.work.unit() != Unit::Stream
            }
            Kind::Relay => !self.is_about_picking(),
        }
    }

    /// Relays and workers pick nobody.
    fn is_about_picking(&self) -> bool {
        self.policy != Policy::RoundRobin || self.fleet.prefill != 2
    }
}

const fn whole(clients: u32, tokens: u32, prompts: Prompts) -> Load {
    Load {
        clients,
        prompts,
        tokens,
        streamed: false,
        spread: Duration::ZERO,
    }
}

const fn streams(clients: u32, tokens: u32) -> Load {
    Load {
        clients,
        prompts: Prompts::Small,
        tokens,
        streamed: true,
        spread: Duration::ZERO,
    }
}

const fn small_chat() -> Work {
    Work::Requests(whole(64, 32, Prompts::Small))
}

const fn flood() -> Work {
    Work::Events(streams(32, 2048))
}
