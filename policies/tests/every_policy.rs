//! What holds for every policy, whatever its idea. A new policy is covered by being in `PolicyKind::ALL`.

use std::time::Duration;

use policies::route::{
    AssignmentMode, Candidate, Candidates, Draw, PolicyKind, RoutePolicy, RouteRequest,
    RouteSettings, build,
};
use policies::time::Timestamp;
use policies::worker::WorkerId;
use proptest::prelude::*;

type Fleet = Vec<Option<Candidate>>;

/// A request with texts of its own.
#[derive(Debug, Clone)]
struct Request {
    prompt: String,
    routing_key: Option<String>,
    client_key: Option<String>,
    target_index: Option<usize>,
    partners: usize,
}

impl Request {
    fn view(&self) -> RouteRequest<'_> {
        RouteRequest {
            prompt: &self.prompt,
            routing_key: self.routing_key.as_deref(),
            client_key: self.client_key.as_deref(),
            target_index: self.target_index,
            partners: self.partners,
        }
    }
}

/// Something that a router does with a policy.
#[derive(Debug, Clone)]
enum Step {
    Pick(Request, Fleet, Timestamp, u64),
    Forget(WorkerId),
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let load = || prop_oneof![0_u32..3, any::<u32>(), Just(u32::MAX)];
    let tokens = proptest::option::of(prop_oneof![0_u64..3, any::<u64>()]);
    // Few ids and keys, so that they repeat, also within one fleet.
    (0_u64..200, 0_u64..20, load(), tokens).prop_map(|(id, key, in_flight, reported_tokens)| {
        Candidate {
            id: WorkerId(id),
            key,
            in_flight,
            reported_tokens,
        }
    })
}

fn fleet() -> impl Strategy<Value = Fleet> {
    let available = prop_oneof![Just(0.1), Just(0.5), Just(0.9)];
    available.prop_flat_map(|share| {
        proptest::collection::vec(proptest::option::weighted(share, candidate()), 0..12)
    })
}

fn request() -> impl Strategy<Value = Request> {
    let prompt = prop_oneof![".{0,40}", "[ab]{1,3}".prop_map(|text| text.repeat(400))];
    (
        prompt,
        proptest::option::of("[a-c]?"),
        proptest::option::of("[a-c]"),
        proptest::option::weighted(0.1, 0_usize..14),
        prop_oneof![0_usize..6, Just(usize::MAX)],
    )
        .prop_map(
            |(prompt, routing_key, client_key, target_index, partners)| Request {
                prompt,
                routing_key,
                client_key,
                target_index,
                partners,
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    // Time also runs backwards: readings of several threads arrive in any order.
    let time = prop_oneof![0_u64..100_000_000, any::<u64>()].prop_map(Timestamp::from_micros);
    prop_oneof![
        9 => (request(), fleet(), time, any::<u64>())
            .prop_map(|(request, fleet, now, entropy)| Step::Pick(request, fleet, now, entropy)),
        1 => (0_u64..200).prop_map(|id| Step::Forget(WorkerId(id))),
    ]
}

fn settings() -> impl Strategy<Value = RouteSettings> {
    let duration = || {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::MAX),
            (0_u64..10_000).prop_map(Duration::from_millis)
        ]
    };
    (
        prop_oneof![-1.0_f32..2.0, Just(f32::NAN)],
        prop_oneof![0_u64..100, Just(u64::MAX)],
        prop_oneof![0.0_f32..3.0, Just(f32::INFINITY), Just(f32::NAN)],
        duration(),
        0_usize..1 << 18,
        duration(),
        proptest::sample::select(AssignmentMode::ALL.to_vec()),
        duration(),
    )
        .prop_map(
            |(threshold, abs, rel, eviction, size, idle, mode, adjust)| RouteSettings {
                cache_threshold: threshold,
                balance_abs_threshold: abs,
                balance_rel_threshold: rel,
                eviction_interval: eviction,
                max_tree_size: size,
                max_idle: idle,
                assignment_mode: mode,
                bucket_adjust_interval: adjust,
            },
        )
}

fn small_settings() -> RouteSettings {
    RouteSettings {
        max_tree_size: 1 << 18,
        ..RouteSettings::default()
    }
}

fn play(policy: &dyn RoutePolicy, step: &Step) -> Option<usize> {
    match step {
        Step::Pick(request, fleet, now, entropy) => {
            let draw = Draw {
                now: *now,
                entropy: *entropy,
            };
            policy.pick(&request.view(), &fleet.as_slice(), draw)
        }
        Step::Forget(worker) => {
            policy.forget(*worker);
            None
        }
    }
}

/// Whether the client insists on a worker, and this policy lets it.
fn insists(kind: PolicyKind, request: &Request) -> bool {
    kind == PolicyKind::ConsistentHashing && request.target_index.is_some()
}

proptest! {
    #[test]
    fn a_pick_is_always_somebody_available_and_missing_only_where_nobody_is(
        settings in settings(), steps in proptest::collection::vec(step(), 1..30),
    ) {
        for kind in PolicyKind::ALL {
            let policy = build(kind, &settings);
            for step in &steps {
                let picked = play(&*policy, step);
                let Step::Pick(request, fleet, ..) = step else { continue };
                match picked {
                    Some(index) => prop_assert!(fleet.as_slice().get(index).is_some_and(Option::is_some), "{kind}"),
                    None => prop_assert!(fleet.iter().all(Option::is_none) || insists(kind, request), "{kind}"),
                }
            }
        }
    }

    #[test]
    fn the_same_steps_replay_to_the_same_picks(
        settings in settings(), steps in proptest::collection::vec(step(), 1..30),
    ) {
        for kind in PolicyKind::ALL {
            let (live, replay) = (build(kind, &settings), build(kind, &settings));
            for step in &steps {
                prop_assert_eq!(play(&*live, step), play(&*replay, step), "{}", kind);
            }
        }
    }
}

fn idle_fleet(len: u64) -> Vec<Candidate> {
    (0..len)
        .map(|id| Candidate {
            id: WorkerId(id),
            key: id.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            in_flight: 0,
            reported_tokens: None,
        })
        .collect()
}

#[test]
fn different_requests_use_every_worker_about_equally() {
    const REQUESTS: u64 = 4_000;
    const WORKERS: u64 = 8;
    const RUNNING: usize = 100;
    for kind in PolicyKind::ALL {
        let policy = build(kind, &small_settings());
        let mut workers = idle_fleet(WORKERS);
        let mut running = std::collections::VecDeque::new();
        let mut picks = vec![0_u64; workers.len()];
        for n in 0..REQUESTS {
            let text = format!("request {n} {}", "x".repeat((n % 50) as usize * 20));
            let key = format!("session {n}");
            let request = RouteRequest {
                prompt: &text,
                routing_key: Some(&key),
                ..RouteRequest::default()
            };
            let draw = Draw {
                now: Timestamp::from_micros(n * 10_000),
                entropy: n,
            };
            let index = policy
                .pick(&request, &workers.as_slice(), draw)
                .expect("everybody is available");
            picks[index] += 1;
            workers[index].in_flight += 1;
            running.push_back(index);
            if running.len() > RUNNING {
                let done = running.pop_front().expect("just pushed");
                workers[done].in_flight -= 1;
            }
        }
        let share = REQUESTS / WORKERS;
        // bucket shares bytes, not requests, so its worker of long prompts has far fewer of them.
        let (least, most) = match kind {
            PolicyKind::Bucket => (share / 4, share * 3),
            PolicyKind::Random
            | PolicyKind::RoundRobin
            | PolicyKind::PowerOfTwo
            | PolicyKind::CacheAware
            | PolicyKind::Manual
            | PolicyKind::ConsistentHashing
            | PolicyKind::PrefixHash => (share * 8 / 10, share * 12 / 10),
        };
        assert!(
            picks.iter().all(|n| (least..=most).contains(n)),
            "{kind}: {picks:?}"
        );
    }
}

#[test]
fn one_session_keeps_its_worker_only_until_that_is_forgotten() {
    let request = RouteRequest {
        prompt: "the same long prompt, over and over again, as a conversation would send it",
        routing_key: Some("session"),
        ..RouteRequest::default()
    };
    for kind in [PolicyKind::CacheAware, PolicyKind::Manual] {
        let policy = build(kind, &small_settings());
        let workers = idle_fleet(8);
        let pick = |entropy| {
            let now = Timestamp::ZERO;
            policy.pick(&request, &workers.as_slice(), Draw { now, entropy })
        };
        let first = pick(0).expect("everybody is available");
        assert!((0..50).all(|seed| pick(seed) == Some(first)), "{kind}");
        // Free again, a session lands elsewhere seven times in eight; each time it is forgotten anew.
        let moved = (0..80).filter(|&seed| {
            let before = pick(seed).expect("everybody is available");
            policy.forget(workers[before].id);
            pick(seed + 1_000) != Some(before)
        });
        let moved = moved.count();
        assert!((55..80).contains(&moved), "{kind}: {moved}");
    }
}

/// Workers whose availability and load change at every look, as other requests change them in a live router.
struct Restless<'a> {
    workers: &'a [Candidate],
    looks: std::sync::atomic::AtomicU64,
}

impl Candidates for Restless<'_> {
    fn len(&self) -> usize {
        self.workers.len()
    }

    fn get(&self, index: usize) -> Option<Candidate> {
        let look = self
            .looks
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let noise = look.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let worker = self.workers.get(index)?;
        (!noise.is_multiple_of(3)).then_some(Candidate {
            in_flight: (noise % 200) as u32,
            ..*worker
        })
    }
}

#[test]
fn candidates_that_change_while_many_threads_pick_do_no_harm() {
    let workers = idle_fleet(6);
    for kind in PolicyKind::ALL {
        let policy = build(kind, &small_settings());
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (policy, workers) = (&policy, &workers);
                scope.spawn(move || {
                    let candidates = Restless {
                        workers,
                        looks: thread.into(),
                    };
                    for n in 0..500 {
                        let text = format!("prompt {}", n % 7).repeat(20);
                        let request = RouteRequest {
                            prompt: &text,
                            routing_key: (n % 2 == 0).then_some(&text),
                            ..RouteRequest::default()
                        };
                        let draw = Draw {
                            now: Timestamp::from_micros(n * 50_000),
                            entropy: n,
                        };
                        let picked = policy.pick(&request, &candidates, draw);
                        assert!(picked.is_none_or(|index| index < workers.len()), "{kind}");
                        policy.forget(WorkerId(n % 20));
                    }
                });
            }
        });
    }
}
