//! Counters that add up: what a reader of `/v1/loads` computes from their differences is the work that was done.

use crate::support::{Pair, ask, load, number, pair_with};
use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn throughput_is_averaged_over_forty_steps_and_nought_when_idle() {
    let pair = pair_with(|_| {});
    let watch = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let early = load(&pair.decode).await["gen_throughput"].clone();
        tokio::time::sleep(Duration::from_millis(300)).await;
        (early, number(&load(&pair.decode).await["gen_throughput"]))
    };
    let (_, (early, later)) =
        tokio::join!(join_all((0..8).map(|room| ask(&pair, 8, 100, room))), watch);
    let step = pair
        .decode
        .config()
        .timing
        .decode_step(8, 200)
        .as_secs_f64();
    assert_eq!(early, 0.0, "fewer than forty steps");
    assert!((later * step / 8.0 - 1.0).abs() < 0.05, "{later}");
    assert_eq!(load(&pair.decode).await["gen_throughput"], 0.0);
}

/// The work of a round, as its requests make it, whatever batches were formed.
#[derive(Debug, Default, Clone, Copy)]
struct Work {
    prompt_tokens: f64,
    steps_of_requests: f64,
    kv_tokens: f64,
    landed_tokens: f64,
}

impl Work {
    fn of(jobs: &[(u32, u32)]) -> Self {
        let mut work = Self::default();
        for &(prompt, output) in jobs {
            let (prompt, steps) = (f64::from(prompt), f64::from(output - 1));
            work.prompt_tokens += prompt;
            work.steps_of_requests += steps;
            work.kv_tokens += steps * prompt + steps * (steps + 1.0) / 2.0;
            if steps > 0.0 {
                work.landed_tokens += prompt + 1.0;
            }
        }
        work
    }
}

/// Whether two counts are equal.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.5
}

/// The cumulative counters of a pair.
async fn counters(pair: &Pair) -> [f64; 8] {
    let (prefill, decode) = (load(&pair.prefill).await, load(&pair.decode).await);
    let moment = |index: usize| decode["decode_moments"][index].as_f64().unwrap_or(0.0);
    [
        number(&prefill["total_prefill_uncached_tokens"]),
        number(&prefill["total_prefill_busy_us"]) / 1e6,
        moment(0),
        moment(1),
        moment(2) / 1e6,
        moment(3),
        moment(4),
        moment(5),
    ]
}

async fn two_rounds_add_up(first: &[(u32, u32)], second: &[(u32, u32)]) {
    let pair = pair_with(|model| {
        model.decode.arrival_per_token = 1.5e-6;
        model.decode.per_kv_token = 1e-7;
    });
    let model = pair.prefill.config().timing.model;
    let mut room = 0;
    for jobs in [first, second] {
        let before = counters(&pair).await;
        let requests = jobs.iter().map(|&(prompt, output)| {
            room += 1;
            ask(&pair, prompt.into(), output, room)
        });
        join_all(requests).await;
        let mut grew = counters(&pair).await;
        for (after, before) in grew.iter_mut().zip(before) {
            *after -= before;
        }
        let work = Work::of(jobs);
        let [tokens, busy, steps, b, t, bb, bt, generated] = grew;
        assert!(same(tokens, work.prompt_tokens), "{tokens}");
        let batches = (busy - tokens * model.prefill.per_token) / model.prefill.batch_base;
        assert!((batches - batches.round()).abs() < 1e-3, "{batches}");
        assert!(
            batches.round() >= (tokens / 8_192.0).ceil()
                && batches.round() <= jobs.len() as f64 * 2.0
        );
        assert!(same(b, work.steps_of_requests), "{b}");
        assert!(same(generated, work.steps_of_requests), "{generated}");
        let stepping = steps * model.decode.step_base
            + b * model.decode.per_sequence
            + work.kv_tokens * model.decode.per_kv_token
            + work.landed_tokens * model.decode.arrival_per_token;
        // A step is counted in whole microseconds.
        assert!(
            (t - stepping).abs() <= steps * 1e-6 + 1e-9,
            "{t} {stepping}"
        );
        assert!(
            bb * steps >= b * b * (1.0 - 1e-12) && bt * steps >= 0.0,
            "{bb} {bt}"
        );
    }
    let (prefill, decode) = (load(&pair.prefill).await, load(&pair.decode).await);
    for gauge in [
        "num_running_reqs",
        "num_waiting_reqs",
        "num_used_tokens",
        "num_total_tokens",
    ] {
        assert_eq!(
            (&prefill[gauge], &decode[gauge]),
            (&json!(0), &json!(0)),
            "{gauge}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn differences_of_counters_are_the_work_done(
        first in prop::collection::vec((1_u32..12_000, 1_u32..60), 1..12),
        second in prop::collection::vec((1_u32..3_000, 1_u32..200), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime of one thread can always be made");
        runtime.block_on(two_rounds_add_up(&first, &second));
    }
}
