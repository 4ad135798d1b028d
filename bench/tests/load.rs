//! The load against a worker on real sockets.

use pd_bench::{
    fleet::Served,
    load::{self, Endpoints, Failure, Load, Report, Streaming},
};
use simulated_worker::{Config, Fault, Role, Rule};

async fn served(faults: Vec<Rule>) -> Served {
    let config = Config {
        port: 0,
        faults,
        ..Config::instant(Role::Null)
    };
    Served::start(vec![config])
        .await
        .expect("port 0 is always free")
}

async fn run(served: &Served, streaming: Streaming) -> Report {
    let load = Load {
        url: format!("http://127.0.0.1:{}", served.workers()[0].config().port),
        requests: 120,
        concurrency: 8,
        streaming,
        ..Load::default()
    };
    load::run(load).await.expect("the url is valid")
}

#[tokio::test]
async fn a_worker_without_faults_answers_everything_right() {
    let served = served(Vec::new()).await;
    let report = run(&served, Streaming::EverySecond).await;
    assert!(report.is_flawless(), "{report}");
    assert_eq!(report.ok, 120);
    assert!(report.first_token.is_some() && report.between_tokens.is_some());
    let stats = served.workers()[0].stats();
    assert_eq!((stats.completed, stats.generated_tokens), (120, 120 * 32));
    served.stop().await;
}

#[tokio::test]
async fn every_fault_is_found_and_named() {
    let table = [
        (
            Fault::Refuse {
                status: 503,
                retry_after_s: None,
            },
            Streaming::Never,
            Failure::Status(503),
        ),
        (
            Fault::ResetBeforeHead,
            Streaming::Always,
            Failure::Connection,
        ),
        (
            Fault::ResetBeforeHead,
            Streaming::Never,
            Failure::Connection,
        ),
        (
            Fault::ResetMidStream { after_tokens: 5 },
            Streaming::Always,
            Failure::Broken,
        ),
        (
            Fault::CutShort { after_tokens: 5 },
            Streaming::Always,
            Failure::Incomplete,
        ),
        (
            Fault::CutShort { after_tokens: 5 },
            Streaming::Never,
            Failure::Garbled,
        ),
        (
            Fault::ErrorEvent { after_tokens: 5 },
            Streaming::Always,
            Failure::ErrorEvent,
        ),
    ];
    for (fault, streaming, failure) in table {
        let served = served(vec![fault.clone().times(7)]).await;
        let report = run(&served, streaming).await;
        let found: Vec<_> = report.failures.iter().collect();
        assert_eq!(found, [(&failure, &7)], "{fault:?} {streaming:?}");
        assert_eq!(report.ok, 113);
        served.stop().await;
    }
}

#[tokio::test]
async fn tokens_are_counted_by_usage_and_chunks_without_it() {
    let config = Config {
        port: 0,
        stream_interval: 4,
        ..Config::instant(Role::Null)
    };
    let served = Served::start(vec![config])
        .await
        .expect("port 0 is always free");
    let url = format!("http://127.0.0.1:{}", served.workers()[0].config().port);
    // 32 tokens: one by itself, 7 chunks of 4, one of 3.
    let table = [
        (Endpoints::Chat, true, 31),
        (Endpoints::Completions, true, 31),
        (Endpoints::Generate, false, 31),
        (Endpoints::Chat, false, 8),
        (Endpoints::Completions, false, 8),
    ];
    for (endpoints, continuous_usage, gaps) in table {
        let load = Load {
            url: url.clone(),
            endpoints,
            requests: 10,
            streaming: Streaming::Always,
            continuous_usage,
            ..Load::default()
        };
        let report = load::run(load).await.expect("the url is valid");
        assert!(report.is_flawless(), "{report}");
        let counted = report.between_tokens.map(|points| points.count);
        assert_eq!(counted, Some(10 * gaps), "{endpoints:?} {continuous_usage}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_port_in_use_starts_nothing() {
    let served = served(Vec::new()).await;
    let port = served.workers()[0].config().port;
    let again = Config {
        port,
        ..Config::instant(Role::Null)
    };
    let Err(error) = Served::start(vec![again]).await else {
        panic!("two servers on one port");
    };
    let message = error.to_string();
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
    served.stop().await;
}
