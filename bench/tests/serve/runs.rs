//! Runs by the library.

use crate::support::{figures, plan, served};
use pd_bench::{
    load::Failure,
    serve::{Goodput, Metric, run},
    wire::Endpoint,
};
use simulated_worker::Fault;
use std::{num::NonZeroUsize, time::Duration};

const ENDPOINTS: [Endpoint; 3] = [Endpoint::Completions, Endpoint::Chat, Endpoint::Generate];

#[tokio::test]
async fn every_endpoint_answers_with_all_its_tokens() {
    let served = served(Vec::new()).await;
    for endpoint in ENDPOINTS {
        let mut plan = plan(&served, endpoint, 60);
        plan.warmups = 3;
        let outcome = run(plan).await.expect("the url is valid");
        let figures = figures(&outcome);
        assert_eq!((figures.completed, figures.failed), (60, 0), "{endpoint:?}");
        assert_eq!(figures.output_tokens, 60 * 16, "{endpoint:?}");
        // A chat's prompt is in a template.
        let template = match endpoint {
            Endpoint::Chat => figures.input_tokens - 60 * 64,
            Endpoint::Completions | Endpoint::Generate => 0,
        };
        assert_eq!(figures.input_tokens, 60 * 64 + template, "{endpoint:?}");
        assert!((1..=8).contains(&figures.peak_concurrency), "{figures:?}");
        assert!(!outcome.interrupted && outcome.failed_warmups == 0);
    }
    let stats = served.workers()[0].stats();
    assert_eq!(stats.completed, 3 * 63);
    served.stop().await;
}

#[tokio::test]
async fn every_fault_is_a_failure_of_its_kind_and_the_rest_is_measured() {
    let refuse = Fault::Refuse {
        status: 503,
        retry_after_s: None,
    };
    let table = [
        (refuse, Failure::Status(503)),
        (Fault::ResetBeforeHead, Failure::Connection),
        (Fault::ResetMidStream { after_tokens: 5 }, Failure::Broken),
        (Fault::CutShort { after_tokens: 5 }, Failure::Incomplete),
        (Fault::ErrorEvent { after_tokens: 5 }, Failure::ErrorEvent),
    ];
    for (fault, failure) in table {
        for endpoint in ENDPOINTS {
            let served = served(vec![fault.clone().times(7)]).await;
            let outcome = run(plan(&served, endpoint, 40)).await.expect("a good url");
            let figures = figures(&outcome);
            let found: Vec<_> = figures.failures.iter().collect();
            assert_eq!(found, [(&failure, &7)], "{fault:?} {endpoint:?}");
            assert_eq!((figures.completed, figures.examples.len()), (33, 7));
            served.stop().await;
        }
    }
}

#[tokio::test]
async fn a_stall_shows_in_every_request_that_was_due_meanwhile() {
    let stall = Fault::StallBeforeHead {
        stall_ms: Some(400),
    };
    let served = served(vec![stall.times(1)]).await;
    let mut plan = plan(&served, Endpoint::Completions, 21);
    plan.max_concurrency = NonZeroUsize::new(1);
    for (item, place) in plan.items.iter_mut().zip(0..) {
        item.due = Some(Duration::from_millis(10) * place);
    }
    let outcome = run(plan).await.expect("the url is valid");
    let figures = figures(&outcome);
    assert_eq!(figures.completed, 21, "{figures:?}");
    let of = |metric| figures.series.iter().find(|series| series.metric == metric);
    // The median request was due 100 ms after the first, and had to wait for the other 300 ms.
    let ttft = of(Metric::Ttft).expect("all metrics were asked for");
    assert!(ttft.median >= 300.0, "{figures:?}");
    assert!(figures.late.max >= 390.0, "{figures:?}");
    // Requests that wait in this program are not under way at the server.
    assert_eq!(figures.peak_concurrency, 1);
    let bounds = Goodput {
        ttft: Some(Duration::from_millis(250)),
        ..Goodput::default()
    };
    let good = outcome.figures(&[], &[], &bounds).good;
    assert!(good.is_some_and(|good| good <= 6), "{good:?}");
    served.stop().await;
}

#[tokio::test]
async fn an_interrupted_run_keeps_what_it_has_and_awaits_nothing() {
    let stall = Fault::StallMidStream {
        after_tokens: 3,
        stall_ms: Some(3_600_000),
    };
    let served = served(vec![stall.times(8)]).await;
    let plan = plan(&served, Endpoint::Chat, 40);
    let (stop, progress) = (plan.stop.clone(), plan.progress.clone());
    // All eight slots stall: nothing ends, and nothing more is sent.
    let stopped = async {
        let worker = &served.workers()[0];
        while worker.stats().requests < 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(run(plan), stopped);
    let outcome = outcome.expect("the url is valid");
    assert!(outcome.interrupted);
    assert_eq!((outcome.abandoned, outcome.unsent), (8, 32));
    assert_eq!((figures(&outcome).completed, progress.position()), (0, 0));
    served.stop().await;
}

#[tokio::test]
async fn nobody_there_is_a_failure_of_every_request_with_its_cause() {
    let served = served(Vec::new()).await;
    let plan = plan(&served, Endpoint::Completions, 5);
    served.stop().await;
    let figures = figures(&run(plan).await.expect("the url is valid"));
    assert_eq!(figures.failures.get(&Failure::Connection), Some(&5));
    let detail = &figures.examples[0].detail;
    assert!(detail.to_lowercase().contains("refused"), "{detail}");
}
