//! Who gets what there is: tenants and priorities.

use std::rc::Rc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use policies::lifecycle::WorkerEvent;
use policies::worker::Role;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::rig::Rig;

/// Some 750 tokens, of which two fit before a worker.
const BOUND: &str = "--prefill-queue-tokens=1000";

fn body(priority: &Value) -> String {
    let sampling = json!({"max_new_tokens": 4, "ignore_eos": true});
    json!({"text": "word ".repeat(600), "priority": priority, "sampling_params": sampling})
        .to_string()
}

/// How long it took, where it was answered.
async fn ask(rig: &Rig, header: (&str, &str), priority: &Value) -> Option<Duration> {
    let began = Instant::now();
    let request = Request::post("/generate")
        .header(header.0, header.1)
        .body(Body::from(body(priority)))
        .expect("a good request");
    let answer = rig.router.clone().oneshot(request).await;
    let answer = answer.expect("the router never fails");
    let answered = answer.status() == StatusCode::OK;
    answer.into_body().collect().await.expect("a whole answer");
    answered.then(|| began.elapsed())
}

/// One tenant sends as much as it can, more than the queue holds; another one request at a time.
#[tokio::test(start_paused = true)]
async fn a_tenant_that_sends_all_it_can_starves_no_other() {
    for (fair, by) in [
        (false, "authorization"),
        (true, "authorization"),
        (true, "x-smg-routing-key"),
    ] {
        let fairness = format!("--fair-queue={fair}");
        let rig = Rc::new(Rig::new(&[BOUND, "--queue-size=12", &fairness]));
        let local = LocalSet::new();
        for _ in 0..30 {
            let rig = Rc::clone(&rig);
            local.spawn_local(async move {
                loop {
                    if ask(&rig, (by, "greedy"), &Value::Null).await.is_none() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            });
        }
        let modest = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut took = Vec::new();
            for _ in 0..15 {
                took.extend(ask(&rig, (by, "modest"), &Value::Null).await);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            took
        };
        let took = local.run_until(modest).await;
        let alone = {
            let rig = Rig::new(&[BOUND]);
            ask(&rig, (by, "modest"), &Value::Null)
                .await
                .expect("an answer")
        };
        if fair {
            assert_eq!(took.len(), 15, "{by}");
            let longest = took.iter().max().expect("some");
            assert!(
                *longest < 6 * alone,
                "{by}: {longest:?}, and {alone:?} alone"
            );
        } else {
            assert!(
                took.len() < 8,
                "{} answered: nobody is kept out",
                took.len()
            );
        }
    }
}

/// The order in which requests with these priorities are answered, sent in this order to full workers.
async fn order(flags: &[&str], priorities: &[Value]) -> Vec<Value> {
    // One worker, and one prompt before it.
    let flags = [&["--prefill-queue-tokens=1"][..], flags].concat();
    let rig = Rc::new(Rig::new(&flags));
    let registry = &rig.proxy.registry;
    let one = registry
        .snapshot()
        .serving(Role::Prefill)
        .get(0)
        .expect("two")
        .worker
        .id;
    registry.apply(one, WorkerEvent::DrainRequested);
    let local = LocalSet::new();
    let answered = Rc::new(std::cell::RefCell::new(Vec::new()));
    let crowd = [json!("first")]
        .into_iter()
        .chain(priorities.iter().cloned());
    for (number, priority) in crowd.enumerate() {
        let (rig, answered) = (Rc::clone(&rig), Rc::clone(&answered));
        local.spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(number as u64)).await;
            let asked = if priority == "first" {
                Value::Null
            } else {
                priority.clone()
            };
            ask(&rig, ("x-smg-routing-key", "a"), &asked)
                .await
                .expect("an answer");
            answered.borrow_mut().push(priority);
        });
    }
    local.await;
    let order = answered.take();
    order
        .into_iter()
        .filter(|priority| *priority != "first")
        .collect()
}

#[tokio::test(start_paused = true)]
async fn of_those_that_wait_the_more_urgent_are_dispatched_first() {
    let sent = [
        json!(1),
        json!(null),
        json!(-3),
        json!(8),
        json!(8),
        json!("9"),
    ];
    let table = [
        (
            &[][..],
            [
                json!(1),
                json!(null),
                json!(-3),
                json!(8),
                json!(8),
                json!("9"),
            ],
        ),
        // What is no number is no priority: the worker says what it makes of it.
        (
            &["--enable-priority-scheduling"],
            [
                json!(8),
                json!(8),
                json!(1),
                json!(-3),
                json!(null),
                json!("9"),
            ],
        ),
        (
            &[
                "--enable-priority-scheduling",
                "--schedule-low-priority-values-first",
            ],
            [
                json!(-3),
                json!(1),
                json!(8),
                json!(8),
                json!(null),
                json!("9"),
            ],
        ),
    ];
    for (flags, expected) in table {
        assert_eq!(order(flags, &sent).await, expected, "{flags:?}");
    }
}
