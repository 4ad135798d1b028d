//! What happens in a schedule, and when.

use std::time::Duration;

use simulated_worker::{Fault, Rule};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Generate,
    Completions,
    Chat,
}

/// What a client does with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Reads,
    /// Takes a pause after every piece.
    Slowly(Duration),
    /// Hangs up so long after it has asked.
    Leaves(Duration),
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) at: Duration,
    pub(crate) endpoint: Endpoint,
    pub(crate) stream: bool,
    pub(crate) prompt: String,
    pub(crate) tokens: u32,
    pub(crate) client: Client,
}

/// A worker of the rig: two prefill, then two decode.
pub(crate) const WORKERS: usize = 4;

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Fault(usize, Rule),
    /// No fault any more.
    Heals(usize),
    /// In place, by the router's own transition.
    ChangesRole(usize),
    /// Drained and taken out of the fleet.
    Removed(usize),
    /// Taken out of the fleet with what it has.
    Dropped(usize),
    /// The router's counters are looked at.
    Audit,
}

#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) requests: Vec<Request>,
    pub(crate) events: Vec<(Duration, Event)>,
}

/// Requests come, and things happen, within this.
const SPAN_MS: u64 = 1500;

impl Schedule {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let requests = (0..dice.usize(1..16))
            .map(|number| request(&mut dice, number))
            .collect();
        let mut events: Vec<_> = (0..dice.usize(0..10))
            .map(|_| (at(&mut dice), event(&mut dice)))
            .collect();
        // From the start of some schedules on.
        if dice.bool() {
            events.push((Duration::ZERO, fault_event(&mut dice)));
        }
        events.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            flags: flags(&mut dice),
            requests,
            events,
        }
    }
}

fn at(dice: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(dice.u64(0..SPAN_MS))
}

fn request(dice: &mut fastrand::Rng, number: usize) -> Request {
    let endpoints = [Endpoint::Generate, Endpoint::Completions, Endpoint::Chat];
    let client = match dice.u32(0..10) {
        0..7 => Client::Reads,
        7 => Client::Slowly(Duration::from_millis(dice.u64(1..40))),
        _ => Client::Leaves(Duration::from_millis(dice.u64(0..600))),
    };
    let words = dice.usize(1..400);
    Request {
        at: at(dice),
        endpoint: endpoints[dice.usize(0..endpoints.len())],
        stream: dice.u32(0..3) > 0,
        prompt: format!("request {number}{}", " word".repeat(words)),
        tokens: dice.u32(1..60),
        client,
    }
}

fn event(dice: &mut fastrand::Rng) -> Event {
    let worker = dice.usize(0..WORKERS);
    match dice.u32(0..20) {
        0..10 => fault_event(dice),
        10..13 => Event::Heals(worker),
        13..15 => Event::ChangesRole(worker),
        15 => Event::Removed(worker),
        16 => Event::Dropped(worker),
        _ => Event::Audit,
    }
}

fn fault_event(dice: &mut fastrand::Rng) -> Event {
    let rule = Rule {
        probability: [1.0, 0.5][dice.usize(0..2)],
        limit: [Some(1), Some(3), None][dice.usize(0..3)],
        ..Rule::from(fault(dice))
    };
    Event::Fault(dice.usize(0..WORKERS), rule)
}

fn fault(dice: &mut fastrand::Rng) -> Fault {
    let after_tokens = [0, 0, 1, 5, 20][dice.usize(0..5)];
    let stall_ms = [None, Some(300), Some(2_500)][dice.usize(0..3)];
    match dice.u32(0..11) {
        0..3 => Fault::Refuse {
            status: [400, 429, 500, 503][dice.usize(0..4)],
            retry_after_s: dice.bool().then_some(1),
        },
        3 => Fault::StallBeforeHead { stall_ms },
        4 => Fault::StallMidStream {
            after_tokens,
            stall_ms,
        },
        5 => Fault::ResetBeforeHead,
        6 => Fault::ResetMidStream { after_tokens },
        7 => Fault::CutShort { after_tokens },
        8 => Fault::ErrorEvent { after_tokens },
        9 => Fault::Garbage { after_tokens },
        _ => Fault::Slow {
            factor: 1.0 + f64::from(dice.u32(1..10)),
        },
    }
}

/// Limits that are short enough to be met, and one of the ways in which a router is run.
fn flags(dice: &mut fastrand::Rng) -> Vec<&'static str> {
    const LIMITS: [&str; 6] = [
        "--first-byte-timeout-secs",
        "3",
        "--idle-timeout-secs",
        "2",
        "--request-timeout-secs",
        "6",
    ];
    const POLICIES: [&[&str]; 4] = [
        &[],
        &["--prefill-policy", "power_of_two"],
        &["--prefill-policy", "cache_aware"],
        &["--decode-policy", "random"],
    ];
    const WAYS: [&[&str]; 6] = [
        &[],
        &["--disable-retries"],
        &[
            "--cb-failure-threshold",
            "2",
            "--cb-timeout-duration-secs",
            "1",
        ],
        &["--prefill-queue-tokens", "300", "--queue-timeout-secs", "4"],
        &[
            "--prefill-queue-tokens",
            "300",
            "--queue-timeout-secs",
            "4",
            "--wait-for-decode",
        ],
        &[
            "--max-concurrent-requests",
            "3",
            "--queue-size",
            "4",
            "--queue-timeout-secs",
            "1",
        ],
    ];
    const CONTINUED: [&[&str]; 3] = [&[], &[], &["--stream-continuation", "off"]];
    let policy = POLICIES[dice.usize(0..POLICIES.len())];
    let continued = CONTINUED[dice.usize(0..CONTINUED.len())];
    let way = WAYS[dice.usize(0..WAYS.len())];
    [&LIMITS, policy, continued, way].concat()
}
