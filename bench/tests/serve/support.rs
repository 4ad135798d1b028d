//! A worker, and a small plan for it.

use http::HeaderMap;
use indicatif::ProgressBar;
use pd_bench::{
    fleet::Served,
    serve::{Asked, Figures, Goodput, Item, Metric, Outcome, Plan, Prompt, Prompts},
    wire::Endpoint,
};
use simulated_worker::{Config, Role, Rule};
use std::num::NonZeroUsize;
use tokio_util::sync::CancellationToken;

/// A worker that answers at once.
pub async fn served(faults: Vec<Rule>) -> Served {
    let config = Config {
        port: 0,
        faults,
        ..Config::instant(Role::Null)
    };
    Served::start(vec![config])
        .await
        .expect("port 0 is always free")
}

pub fn url(served: &Served) -> String {
    format!("http://127.0.0.1:{}", served.workers()[0].config().port)
}

/// Requests of 64 tokens with answers of 16, 8 at a time.
pub fn plan(served: &Served, endpoint: Endpoint, requests: usize) -> Plan {
    let item = Item {
        due: None,
        prompt: Prompt::Drawn {
            shared: 0,
            fresh: 64,
        },
        output_tokens: 16,
    };
    Plan {
        base_url: url(served),
        path: endpoint.path().into(),
        headers: HeaderMap::new(),
        asked: Asked {
            endpoint,
            model: "simulated".into(),
            ignore_eos: true,
            temperature: Some(0.0),
            extra: serde_json::Map::new(),
        },
        items: vec![item; requests],
        prompts: Prompts::Approximate,
        max_concurrency: NonZeroUsize::new(8),
        warmups: 0,
        seed: 1,
        keep_detail: false,
        progress: ProgressBar::hidden(),
        stop: CancellationToken::new(),
    }
}

pub fn figures(outcome: &Outcome) -> Figures {
    outcome.figures(&Metric::ALL, &[50.0, 99.0], &Goodput::default())
}
