//! How many requests a decode worker may have, so that it keeps the target between tokens.
//!
//! A worker that runs more sequences gives each of them its tokens further apart: one that may run thousands doesn't fill
//! up, it slows down. What it may have follows from what it gives. A step takes `a + c·n` for `n` sequences, so while their
//! tokens are `m` apart, `n·target / m` is no more than what the target allows if `m` is within it, and nearer to that than
//! `n` if it isn't: look by look that leads to what it can have. It needs no model of the worker, and other routers' requests
//! on it need not be known.

use std::time::Duration;

use crate::time::Timestamp;

/// Between two looks, where reports come once a second.
const INTERVAL: Duration = Duration::from_millis(900);

/// The part of what was seen that is left after a look: a worker that was held up for half a second is not a slow one.
const MEMORY: f64 = 0.5;

/// Fewer tokens than these say nothing.
const LEAST_TOKENS: f64 = 32.0;

/// A longer gap is one of the client's, which has not read: so many targets are the most that one counts for.
const LONGEST_GAP: u32 = 4;

/// The part of the target that is aimed at: the mean of some seconds is not that of a request.
const AIM: f64 = 0.97;

/// By how much it may rise from look to look: those that came since are not in the tokens yet.
const RISE: f64 = 1.1;

/// The least part of what a worker has that it may have: a hiccup says little.
const FALL: f64 = 0.5;

/// A worker that has less than this part of what it may have doesn't show what it could.
const BINDING: f64 = 0.9;

/// A worker that is too slow with so few can't keep the target at all. Then it had better be full.
const FEWEST: f64 = 8.0;

/// What a decode worker may have, by the tokens that it gives.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    target: Duration,
    looked: Option<Timestamp>,
    lately: Given,
    bound: Bound,
}

/// Tokens that were given, those of long ago by the part that is remembered.
#[derive(Debug, Clone, Copy)]
struct Given {
    tokens: f64,
    /// Seconds between each and the one before it, added up.
    between: f64,
    /// Requests that the worker had when it gave each, added up: what it had while its tokens were as far apart as they
    /// were.
    in_flight: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    /// Nothing shows one.
    None,
    Most(f64),
    /// The target can't be kept.
    OutOfReach,
}

impl Pace {
    /// Of a worker that is to give each request's tokens `target` apart.
    pub const fn new(target: Duration) -> Self {
        Self {
            target,
            looked: None,
            lately: Given {
                tokens: 0.0,
                between: 0.0,
                in_flight: 0.0,
            },
            bound: Bound::None,
        }
    }

    /// Requests that the worker may have; `None` where nothing bounds them.
    pub fn most(&self) -> Option<u64> {
        match self.bound {
            Bound::Most(most) => Some(most as u64),
            Bound::None | Bound::OutOfReach => None,
        }
    }

    /// The worker, which has `in_flight` requests, has given `tokens` tokens, each `gap` after the one before it.
    pub fn gave(&mut self, now: Timestamp, tokens: u32, gap: Duration, in_flight: u32) {
        let (tokens, gap) = (f64::from(tokens), gap.min(self.target * LONGEST_GAP));
        self.lately.tokens += tokens;
        self.lately.between += tokens * gap.as_secs_f64();
        self.lately.in_flight += tokens * f64::from(in_flight);
        let looked = *self.looked.get_or_insert(now);
        if now.since(looked) < INTERVAL || self.lately.tokens < LEAST_TOKENS {
            return;
        }
        let between = self.lately.between / self.lately.tokens;
        let in_flight = self.lately.in_flight / self.lately.tokens;
        self.bound = self.next(between / self.target.as_secs_f64(), in_flight);
        self.looked = Some(now);
        let Given {
            tokens,
            between,
            in_flight,
        } = &mut self.lately;
        for sum in [tokens, between, in_flight] {
            *sum *= MEMORY;
        }
    }

    /// The bound for a worker with `in_flight` requests and tokens `between` apart, as a share of the target.
    fn next(&self, between: f64, in_flight: f64) -> Bound {
        let within = in_flight * AIM / between.max(f64::MIN_POSITIVE);
        match self.bound {
            Bound::OutOfReach if between > AIM => Bound::OutOfReach,
            Bound::None | Bound::OutOfReach if between <= AIM => Bound::None,
            _ if between > 1.0 && in_flight < FEWEST + 1.0 => Bound::OutOfReach,
            Bound::Most(most) if between <= AIM => Bound::Most(if in_flight >= BINDING * most {
                within.min(most * RISE).max(FEWEST)
            } else {
                most.max(within)
            }),
            bound => {
                let most = match bound {
                    Bound::Most(most) => most,
                    Bound::None | Bound::OutOfReach => f64::INFINITY,
                };
                Bound::Most(most.min(within.max(FALL * in_flight)).max(FEWEST))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(25);

    /// A worker whose step takes `base` and `each` milliseconds for each of its sequences, with as many as it may have of
    /// `offered`. Answers what it has after each of `looks` looks.
    fn settles(base: f64, each: f64, offered: u32, looks: u64) -> Vec<u32> {
        let mut pace = Pace::new(TARGET);
        let mut has = offered;
        (0..looks)
            .map(|look| {
                let step = Duration::from_secs_f64((base + each * f64::from(has)) / 1_000.0);
                let now = Timestamp::from_micros(look * 1_000_000);
                pace.gave(now, 40 * has, step, has);
                let most = pace.most().unwrap_or(u64::MAX);
                has = u64::from(offered).min(most) as u32;
                has
            })
            .collect()
    }

    #[test]
    fn a_worker_that_would_slow_down_has_as_many_as_keep_the_target() {
        // (24.25 - 10) / 0.05 = 285, whatever is offered.
        for offered in [300, 1_000, 5_000] {
            let has = settles(10.0, 0.05, offered, 60);
            let settled = &has[30..];
            assert!(
                settled.iter().all(|has| (278..=290).contains(has)),
                "{offered}: {has:?}"
            );
        }
        assert!(
            settles(10.0, 0.05, 250, 30).iter().all(|has| *has == 250),
            "fits"
        );
    }

    #[test]
    fn a_target_out_of_reach_bounds_nobody() {
        let has = settles(30.0, 0.05, 256, 60);
        assert_eq!(has.last(), Some(&256), "{has:?}");
        // And is taken up again once it is kept.
        let mut pace = Pace::new(TARGET);
        pace.bound = Bound::OutOfReach;
        assert_eq!(pace.next(2.0, 256.0), Bound::OutOfReach);
        assert_eq!(pace.next(0.5, 256.0), Bound::None);
    }

    #[test]
    fn what_it_may_have_rises_again_step_by_step_where_it_has_that_many() {
        let bound = |most| Pace {
            bound: Bound::Most(most),
            ..Pace::new(TARGET)
        };
        let near = |found: Bound, most: f64| {
            let Bound::Most(found) = found else {
                panic!("{found:?}")
            };
            assert!((found - most).abs() < 1e-6, "{found} {most}");
        };
        near(bound(100.0).next(0.5, 100.0), 110.0);
        near(bound(100.0).next(0.5, 60.0), 60.0 * 0.97 * 2.0);
        near(bound(100.0).next(0.5, 20.0), 100.0);
        near(bound(100.0).next(100.0, 100.0), 50.0);
        near(bound(10.0).next(100.0, 10.0), 8.0);
    }

    #[test]
    fn a_client_that_does_not_read_is_no_slow_worker() {
        let mut pace = Pace::new(TARGET);
        let at = |millis: u64| Timestamp::from_micros(millis * 1_000);
        pace.gave(at(0), 4_000, TARGET / 2, 100);
        pace.gave(at(900), 1, Duration::from_secs(600), 100);
        pace.gave(at(1_100), 4_000, TARGET / 2, 100);
        assert_eq!((pace.most(), pace.bound), (None, Bound::None));
    }

    #[test]
    fn few_tokens_say_nothing() {
        let mut pace = Pace::new(TARGET);
        for second in 0..31 {
            pace.gave(
                Timestamp::from_micros(second * 1_000_000),
                1,
                TARGET * 3,
                64,
            );
        }
        assert_eq!(pace.most(), None);
        pace.gave(Timestamp::from_micros(32_000_000), 1, TARGET * 3, 64);
        assert_eq!(pace.most(), Some(32), "half of what it has");
    }
}
