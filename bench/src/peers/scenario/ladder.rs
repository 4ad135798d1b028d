//! The same load at four sizes, each ten times the one before: whether a cost grows faster than what it is for.

use super::{Scenario, Work, streams, whole};
use crate::peers::{fleet::Fleet, load::Prompts};
use std::time::Duration;

/// What grows from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ladder {
    Streams,
    Workers,
    PromptBytes,
}

/// A scenario's place on a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub ladder: Ladder,
    pub size: u32,
}

/// 5 tokens/s a stream, so that the largest number of them is a load for one core.
const SLOW_PACE: Duration = Duration::from_millis(200);

impl Ladder {
    pub const ALL: [Self; 3] = [Self::Streams, Self::Workers, Self::PromptBytes];

    /// What its sizes count.
    pub const fn counts(self) -> &'static str {
        match self {
            Self::Streams => "streams at 5 tokens/s",
            Self::Workers => "workers, small chat, 64 at once",
            Self::PromptBytes => "bytes of a prompt, 4 at once",
        }
    }

    /// What is read at each size.
    pub const fn cost(self) -> &'static str {
        match self {
            Self::Streams => "% of a core",
            Self::Workers | Self::PromptBytes => "CPU µs a request",
        }
    }

    pub(super) fn steps(self) -> [Scenario; 4] {
        match self {
            Self::Streams => [
                self.step("streams-5", 5),
                self.step("streams-50", 50),
                self.step("streams-500", 500),
                self.step("streams-5000", 5000),
            ],
            Self::Workers => [
                self.step("workers-2", 2),
                self.step("workers-20", 20),
                self.step("workers-200", 200),
                self.step("workers-2000", 2000),
            ],
            Self::PromptBytes => [
                self.step("prompt-4k", 4 << 10),
                self.step("prompt-40k", 40 << 10),
                self.step("prompt-400k", 400 << 10),
                self.step("prompt-4000k", 4000 << 10),
            ],
        }
    }

    fn step(self, name: &'static str, size: u32) -> Scenario {
        let two_and_two = Fleet::of(4);
        let (fleet, work) = match self {
            Self::Streams => (
                Fleet {
                    between_tokens: SLOW_PACE,
                    ..two_and_two
                },
                Work::Events(super::Load {
                    spread: Duration::from_secs(1),
                    ..streams(size, 25)
                }),
            ),
            Self::Workers => (
                Fleet::of(u16::try_from(size).expect("fewer than there are ports")),
                super::small_chat(),
            ),
            Self::PromptBytes => {
                let bytes = size as usize;
                let load = whole(4, 8, Prompts::Large { bytes });
                (two_and_two, Work::Requests(load))
            }
        };
        Scenario {
            step: Some(Step { ladder: self, size }),
            ..Scenario::plain(name, self.counts(), fleet, work)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ladder_spans_three_decades_and_each_step_is_found_by_its_name() {
        for ladder in Ladder::ALL {
            let sizes = ladder.steps().map(|scenario| {
                assert_eq!(Scenario::named(scenario.name), Some(scenario.clone()));
                scenario.step.expect("a step").size
            });
            assert_eq!(sizes[3], 1000 * sizes[0], "{ladder:?}");
            assert!(sizes.is_sorted());
        }
    }
}
