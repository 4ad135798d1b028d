//! When a router is ready: it knows all its workers as healthy, and answers rightly.

use super::{
    ask::ask,
    outcome::Outcome,
    turn::{Stage, TurnError},
};
use crate::{
    child::ChildError,
    get::Getter,
    wire::{Endpoint, HttpClient, Prepared},
};
use http::HeaderMap;
use serde::Deserialize;
use std::time::Duration;
use tokio::{sync::watch, time};

/// How long it may take: the slowest peer takes some seconds on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long one look may take: a router that isn't ready may hold a request until a worker comes.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers in a row that show that none of four workers is missing.
const ANSWERS: u64 = 4;

/// Numbers of questions that no case asks.
const FIRST: u64 = 1 << 20;

#[derive(Deserialize)]
struct Registered {
    workers: Vec<Worker>,
}

#[derive(Deserialize)]
struct Worker {
    #[serde(default)]
    is_healthy: bool,
}

/// Waits until it knows so many workers and answers through them.
pub(super) async fn wait(stage: &Stage, url: &str, workers: usize) -> Result<(), ChildError> {
    let mut ticks = time::interval(LOOK_EVERY);
    let looking = async {
        loop {
            ticks.tick().await;
            if healthy(url).await >= workers && answers(stage, url).await.unwrap_or(false) {
                return;
            }
        }
    };
    time::timeout(WITHIN, looking)
        .await
        .map_err(|_| ChildError::NeverReady {
            url: url.into(),
            within: WITHIN,
        })
}

async fn healthy(url: &str) -> usize {
    let url = format!("{url}/workers");
    let getter = Getter::new();
    let Ok(Ok(text)) = time::timeout(PATIENCE, getter.get(&url)).await else {
        return 0;
    };
    serde_json::from_str::<Registered>(&text).map_or(0, |registered| {
        let healthy = registered.workers.iter().filter(|worker| worker.is_healthy);
        healthy.count()
    })
}

async fn answers(stage: &Stage, url: &str) -> Result<bool, TurnError> {
    let http = HttpClient::new();
    let (begun, _) = watch::channel(0);
    let to = Prepared::new(url, Endpoint::Chat.path(), HeaderMap::new());
    let to = to.map_err(TurnError::Url)?;
    for number in FIRST..FIRST + ANSWERS {
        let question = stage.question(Endpoint::Chat, false, number);
        let asked = ask(&http, &to, &question, &begun, PATIENCE).await;
        if asked.outcome != Outcome::Right {
            return Ok(false);
        }
    }
    Ok(true)
}
