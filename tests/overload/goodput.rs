//! Goodput as load grows: requests a second whose first token came within the target, and their tokens at theirs.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use simulated_worker::Fault;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::rig::Rig;

/// Some 1,000 tokens, and 8 of an answer: prefill is what there is too little of.
fn request(number: usize) -> String {
    let text = format!("{number} {}", "word ".repeat(800));
    let sampling = json!({"max_new_tokens": 8, "ignore_eos": true});
    json!({"text": text, "stream": true, "sampling_params": sampling}).to_string()
}

/// Prefill is four times slower than the model has it, so that there are fewer requests to make. Two prompts before each
/// worker, and a queue that is full and in which requests have waited as long as they may well before it is looked at.
fn rig() -> Rig {
    let rig = Rig::new(&[
        "--prefill-queue-tokens=2000",
        "--queue-size=400",
        "--queue-timeout-secs=40",
    ]);
    Rig::fault(&rig.prefill, &Fault::Slow { factor: 4.0 });
    rig
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// A second.
    good: f64,
    completed: f64,
}

const SETTLES: Duration = Duration::from_secs(80);
const LOOKS: Duration = Duration::from_secs(80);

/// What comes of so many requests a second, whatever becomes of those before, once it has gone on for a while. Whoever is
/// refused has to be told when to come back.
fn at(rate: f64) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let local = LocalSet::new();
    let seen = async {
        let rig = std::rc::Rc::new(rig());
        let good = || rig.metric("adaptive_router_slo_requests_total", &[("result", "good")]);
        let began = Instant::now();
        let mut before = None;
        for number in 0.. {
            let due = Duration::from_secs_f64(f64::from(number) / rate);
            tokio::time::sleep_until(began + due).await;
            if due >= SETTLES && before.is_none() {
                before = Some((good(), rig.ledger().completed));
            }
            if due >= SETTLES + LOOKS {
                break;
            }
            let rig = std::rc::Rc::clone(&rig);
            tokio::task::spawn_local(async move {
                let answer = rig.post("/generate", request(number as usize)).await;
                let refused = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
                if refused.contains(&answer.status) {
                    assert_eq!(answer.headers["retry-after"], "1");
                } else {
                    assert_eq!(answer.status, StatusCode::OK);
                    assert!(answer.is_done());
                }
            });
        }
        let (good_before, completed_before) = before.expect("it settled");
        Seen {
            good: (good() - good_before) / LOOKS.as_secs_f64(),
            completed: (rig.ledger().completed - completed_before) as f64 / LOOKS.as_secs_f64(),
        }
    };
    runtime.block_on(local.run_until(seen))
}

#[test]
fn at_three_times_the_load_that_can_be_sustained_goodput_is_what_it_was_at_its_peak() {
    let sustained = at(40.0).completed;
    let seen = [0.9, 1.0].map(|load| at(load * sustained));
    let thrice = at(3.0 * sustained);
    // Requests that come at even intervals, and workers that are as fast as each other, have their peak where all of
    // the sustained load is in time.
    let peak = seen.iter().map(|seen| seen.good).fold(0.0, f64::max);
    assert!(peak >= 0.8 * sustained, "{peak} of {sustained}");
    assert!(thrice.good >= 0.95 * peak, "{thrice:?} of {peak}");
}
