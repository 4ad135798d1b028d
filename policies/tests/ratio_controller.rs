//! The controller against whatever it may see: it never asks for what must not be, and it does not chase noise.

use std::collections::VecDeque;
use std::time::Duration;

use policies::estimate::{ClassTraffic, Stream, Traffic, class_of};
use policies::model::WorkerModel;
use policies::queue::QueueOrder;
use policies::ratio::{
    Action, Controller, ControllerSettings, Drain, Guarded, GuardrailSettings, Need, Observation,
    Plan, Planner, Split, WorkerLoad,
};
use policies::time::Timestamp;
use policies::worker::Role;
use proptest::prelude::*;

const ITL_SECONDS: f64 = 0.025;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn controller(settings: ControllerSettings) -> Controller {
    Controller::new(WorkerModel::default(), ITL_SECONDS, settings)
}

fn settings() -> impl Strategy<Value = ControllerSettings> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (flags, 0_u64..200).prop_map(|((migrate, fresh_first, wait_for_decode), dark)| {
        ControllerSettings {
            dark: Duration::from_secs(dark),
            drain: if migrate { Drain::Migrate } else { Drain::Wait },
            wait_for_decode,
            queue_order: if fresh_first {
                QueueOrder::FreshFirst
            } else {
                QueueOrder::Fifo
            },
            ..ControllerSettings::default()
        }
    })
}

fn class() -> impl Strategy<Value = (u32, ClassTraffic)> {
    (
        1_u32..200_000,
        0_u32..200,
        0_u32..200,
        1_u64..5_000,
        0_u32..500,
    )
        .prop_map(|(prompt, arrived, finished, output, running)| {
            let traffic = ClassTraffic {
                arrived,
                prompt_tokens: u64::from(arrived) * u64::from(prompt),
                cached_tokens: 0,
                finished,
                output_tokens: u64::from(finished) * output,
                running,
                generated_tokens: u64::from(running) * output / 2,
            };
            (prompt, traffic)
        })
}

fn load() -> impl Strategy<Value = WorkerLoad> {
    (any::<bool>(), 0_u64..1_000_000, 0_u32..600, 0_u32..600).prop_map(
        |(decode, pending_prompt_tokens, running, waiting)| WorkerLoad {
            role: if decode { Role::Decode } else { Role::Prefill },
            pending_prompt_tokens,
            running,
            waiting,
            kv_tokens: u64::from(running) * 1_000,
        },
    )
}

fn observation() -> impl Strategy<Value = Observation> {
    let classes = proptest::collection::vec(class(), 0..4);
    let loads = proptest::collection::vec(load(), 0..6);
    (classes, loads, 0_u32..40, 0_u32..40, 0_u64..10_000_000).prop_map(
        |(classes, loads, prefill, decode, queued_prompt_tokens)| {
            let mut traffic = Traffic::default();
            for (prompt, seen) in classes {
                traffic[class_of(prompt)] = seen;
            }
            Observation {
                split: Split { prefill, decode },
                traffic,
                queued_prompt_tokens,
                loads,
                oldest_report: Some(Duration::ZERO),
                ..Observation::default()
            }
        },
    )
}

fn plans(settings: &ControllerSettings, looks: &[Observation]) -> Vec<Plan> {
    let mut controller = controller(settings.clone());
    let looks = looks.iter().zip(1..);
    // Each sight eight times, so that the controller may come to believe it.
    looks
        .flat_map(|(seen, number)| {
            let plans = (0..8).map(|again| controller.plan(at(8 * number + again), seen));
            plans.collect::<Vec<_>>()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn it_never_moves_the_last_worker_and_the_same_looks_give_the_same_plans(
        settings in settings(), looks in proptest::collection::vec(observation(), 1..12),
    ) {
        let made = plans(&settings, &looks);
        prop_assert_eq!(&made, &plans(&settings, &looks));
        for (number, plan) in made.iter().enumerate() {
            let split = looks[number / 8].split;
            prop_assert_eq!(plan.target.prefill + plan.target.decode, split.prefill + split.decode);
            if plan.action == Action::Move {
                let donor = plan.donor.unwrap();
                prop_assert!(split.of(donor) >= 2, "{split:?} {plan:?}");
                prop_assert!(plan.target.prefill >= 1 && plan.target.decode >= 1);
            }
        }
    }

    #[test]
    fn without_demand_nothing_is_moved(
        settings in settings(), mut looks in proptest::collection::vec(observation(), 1..12),
    ) {
        for seen in &mut looks {
            for class in &mut seen.traffic {
                (class.arrived, class.prompt_tokens) = (0, 0);
            }
        }
        let moved = plans(&settings, &looks).iter().any(|plan| plan.action == Action::Move);
        prop_assert!(!moved);
    }
}

/// An hour of one kind of request that comes at random, as a fleet that serves it shows itself.
struct Steady {
    prompt: u32,
    output: u32,
    rate: f64,
    dice: u64,
    /// Requests that began in each of the last seconds, for as long as they run.
    running: VecDeque<u32>,
}

impl Steady {
    fn dice(&mut self) -> f64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.dice >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn poisson(&mut self) -> u32 {
        let (mut count, mut passed) = (0, -self.dice().ln() / self.rate);
        while passed < 1.0 {
            count += 1;
            passed -= self.dice().ln() / self.rate;
        }
        count
    }

    fn look(&mut self, split: Split, moving: bool) -> Observation {
        let lasts = (f64::from(self.output) * 0.015).ceil() as usize;
        let arrived = self.poisson();
        self.running.push_back(arrived);
        let finished = if self.running.len() > lasts {
            self.running.pop_front().unwrap_or(0)
        } else {
            0
        };
        let running: u32 = self.running.iter().sum();
        let mut traffic = Traffic::default();
        traffic[class_of(self.prompt)] = ClassTraffic {
            arrived,
            prompt_tokens: u64::from(arrived * self.prompt),
            cached_tokens: 0,
            finished,
            output_tokens: u64::from(finished * self.output),
            running,
            generated_tokens: u64::from(running) * u64::from(self.output) / 2,
        };
        let each = running / split.decode.max(1);
        let decode = WorkerLoad {
            role: Role::Decode,
            pending_prompt_tokens: 0,
            running: each,
            waiting: 0,
            kv_tokens: u64::from(each) * u64::from(self.prompt + self.output / 2),
        };
        Observation {
            split,
            traffic,
            loads: vec![decode; split.decode as usize],
            oldest_report: Some(Duration::ZERO),
            moving,
            ..Observation::default()
        }
    }
}

/// Moves within an hour, each of which takes `away` seconds.
fn moves(planner: &mut dyn Planner, mut steady: Steady, away: u64) -> u32 {
    let mut split = Split {
        prefill: 2,
        decode: 2,
    };
    let (mut under_way, mut moves): (Option<(u64, Role)>, u32) = (None, 0);
    for second in 0..3_600 {
        if let Some((until, donor)) = under_way
            && second >= until
        {
            split = split.moved(donor).expect("a donor has a worker");
            under_way = None;
        }
        let serving = match under_way {
            Some((_, donor)) => split.without(donor).expect("a donor has a worker"),
            None => split,
        };
        let plan = planner.plan(at(second), &steady.look(serving, under_way.is_some()));
        if plan.action == Action::Move {
            let donor = plan.donor.expect("a move has a donor");
            under_way = Some((second + away, donor));
            moves += 1;
        }
    }
    moves
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn noise_is_not_chased(
        prompt in 64_u32..8_000, output in 16_u32..2_500, load in 0.3..1.2_f64, seed: u64,
        settings in settings(),
    ) {
        let model = WorkerModel::default();
        let stream = Stream {
            requests_per_second: 1.0,
            deviation: 0.0,
            prompt_tokens: f64::from(prompt),
            cached_tokens: 0.0,
            output_tokens: f64::from(output),
        };
        let need = Need::of(&model, ITL_SECONDS, [stream].into_iter());
        let best = (1..4).map(|prefill| {
            need.utilisation(Split { prefill, decode: 4 - prefill }).highest()
        });
        let steady = Steady {
            prompt,
            output,
            rate: load / best.fold(f64::INFINITY, f64::min),
            dice: seed,
            running: VecDeque::new(),
        };
        let away = settings.dark.as_secs() + 5;
        let mut planner = Guarded::new(controller(settings), GuardrailSettings::default());
        let moves = moves(&mut planner, steady, away);
        prop_assert!(moves <= 2, "{moves} moves");
    }
}

/// When the controller first moves a decode worker within a minute in which two prefill workers are given exactly what
/// they can do, while `queued` prompt tokens wait and so many requests become late in each second. Each decode worker also
/// runs `others`, short sequences that nothing of what comes accounts for.
fn moved_to_prefill(queued: u64, turned_late: u64, others: u32) -> Option<u64> {
    let in_place = ControllerSettings {
        dark: Duration::from_secs(2),
        regime: Duration::from_secs(75),
        queue_order: QueueOrder::FreshFirst,
        wait_for_decode: false,
        ..ControllerSettings::default()
    };
    let mut planner = controller(in_place);
    let split = Split {
        prefill: 2,
        decode: 2,
    };
    let rate = 2.0 * WorkerModel::default().prefill.capacity(2_048, 0.0);
    let mut served = Steady {
        prompt: 2_048,
        output: 64,
        rate,
        dice: 1,
        running: VecDeque::new(),
    };
    (0..60).find(|second| {
        let mut seen = served.look(split, false);
        let arrived = (rate * (second + 1) as f64) as u32 - (rate * *second as f64) as u32;
        let class = &mut seen.traffic[class_of(2_048)];
        class.arrived = arrived;
        class.prompt_tokens = u64::from(arrived) * 2_048;
        (seen.queued_prompt_tokens, seen.turned_late) = (queued, turned_late);
        let decode = seen.loads.iter_mut();
        for load in decode.filter(|load| load.role == Role::Decode) {
            load.running += others;
        }
        let plan = planner.plan(at(*second), &seen);
        plan.action == Action::Move && plan.donor == Some(Role::Decode)
    })
}

#[test]
fn a_queue_that_stands_beside_a_decode_worker_to_spare_is_reason_to_move() {
    // Of clients that ask again only once they are answered no more come than are served.
    assert_eq!(moved_to_prefill(0, 0, 0), None);
    let moved = moved_to_prefill(600_000, 20, 0);
    assert!(moved.is_some_and(|second| second < 25), "{moved:?}");
    // The same queue of requests that are late already, while all that come are in time.
    assert_eq!(moved_to_prefill(600_000, 0, 0), None);
    // And while answers of the mix before hold decode's places: it is for want of those that requests become late.
    assert_eq!(moved_to_prefill(600_000, 20, 220), None);
}
