//! The router that changes the roles.

use std::{ops::Add, path::Path};

use policies::ratio::Split;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::{PATIENCE, RunError, fleet::Fleet};
use crate::{
    child::{self, Child, Launch},
    exposition::Exposition,
    get::Getter,
};

const LOOK: Duration = Duration::from_millis(50);

/// What a router did since it began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// Role changes that succeeded.
    pub changes: u32,
    pub failed_changes: u32,
    /// Streams that went on at another worker.
    pub streams_continued: u32,
}

impl Add for Done {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            changes: self.changes + other.changes,
            failed_changes: self.failed_changes + other.failed_changes,
            streams_continued: self.streams_continued + other.streams_continued,
        }
    }
}

pub(super) struct Router {
    child: Child,
    getter: Getter,
    pub(super) url: String,
}

impl Router {
    pub(super) async fn start(
        program: &Path,
        fleet: &Fleet,
        migrate: bool,
    ) -> Result<Self, RunError> {
        let [port, metrics_port] =
            child::free_ports().map_err(|error| RunError::Io("no free ports", error))?;
        let url = format!("http://127.0.0.1:{port}");
        let launch = Launch {
            program: program.into(),
            arguments: vec![
                "--cluster".into(),
                fleet.cluster().into(),
                "--policy=ratio-controller".into(),
                "--planner=fixed".into(),
                format!(
                    "--drain-overdue={}",
                    if migrate { "migrate" } else { "wait" }
                )
                .into(),
                "--host=127.0.0.1".into(),
                format!("--port={port}").into(),
                format!("--prometheus-port={metrics_port}").into(),
                "--stop-workers-on-exit".into(),
                "--log-level=error".into(),
            ],
            ready: format!("{url}/liveness"),
        };
        Ok(Self {
            child: Child::start(&launch).await.map_err(RunError::Child)?,
            getter: Getter::new(),
            url,
        })
    }

    /// Waits until all workers serve, in that split; `ask` for it first.
    pub(super) async fn reach(&self, split: Split, ask: bool) -> Result<(), RunError> {
        let ratio = format!("{}/ratio", self.url);
        if ask {
            let wish = json!({ "split": split.to_string() }).to_string();
            self.getter
                .post_json(&ratio, wish)
                .await
                .map_err(RunError::Get)?;
        }
        let begun = Instant::now();
        loop {
            let text = self.getter.get(&ratio).await.map_err(RunError::Get)?;
            let state: Value = serde_json::from_str(&text).unwrap_or_default();
            let moving = state["moving"]
                .as_array()
                .is_some_and(|moves| !moves.is_empty());
            if state["split"] == split.to_string() && !moving {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(RunError::NotReached {
                    wanted: split.to_string(),
                    state: text,
                });
            }
            sleep(LOOK).await;
        }
    }

    pub(super) async fn done(&self) -> Result<Done, RunError> {
        let url = format!("{}/metrics", self.url);
        let text = self.getter.get(&url).await.map_err(RunError::Get)?;
        let metrics = Exposition::parse(&text).map_err(RunError::Metrics)?;
        let sum = |family, result| metrics.sum(family, &[("result", result)]) as u32;
        let changes = "adaptive_router_controller_transitions_total";
        let streams = "adaptive_router_stream_continuations_total";
        Ok(Done {
            changes: sum(changes, "success"),
            failed_changes: sum(changes, "failure"),
            streams_continued: sum(streams, "continued"),
        })
    }

    /// Ends it as a crash does.
    pub(super) async fn kill(&mut self) -> Result<(), RunError> {
        self.child.kill().await.map_err(RunError::Child)
    }

    /// Ends it in peace, and its workers with it.
    pub(super) async fn stop(self) -> Result<(), RunError> {
        self.child.stop().await.map(drop).map_err(RunError::Child)
    }
}
