use pd_bench::sim::*;
use pd_bench::workload::*;
use policies::estimate::Stream;
use policies::model::WorkerModel;
use policies::queue::QueueOrder;
use policies::ratio::*;
use policies::time::Timestamp;
use std::time::{Duration, Instant};

fn phases(rng: &mut fastrand::Rng, d: f64, total: f64, ra: f64, rb: f64) -> Vec<(Timestamp, Job)> {
    let mut t = 0.0;
    let mut out = vec![];
    let mut a = true;
    while t < total {
        let end = t + d * (0.6 + 0.8 * rng.f64());
        let (rate, p, o, class) = if a {
            (ra, 2048.0, 128.0, 0)
        } else {
            (rb, 128.0, 2048.0, 1)
        };
        loop {
            t += -(1.0 - rng.f64()).ln() / rate;
            if t >= end || t >= total {
                break;
            }
            let l = |rng: &mut fastrand::Rng, n: f64| (n * (0.5 + rng.f64())).max(1.0) as u32;
            let job = Job {
                prompt_tokens: l(rng, p),
                cached_tokens: 0,
                output_tokens: l(rng, o),
                class,
            };
            out.push((Timestamp::from_micros((t * 1e6) as u64), job));
        }
        t = end;
        a = !a;
    }
    out
}

fn main() {
    let mut model = WorkerModel::h200_gpt_oss_120b_tp2();
    if std::env::var("CLEAN").is_ok() {
        model.prefill.batch_base = 0.02;
        model.prefill.transfer_per_token = 2e-6;
        model.decode.arrival_per_token = 0.0;
    } else {
        model.decode.arrival_per_token = 1.5e-6;
    }
    let s = |p: f64, o: f64| {
        Need::of(
            &model,
            0.025,
            [Stream {
                requests_per_second: 1.0,
                deviation: 0.0,
                prompt_tokens: p,
                cached_tokens: 0.0,
                output_tokens: o,
            }]
            .into_iter(),
        )
    };
    let best = |n: Need| {
        (1..4u32)
            .map(|p| {
                1.0 / n
                    .utilisation(Split {
                        prefill: p,
                        decode: 4 - p,
                    })
                    .highest()
            })
            .fold(0.0, f64::max)
    };
    let (na, nb) = (s(2048.0, 128.0), s(128.0, 2048.0));
    let rho: f64 = std::env::var("RHO").map_or(0.8, |v| v.parse().unwrap());
    let (ra, rb) = (0.95 * rho * best(na), 0.95 * rho * best(nb));
    println!("A {na:?} B {nb:?} rates {ra:.1} {rb:.1}");
    let seeds: u64 = std::env::var("SEEDS").map_or(2, |v| v.parse().unwrap());
    let d: f64 = std::env::var("D").map_or(300.0, |v| v.parse().unwrap());
    let order = if std::env::var("FIFO").is_ok() {
        QueueOrder::Fifo
    } else {
        QueueOrder::FreshFirst
    };
    for cost in [2.0, 30.0, 90.0] {
        for arm in ["1P", "2P", "3P", "thr", "ctl"] {
            if cost > 2.0 && arm.ends_with('P') {
                continue;
            }
            let mut att = vec![];
            let mut moves = vec![];
            let t0 = Instant::now();
            for seed in 0..seeds {
                let mut rng = fastrand::Rng::with_seed(seed + 100);
                let w = Workload::Open {
                    arrivals: phases(&mut rng, d, 2400.0, ra, rb),
                };
                let p = match arm {
                    "1P" => 1,
                    "3P" => 3,
                    _ => 2,
                };
                let planner = match arm {
                    "thr" => Some(PlannerKind::Threshold(ThresholdSettings::default())),
                    "ctl" => Some(PlannerKind::Controller(ControllerSettings {
                        dark: Duration::from_secs_f64(cost),
                        ..Default::default()
                    })),
                    _ => None,
                };
                let setup = Setup {
                    warm: true,
                    seed,
                    prefill_policy: policies::route::PolicyKind::PowerOfTwo,
                    decode_policy: policies::route::PolicyKind::PowerOfTwo,
                    dispatch: Dispatch::WhenThereIsRoom {
                        order,
                        pending_tokens: 16_384,
                    },
                    control: planner.map(|planner| Control {
                        planner,
                        guardrails: GuardrailSettings::default(),
                        dark: Duration::from_secs_f64(cost),
                    }),
                    ..Setup::study(model, p, 4 - p)
                };
                let o = run(&setup, &w);
                att.push(o.attainment(&setup.slo));
                moves.push(o.workers.iter().map(|w| w.role_changes).sum::<u32>());
            }
            println!(
                "cost {cost:>3} {arm:>4}: {:.3} {att:.3?} moves {moves:?} {:.1}s",
                att.iter().sum::<f64>() / att.len() as f64,
                t0.elapsed().as_secs_f64()
            );
        }
    }
}
