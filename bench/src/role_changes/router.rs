//! The router that changes the roles.

use std::path::Path;

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

pub(super) struct Router {
    child: Child,
    getter: Getter,
    pub(super) url: String,
}

impl Router {
    pub(super) async fn start(program: &Path, fleet: &Fleet) -> Result<Self, RunError> {
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

    /// Role changes that succeeded and that failed, since it began.
    pub(super) async fn role_changes(&self) -> Result<(u32, u32), RunError> {
        let url = format!("{}/metrics", self.url);
        let text = self.getter.get(&url).await.map_err(RunError::Get)?;
        let metrics = Exposition::parse(&text).map_err(RunError::Metrics)?;
        let sum = |result| {
            let family = "adaptive_router_controller_transitions_total";
            metrics.sum(family, &[("result", result)]) as u32
        };
        Ok((sum("success"), sum("failure")))
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
