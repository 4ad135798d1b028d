//! When a contender is ready to be measured: it knows all its workers as healthy, and answers.

use super::load::{Probe, Target};
use crate::child::ChildError;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio::time;

/// How long it may take: a peer registers a thousand workers ten at a time.
const WITHIN: Duration = Duration::from_secs(240);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Answers in a row that show that none of four workers is missing.
const ANSWERS: usize = 8;

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
pub(super) async fn wait(target: &Arc<Target>, workers: usize) -> Result<(), ChildError> {
    let mut ticks = time::interval(LOOK_EVERY);
    let looking = async {
        loop {
            ticks.tick().await;
            if is_ready(target, workers).await {
                return;
            }
        }
    };
    time::timeout(WITHIN, looking)
        .await
        .map_err(|_| ChildError::NeverReady {
            url: target.address.to_string(),
            within: WITHIN,
        })
}

async fn is_ready(target: &Target, workers: usize) -> bool {
    let Ok(mut probe) = Probe::of(target).await else {
        return false;
    };
    if workers > 0 && healthy(&mut probe).await < workers {
        return false;
    }
    for _ in 0..ANSWERS {
        if probe.chat().await.is_err() {
            return false;
        }
    }
    true
}

async fn healthy(probe: &mut Probe<'_>) -> usize {
    let Ok(body) = probe.get("/workers").await else {
        return 0;
    };
    serde_json::from_slice::<Registered>(&body).map_or(0, |registered| {
        let healthy = registered.workers.iter().filter(|worker| worker.is_healthy);
        healthy.count()
    })
}
