//! Seeded schedules of faults against the request path, in memory and in virtual time.
//!
//! A schedule is drawn from its seed: requests of every kind, faults on either leg at any moment, clients that leave or
//! read slowly, workers that are removed, added or change their roles. However it goes, every request has to end in
//! bounded time with the right answer or an error that says so, nothing may be left in flight, and the counters must say
//! what happened.
//!
//! `SCHEDULE=SEED cargo test --test schedules -- --nocapture` plays one again; `SCHEDULES=N` plays more of them.

mod answer;
mod play;
#[path = "../request_path/rig.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of the request path, which use all of it"
)]
mod rig;
mod schedule;

use play::play;
use schedule::Schedule;

/// As many as take some 20 s on two cores in a debug build.
const SCHEDULES: u64 = 200;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn whatever_fails_every_request_ends_once_and_right_or_with_an_error_that_says_so() {
    let seeds = match number("SCHEDULE") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SCHEDULES").unwrap_or(SCHEDULES),
    };
    let one = seeds.end - seeds.start == 1;
    let mut totals = play::Totals::default();
    let mut failing = Vec::new();
    for seed in seeds {
        let schedule = Schedule::draw(seed);
        if one {
            println!("{schedule:#?}");
        }
        match play(&schedule) {
            Ok(played) => totals.add(&played),
            Err(wrong) => {
                println!("SCHEDULE={seed} plays it again: {wrong}");
                failing.push(seed);
            }
        }
    }
    println!("{totals:?}");
    assert!(failing.is_empty(), "schedules that failed: {failing:?}");
    assert!(one || totals.covers_everything(), "{totals:?}");
}

#[test]
fn a_seed_plays_the_same_twice() {
    for seed in 0..20 {
        let schedule = Schedule::draw(seed);
        assert_eq!(play(&schedule), play(&schedule), "seed {seed}");
    }
}
